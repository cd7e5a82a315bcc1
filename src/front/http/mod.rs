//! TODO

pub mod authority;
pub mod date;
pub mod error_page;
pub mod field;
pub mod fields;
pub mod forwarded;
pub mod framing;
pub mod head;
pub mod request_id;
pub mod request_rules;
pub mod trusted_proxies;
pub mod upgrade;
pub mod write;
