//! [`Lent`]: what the server's own programs (git) get beyond what commands of apps get: resource limits, files that
//! only the server can open, and a file for their result.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use rustix::process::{Resource, Rlimit};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Lent {
    /// Its stdin; `None` is `/dev/null`.
    #[serde(default)]
    pub stdin: Option<LentFile>,
    /// Takes its stdout, apart from stderr.
    pub stdout: Option<LentFile>,
    /// Pipes, as [`Self::files`]: for reading or for writing alone, so that their end is seen.
    #[serde(default)]
    pub pipes: BTreeMap<String, LentPipe>,
    /// Files that are opened before the program changes its user, by the environment variable that gives their path.
    /// The paths hold for the program and for all that it starts.
    pub files: BTreeMap<String, LentFile>,
    pub limits: Option<Limits>,
    /// Whether it reads every file, whoever owns it (CAP_DAC_READ_SEARCH).
    pub reads_all: bool,
}

/// An open file of the server, named by its descriptor's number in `/proc`. The number must stay taken until the helper
/// has opened the file: else another file could get the number and be lent in its place, such as a document with its
/// secrets. So this holds the file, and not only its number.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "PathBuf", into = "PathBuf")]
pub struct LentFile {
    path: PathBuf,
    /// `None` in the helper, which borrows it.
    _held: Option<Arc<OwnedFd>>,
}

/// An end of a pipe, by what the command does with it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LentPipe {
    Reads(LentFile),
    Writes(LentFile),
}

impl LentPipe {
    fn open(&self) -> io::Result<OwnedFd> {
        let (file, flags) = match self {
            Self::Reads(file) => (file, OFlags::RDONLY),
            Self::Writes(file) => (file, OFlags::WRONLY),
        };
        Ok(rustix::fs::open(&file.path, flags, Mode::empty())?)
    }
}

impl From<Arc<OwnedFd>> for LentFile {
    fn from(file: Arc<OwnedFd>) -> Self {
        let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
        Self {
            path: path.into(),
            _held: Some(file),
        }
    }
}

impl From<PathBuf> for LentFile {
    fn from(path: PathBuf) -> Self {
        Self { path, _held: None }
    }
}

impl From<LentFile> for PathBuf {
    fn from(file: LentFile) -> Self {
        file.path
    }
}

/// Resource limits of each process; see setrlimit(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of private memory. Mapped files do not count: packs are larger.
    pub memory: u64,
    /// Bytes of each file that it writes.
    pub file: u64,
    /// Processes of its user, all of them, beyond which it starts no more.
    pub processes: u64,
}

impl Limits {
    /// Limits the calling process and all that it starts.
    pub(super) fn apply(self) -> io::Result<()> {
        for (resource, wanted) in [
            (Resource::Data, self.memory),
            (Resource::Fsize, self.file),
            (Resource::Nproc, self.processes),
            (Resource::Core, 0),
        ] {
            let hard = rustix::process::getrlimit(resource).maximum;
            let limit = Some(hard.map_or(wanted, |hard| hard.min(wanted)));
            rustix::process::setrlimit(
                resource,
                Rlimit {
                    current: limit,
                    maximum: limit,
                },
            )?;
        }
        Ok(())
    }
}

impl Lent {
    /// Opens its stdin.
    pub(super) fn open_stdin(&self) -> io::Result<Option<OwnedFd>> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let open = |file: &LentFile| rustix::fs::open(&file.path, flags, Mode::empty());
        Ok(self.stdin.as_ref().map(open).transpose()?)
    }

    /// Opens the place for its stdout.
    pub(super) fn open_stdout(&self) -> io::Result<Option<OwnedFd>> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let open = |file: &LentFile| rustix::fs::open(&file.path, flags, Mode::empty());
        Ok(self.stdout.as_ref().map(open).transpose()?)
    }

    /// Opens the files, for the command that this process becomes; the variables that name them.
    pub(super) fn open_files(&self) -> io::Result<BTreeMap<String, String>> {
        let mut variables = BTreeMap::new();
        let mut name = |variable: &String, file: OwnedFd| {
            let own = std::process::id();
            let path = format!("/proc/{own}/fd/{}", file.into_raw_fd());
            variables.insert(variable.clone(), path);
        };
        for (variable, lent) in &self.files {
            // Not close-on-exec: the command inherits it.
            let file = rustix::fs::open(&lent.path, OFlags::RDWR, Mode::empty())?;
            name(variable, file);
        }
        for (variable, pipe) in &self.pipes {
            name(variable, pipe.open()?);
        }
        Ok(variables)
    }
}
