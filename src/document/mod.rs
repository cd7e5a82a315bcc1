//! What an application is: its document, its Procfile, its `.env`, and what these mean (pure).
//!
//! Begin with [`config`], the checked document. [`read`] makes one from JSON: it goes through it by [`walk`], and
//! [`rules`] say what each text may be. [`merge_patch`] changes a document, and [`change`] says what a change touches.
//!
//! Nothing here opens a file ([`shell`] looks whether one is there), asks the clock, or knows how an application is run.

pub mod advice;
pub mod app_json;
pub mod buffering;
pub mod by_type;
pub mod change;
pub mod config;
pub mod cron;
pub mod difference;
pub mod dotenv;
pub mod drain;
pub mod engine;
pub mod formation;
pub mod host_entry;
pub mod host_name;
pub mod https;
pub mod json5;
pub mod limits;
mod lines;
pub mod mask;
pub mod merge_patch;
pub mod name;
mod nearest;
pub mod notify;
pub mod package;
pub mod pause_request;
mod pick;
pub mod policies;
pub mod preview;
pub mod preview_document;
pub mod preview_request;
pub mod procfile;
pub mod read;
pub mod repository_url;
pub mod rules;
pub mod run_request;
pub mod secrets;
pub mod shell;
pub mod size;
pub mod statuses;
pub mod target_url;
pub mod walk;
