//! Backups: documents, storage, keys, tokens, secrets of webhooks, certificates and settings of a server in one file, and
//! back. Of code that is pushed here also that. Not releases, other mirrors and logs: a restore deploys each application
//! again.
//!
//! The file is a tar in gzip: [`manifest`] first, then [`place`]s, at the end a digest of all of it ([`digest`]), so that
//! one that was cut off is told from a whole one. [`writer`] and [`reader`] know the format. [`take`] makes one: storage is
//! copied first ([`copy`]), while the processes that write to it are paused. [`restore`] unpacks one beside the data
//! ([`extract`]), writes down what is to be done, and [`carry`] does it; what a server has read at its start
//! ([`server_files`]) is put in place at the next one. All but [`carry`] blocks.

pub mod carry;
pub mod copy;
pub mod digest;
pub mod error;
pub mod extract;
pub mod manifest;
pub mod place;
pub mod reader;
pub mod restore;
pub mod server_files;
pub mod take;
pub mod writer;
