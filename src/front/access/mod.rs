//! TODO

pub mod entry;
pub mod recorder;
