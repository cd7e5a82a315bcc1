//! The application: its document, its Procfile, its environment, and the two actors that own it.

pub mod account;
pub mod apps;
pub mod config;
pub mod directories;
pub mod dotenv;
pub mod environment;
pub mod formation;
pub mod lifecycle;
pub mod name;
pub mod procfile;
pub mod status;
pub mod supervisor;
