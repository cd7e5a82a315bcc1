//! The REST API: an actix-web App that the front end reaches in process, and that the Unix socket serves directly.

pub mod app;
pub mod auth;
pub mod problem;
pub mod state;
