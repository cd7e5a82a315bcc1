//! Reports what happens to the followers of `GET /events` and to the daemon's own log, one line each.
//!
//! [`report`] is what can happen, and [`counts`] how often it has (both pure). [`feed`] numbers reports, keeps the last
//! of them and hands them out; there is one [`feed::Feed`], owned by the composition root, and everyone who reports
//! holds a clone.

pub mod counts;
pub mod feed;
pub mod report;

pub use feed::Feed;
pub use report::Report;
