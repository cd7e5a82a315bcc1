//! The deploy up to a release that can be started: packages, fetch, checkout, install, release phase.

pub mod build;
pub mod command;
pub mod installer;
pub mod packages;
pub mod plan;
pub mod record;
pub mod release;
pub mod source;
