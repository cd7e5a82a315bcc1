//! Certificates from a certificate authority (RFC 8555).
//!
//! [`schedule`] says when a name is due (pure); [`storage`] keeps accounts, orders and certificates as files.

pub mod schedule;
