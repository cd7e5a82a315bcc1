//! procserver: a server for Procfile applications.

pub mod api;
pub mod app;
pub mod cli;
pub mod daemon;
pub mod durable;
pub mod front;
pub mod install;
pub mod logs;
pub mod process;
pub mod router;
pub mod settings;
pub mod supervision;
