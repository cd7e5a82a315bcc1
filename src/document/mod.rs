//! TODO

pub mod config;
pub mod name;
