//! What bytes mean (pure): heads, framing, forwarding fields, error pages. RFC 9110 and RFC 9112, and where they leave
//! a choice, the strict one.
//!
//! Begin with [`parse`], which reads the [`head`] of a request or a response. [`request_rules`] refuse what is
//! ambiguous, [`framing`] says where a body ends, [`forwarded`] and [`mod@write`] say what is sent on.
//!
//! These files see slices and give values: no sockets, no routes, no clock.

pub mod authority;
mod body_length;
mod by_path;
mod connection_options;
pub mod field;
pub mod fields;
pub mod forwarded;
pub mod framing;
pub mod head;
pub mod head_end;
pub mod local_reply;
pub mod parse;
pub(super) mod quality;
pub mod request_id;
pub mod request_rules;
pub mod token;
pub mod trusted_proxies;
pub mod upgrade;
pub mod write;
