//! TODO

pub mod name;
