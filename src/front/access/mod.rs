//! TODO

pub mod entry;
pub mod recorder;
pub mod writer;
