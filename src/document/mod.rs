//! TODO

pub mod buffering;
pub mod by_type;
pub mod change;
pub mod config;
pub mod dotenv;
pub mod formation;
pub mod json5;
pub mod merge_patch;
pub mod name;
pub mod procfile;
pub mod read;
pub mod repository_url;
pub mod rules;
pub mod secrets;
pub mod shell;
pub mod walk;
