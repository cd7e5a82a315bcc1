//! TODO

pub mod field;
pub mod head;
