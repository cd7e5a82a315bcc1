//! Files of a release that are answered before the application is asked.
//!
//! [`path`] makes a path of a target (pure), [`lookup`] opens the file without leaving the release, [`server`] answers
//! with it, and [`compressed`] keeps the gzip form of text.

pub mod compressed;
pub mod lookup;
pub mod path;
pub mod server;
