//! TODO

pub mod connection;
pub mod in_process;
pub mod pool;
