//! The audit log: a line of JSON for each call that changes something, and for each that was refused.
//!
//! [`entry`] is what a line says, [`strangers`] bounds how many come of callers that nobody knows (both pure).
//! [`log::AuditLog`] is the only writer of the file, on a thread of its own: whoever waits for a line is told when it is
//! written (write(2) has returned), and only then answers. [`reader`] reads it.

pub mod entry;
pub mod log;
pub mod reader;
pub mod strangers;

pub use entry::{Entry, Outcome, Who};
pub use log::AuditLog;
