//! [`Lent`]: what a program of the server's own gets beside what commands of apps get (git): bounds of its memory,
//! files that only it may open, and a place for its result.

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
    /// Where its stdout goes, apart from stderr.
    pub stdout: Option<LentFile>,
    /// Files that are opened before it is another user; it finds each at the path that this variable of its environment
    /// has, for as long as it runs, and so does what it starts.
    pub files: BTreeMap<String, LentFile>,
    pub limits: Option<Limits>,
    /// Whether it reads every file, whoever owns it (CAP_DAC_READ_SEARCH).
    pub reads_all: bool,
}

/// An open file of the server's that only its own user can open, by the number that it has there. The number must stay
/// taken until the helper has opened it: what got it next would be lent in its place, a document with its secrets or
/// the token among them. So the specification of what is started holds the file, and not only its number.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "PathBuf", into = "PathBuf")]
pub struct LentFile {
    path: PathBuf,
    /// Not on the side of who borrows it.
    _held: Option<Arc<OwnedFd>>,
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

/// Resource limits of each process, setrlimit(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of memory of its own. What is mapped of a file does not count: packs are larger.
    pub memory: u64,
    /// Bytes of a file that it writes.
    pub file: u64,
    /// Processes of its user, all of them, beyond which it starts no more.
    pub processes: u64,
}

impl Limits {
    /// Puts the calling process and all that it starts under them.
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
    /// Opens the place for its stdout.
    pub(super) fn open_stdout(&self) -> io::Result<Option<OwnedFd>> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let open = |file: &LentFile| rustix::fs::open(&file.path, flags, Mode::empty());
        Ok(self.stdout.as_ref().map(open).transpose()?)
    }

    /// Opens the files, for the command that this process becomes; the variables that name them.
    pub(super) fn open_files(&self) -> io::Result<BTreeMap<String, String>> {
        let mut variables = BTreeMap::new();
        for (variable, lent) in &self.files {
            // Not close-on-exec: it is for who comes.
            let file = rustix::fs::open(&lent.path, OFlags::RDWR, Mode::empty())?;
            let own = std::process::id();
            let path = format!("/proc/{own}/fd/{}", file.into_raw_fd());
            variables.insert(variable.clone(), path);
        }
        Ok(variables)
    }
}
