//! TODO

pub mod connection;
pub mod pool;
