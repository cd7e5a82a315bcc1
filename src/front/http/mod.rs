//! TODO

pub mod field;
pub mod fields;
pub mod head;
