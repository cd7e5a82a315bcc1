//! The front end: listener → connection → head → router → pool → exchange, on one worker thread from accept to close.
//!
//! It sees the routing table and never an app. It parses hostile bytes as root: no unsafe code, every buffer bounded.

pub mod connection;
pub mod error_page;
pub mod exchange;
pub mod forwarded;
pub mod framing;
#[allow(clippy::module_inception)]
pub mod front;
pub mod head;
pub mod in_process;
pub mod listener;
pub mod pool;
pub mod tunnel;
