//! The product as it is shipped: the real program, in a directory of its own, asked through its own front door.

pub(crate) mod http;
pub(crate) mod repository;
pub(crate) mod server;
