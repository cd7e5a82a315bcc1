//! TODO

pub mod lookup;
pub mod path;
pub mod server;
