//! TODO

pub mod by_type;
pub mod config;
pub mod name;
pub mod read;
pub mod rules;
pub mod walk;
