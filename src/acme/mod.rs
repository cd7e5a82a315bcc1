//! Certificates from a certificate authority (RFC 8555).
//!
//! [`schedule`] says when a name is due (pure).

pub mod schedule;
