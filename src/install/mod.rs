//! The deploy up to a release that can be started: packages, fetch, checkout, install, release phase.
//!
//! [`installer::Installer`] is the actor; it runs the steps that [`plan`] names, each with the file of its name, and
//! every command of theirs through [`command`]. A release becomes one when its record is written ([`release`]), as
//! the last thing: whatever lies in `releases/` without a record is rubbish of a deploy that did not end.
//!
//! `plan`, `lines`, `remote`, `dpkg` and `failure` are pure.

pub mod bounds;
pub mod build;
pub mod command;
pub mod deploy;
pub mod dpkg;
pub mod failure;
pub mod git;
pub mod installer;
pub mod journal;
pub mod lines;
mod mirror;
pub mod packages;
pub mod plan;
pub mod record;
pub mod release;
pub mod remote;
mod room;
pub mod share;
mod sink;
pub mod source;
pub mod tree;
pub mod twins;
