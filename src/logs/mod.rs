//! Logs of applications: FIFOs in, numbered lines in rotated segments, readers and followers out.

pub mod fifo;
pub mod follow;
pub mod log;
pub mod record;
pub mod segment;
