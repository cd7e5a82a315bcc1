//! The deploy up to a release that can be started: packages, fetch, checkout, install, release phase.
//!
//! Begin with [`installer::Installer`], the actor. It runs the steps that [`plan`] names, each with the file of its
//! name, and every command of theirs through [`command`]. A release becomes one when its record is written
//! ([`release`]), as the last thing: a directory in `releases/` without a record is rubbish of a deploy that did not
//! end.
//!
//! The code comes from git: [`source`] finds the commit in a mirror, `submodules` which other repositories belong to
//! it, `checkout` writes their files, and `lfs` those that git only points to. [`git`] holds what git is told,
//! [`git_user`] who it is. Releases share files by `hard_links` and `dedup`.
//!
//! Only `installer`, `deploy` and `install_log` know actors: an App is told of the steps, a Log of the lines.

pub mod advice;
pub mod build;
mod bytecode;
mod checkout;
pub mod command;
mod content;
pub mod dedup;
pub mod deploy;
pub mod deploy_key;
mod disk_space;
pub mod dpkg;
pub mod failure;
mod filters;
pub mod git;
pub mod git_user;
pub mod gitmodules;
pub mod hard_links;
pub mod install_log;
pub mod installer;
pub mod instances;
mod lfs;
pub mod lfs_pointer;
mod lfs_store;
pub mod limits;
pub mod lines;
pub mod links;
pub mod manifest;
mod mirror;
mod mirror_gc;
mod mirror_upkeep;
mod output;
mod package_advice;
pub mod packages;
pub mod plan;
mod read_only;
pub mod record;
pub mod release;
pub mod release_error;
pub mod remote;
pub mod remote_error;
pub mod source;
pub mod spec;
pub mod ssh;
mod submodules;
pub mod tree;
