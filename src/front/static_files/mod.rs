//! TODO

pub mod lookup;
pub mod path;
