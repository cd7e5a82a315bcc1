//! TODO

pub mod compressed;
pub mod lookup;
pub mod path;
pub mod server;
