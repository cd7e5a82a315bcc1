//! TODO

pub mod lookup;
