//! Archives that strangers send: tar, tar in gzip, zip. Nothing of one is unpacked: [`walk::walk`] reads it to its end
//! and hands what is in it to a [`sink::Sink`], such as [`fast_import::FastImport`], which makes a commit of it.
//!
//! [`tree`] says what may be in one, and how much of it.

mod bounded;
pub mod error;
pub mod fast_import;
pub mod sink;
mod tar;
pub mod tree;
pub mod walk;
mod zip;
