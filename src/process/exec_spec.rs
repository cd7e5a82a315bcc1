//! [`ExecSpec`]: what one OS process is started as. Plain data, which goes to `procserver exec`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::landlock::Landlock;
use super::lent::Lent;
use super::mounts::Mounts;
use crate::account::Account;
use crate::document::limits::Limits;
use crate::document::shell::Shell;

/// The environment variable that marks every process of one instance; its value is [`ExecSpec::instance`].
pub const MARKER: &str = "PROCSERVER_INSTANCE";

/// What is started, and as whom.
#[derive(Clone, Debug)]
pub struct ExecSpec {
    pub command: Exec,
    pub directory: PathBuf,
    /// The account to switch to; `None`: stay who the daemon is.
    pub account: Option<Account>,
    /// The whole environment; [`MARKER`] is added.
    pub environment: BTreeMap<String, String>,
    /// Unique on this machine among what runs at the same time, e.g. the absolute path of a directory that belongs to
    /// this run alone: [`MARKER`] and the rlimit mark are made of it, by which [`super::stop`] finds what left the
    /// session.
    pub instance: String,
    /// What it sees of the disk; `None`: all.
    pub mounts: Option<Mounts>,
    /// Where it may not write.
    pub landlock: Option<Landlock>,
    /// Where stdout and stderr go.
    pub output: Output,
    /// The record to write before the command runs.
    pub identity: Option<Purpose>,
    /// What it and all that it starts may use.
    pub limits: Limits,
    /// `nice(2)` level, e.g. 10 for builds.
    pub nice: Option<i32>,
    /// `umask(2)`, e.g. `0o022`.
    pub umask: u32,
    /// What only the server's own programs (git) get.
    pub lent: Lent,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exec {
    /// `SHELL -c TEXT`.
    Shell(Shell, String),
    /// A program, searched in the PATH of the given environment, and its arguments.
    Program(Vec<String>),
}

/// Where stdout and stderr go, and for somebody who is attached where stdin comes from: else it is `/dev/null`, but for git
/// ([`Lent::stdin`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// To the FIFOs `stdout` and `stderr` of this directory, which exist.
    Fifos { directory: PathBuf },
    /// Both, in the order they are written, to [`super::spawn::Spawned::output`].
    Pipe,
    /// All three to this terminal, which becomes the controlling one.
    Terminal { path: PathBuf },
    /// To the FIFOs `in`, `out` and `err` of this directory, whose other ends are open.
    Pipes { directory: PathBuf },
}

/// What a process is started for: the part of its [`Identity`] that is known before it exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purpose {
    pub id: String,
    pub release: u64,
    pub batch: u64,
    pub port: u16,
    pub digest: String,
    pub directory: PathBuf,
    /// It is outside of the formation.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub one_off: bool,
}
