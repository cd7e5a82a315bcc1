//! Drains: the logs of applications go to receivers elsewhere, by syslog (RFC 5424), HTTP or Loki's protocol.
//!
//! What was not taken yet is in the log itself, which is bounded; a drain only remembers up to which line its receiver has
//! taken it ([`cursor`]). Where the log goes on over that, the lines between are dropped: [`accounts`] counts them,
//! and the drain says so to everybody, the receiver included. [`book`] is what is wanted and what became of it, and
//! outlives the actor; [`drainer`] keeps one [`drain`] going for each receiver of each application, on a thread of their
//! own that is there when the first one is wanted. A drain reads the log as any follower does, encodes a batch
//! ([`syslog`], [`json`]), and tries until its sender ([`sender`]) has it taken.

pub mod accounts;
mod batch;
pub mod book;
mod cursor;
mod drain;
pub mod drainer;
mod health;
mod json;
mod outcomes;
mod payload;
mod reading;
mod sender;
pub mod status;
mod stream_sender;
mod syslog;
mod tally;
mod udp_sender;
