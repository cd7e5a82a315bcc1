//! The side of the backends: [`connection`] is one, [`pool`] keeps those that are idle, and [`in_process`] is the way to
//! the API, a pipe in memory.

pub mod connection;
pub mod in_process;
pub mod pool;
