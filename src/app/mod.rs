//! The application: its document, its Procfile, its environment, and the two actors that own it.

pub mod account;
pub mod apps;
pub mod config;
pub mod directories;
mod document;
mod document_rules;
mod document_walk;
pub mod dotenv;
pub mod environment;
pub mod formation;
pub mod json5_document;
pub mod name;
pub mod procfile;
mod repository_url;
pub mod status;
pub mod supervisor;
