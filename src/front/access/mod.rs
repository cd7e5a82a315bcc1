//! The access log: what is told of each request.
//!
//! [`entry`] makes the line (pure), [`recorder`] gathers the lines of a worker, and [`writer`] writes them on the logs'
//! own thread. No request waits for it.

pub mod entry;
pub mod recorder;
pub mod writer;
