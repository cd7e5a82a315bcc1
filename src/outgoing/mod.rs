//! What the server sends to others by itself: POSTs over HTTP and HTTPS, and whom it trusts while it does.
//!
//! Receivers are named by who may write settings and documents; no redirect leads anywhere else.

pub mod answer;
pub mod post;
pub mod trusted;
