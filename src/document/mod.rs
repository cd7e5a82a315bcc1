//! TODO

pub mod config;
pub mod name;
pub mod read;
pub mod rules;
pub mod walk;
