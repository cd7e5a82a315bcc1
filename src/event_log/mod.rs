//! The events that are kept: a line of JSON each, in files that are rotated by their size.
//!
//! [`thinning`] bounds what one application may write (pure). [`writer`] follows the feed and is the only writer of the
//! files; it is one task on the arbiter of the logs, not an actor. [`reader`] reads them.

pub mod reader;
pub mod thinning;
pub mod writer;
