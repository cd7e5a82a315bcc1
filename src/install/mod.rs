//! Makes releases: packages, fetch, checkout, install, release phase.
//!
//! Begin with [`deploy::Deploy`], which runs the steps in their order; [`installer::Installer`] is the actor around
//! it. Every command runs through [`command`]. The record of a release ([`release`]) is written last: a directory in
//! `releases/` without a record is what an interrupted deploy left.
//!
//! The code comes from git: [`source`] finds the commit in a mirror, `submodules` finds the repositories that belong
//! to it, `checkout` writes their files, and `lfs` those that git only points to. [`git`] says how git is configured,
//! [`git_user`] as whom it runs. A tree that was built in becomes read-only in `read_only`. Releases share files by
//! `hard_links` and `dedup`.
//!
//! Only `installer`, `deploy`, `spec` and `install_log` know actors: they report steps to an App and send lines to a
//! Log.

pub mod advice;
mod app_root;
pub mod branches;
pub mod build;
pub mod builders;
pub mod built;
mod bytecode;
pub mod carried_code;
mod checkout;
pub mod command;
mod content;
pub mod dedup;
pub mod deploy;
pub mod deploy_key;
pub mod disk_space;
pub mod disk_usage;
pub mod dpkg;
pub mod failure;
mod filters;
pub mod first_deploy;
pub mod git;
pub mod git_request;
pub mod git_service;
pub mod git_user;
pub mod gitmodules;
pub mod hard_links;
pub mod history;
mod home;
pub mod install_log;
pub mod installer;
pub mod instances;
mod kept;
mod lfs;
pub mod lfs_pointer;
mod lfs_store;
pub mod limits;
pub mod lines;
pub mod links;
pub mod manifest;
mod mirror;
mod mirror_gc;
mod mirror_size;
mod mirror_upkeep;
mod output;
mod package_advice;
pub mod packages;
pub mod plan;
mod programs;
pub mod pushed;
mod pushed_gc;
pub mod quota;
mod read_only;
pub mod record;
pub mod release;
pub mod release_error;
pub mod remote;
pub mod remote_error;
pub mod shared;
mod slugignore;
pub mod source;
pub mod spec;
pub mod ssh;
mod started;
mod submodules;
mod tools;
pub mod tree;
pub mod upload;
mod venv;
pub mod yielding_lock;
