//! Reports what happens to the followers of `GET /events` and to the daemon's own log, one line each.
//!
//! [`report`] is what can happen, [`by`] who had it done, and [`counts`] how often it has happened (all pure). [`feed`] numbers reports, keeps the last
//! of them and hands them out; there is one [`feed::Feed`], owned by the composition root, and everyone who reports
//! holds a clone.

pub mod by;
pub mod counts;
pub mod feed;
pub mod report;

pub use by::By;
pub use feed::Feed;
pub use report::Report;
