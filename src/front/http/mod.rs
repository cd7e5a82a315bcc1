//! TODO

pub mod head;
