//! TODO

pub mod recorder;
