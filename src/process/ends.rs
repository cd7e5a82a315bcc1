//! [`Ends`]: the server's ends of the input and output of a process that somebody is attached to. Opening them blocks.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::exec_spec::Output;
use super::instance;
use crate::account::Account;

/// The FIFOs of an attached process, in its directory. They have other names than those of the log: a later server finds no
/// process that it could go on with, and ends what is left of it.
pub(super) const FIFOS: [&str; 3] = ["in", "out", "err"];

/// What the input and output of a process are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndsKind {
    /// A terminal of its own (pty(7)), of this size.
    Terminal(WindowSize),
    /// Three pipes.
    Pipes,
}

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowSize {
    pub columns: u16,
    pub rows: u16,
}

impl Default for WindowSize {
    fn default() -> Self {
        Self {
            columns: 80,
            rows: 24,
        }
    }
}

/// The server's ends. Dropped, they hang the process up.
#[derive(Debug)]
pub enum Ends {
    /// The master side of its terminal, not blocking.
    Terminal(OwnedFd),
    /// As pipes, not blocking.
    Pipes {
        stdin: Input,
        stdout: OwnedFd,
        stderr: OwnedFd,
    },
}

/// Where a process reads what is typed.
#[derive(Debug)]
pub enum Input {
    Pipe(OwnedFd),
    /// It reads nothing, for this reason.
    Refused(&'static str),
}

/// What was opened for a process that is about to start.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) ends: Ends,
    pub(super) output: Output,
    /// The process' own ends, until it has opened them itself: without them the server's would be hung up.
    pub(super) held: OwnedFd,
}

impl Ends {
    /// Opens what a process in `directory` is started with as `account`. Blocks.
    pub(super) fn open(
        kind: EndsKind,
        directory: &Path,
        account: Option<&Account>,
    ) -> io::Result<Opened> {
        match kind {
            EndsKind::Terminal(size) => {
                instance::prepare(directory, &[], account)?;
                open_terminal(size, account)
            }
            EndsKind::Pipes => {
                instance::prepare(directory, &FIFOS, account)?;
                open_pipes(directory)
            }
        }
    }
}

fn open_terminal(size: WindowSize, account: Option<&Account>) -> io::Result<Opened> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags)?;
    unlockpt(&master)?;
    let own = ioctl_tiocgptpeer(&master, flags)?;
    if let Some(account) = account {
        // Programs open it by its name, too.
        fchown(&own, Some(account.uid), None)?;
    }
    resize(&master, size)?;
    rustix::io::ioctl_fionbio(&master, true)?;
    let name = ptsname(&master, Vec::new())?;
    let path = PathBuf::from(String::from_utf8_lossy(name.to_bytes()).into_owned());
    Ok(Opened {
        ends: Ends::Terminal(master),
        output: Output::Terminal { path },
        held: own,
    })
}

fn open_pipes(directory: &Path) -> io::Result<Opened> {
    let open = |name: &str, options: &mut OpenOptions| {
        let flags = OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::NONBLOCK;
        let path = directory.join(name);
        let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
        let file = options.custom_flags(flags.bits().cast_signed()).open(&path);
        file.map(OwnedFd::from).map_err(named)
    };
    let reads = || File::options().read(true).clone();
    // A FIFO that nobody reads cannot be opened for writing alone (fifo(7)).
    let held = open("in", &mut reads())?;
    let ends = Ends::Pipes {
        stdin: Input::Pipe(open("in", File::options().write(true))?),
        stdout: open("out", &mut reads())?,
        stderr: open("err", &mut reads())?,
    };
    Ok(Opened {
        ends,
        output: Output::Pipes {
            directory: directory.to_owned(),
        },
        held,
    })
}

fn resize(master: impl AsFd, size: WindowSize) -> io::Result<()> {
    let size = Winsize {
        ws_row: size.rows,
        ws_col: size.columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    Ok(tcsetwinsize(master, size)?)
}

/// The master side of a terminal, on a runtime.
#[derive(Debug)]
pub struct Master(AsyncFd<OwnedFd>);

impl Master {
    /// # Errors
    /// The runtime cannot watch it.
    #[expect(
        deprecated,
        reason = "tokio deprecates every safe constructor because some type's as_raw_fd() may change under it; \
                  an OwnedFd's does not, and this crate forbids the unsafe one"
    )]
    pub fn new(master: OwnedFd) -> io::Result<Self> {
        Ok(Self(AsyncFd::new(master)?))
    }

    /// Reads what was printed; 0 when nothing of the process has the terminal open any more. Cancel safe.
    ///
    /// # Errors
    /// As `read(2)`.
    pub async fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.0.async_io(Interest::READABLE, |fd| {
            Ok(rustix::io::read(fd, &mut *into)?)
        });
        match read.await {
            // How Linux says that the other side was closed.
            Err(e) if rustix::io::Errno::from_io_error(&e) == Some(rustix::io::Errno::IO) => Ok(0),
            read => read,
        }
    }

    /// Types `bytes`.
    ///
    /// # Errors
    /// As `write(2)`.
    pub async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let write = |fd: &OwnedFd| Ok(rustix::io::write(fd, bytes)?);
            let written = self.0.async_io(Interest::WRITABLE, write).await?;
            bytes = &bytes[written..];
        }
        Ok(())
    }

    /// Tells the process of another size (SIGWINCH).
    ///
    /// # Errors
    /// As `ioctl(2)`.
    pub fn resize(&self, size: WindowSize) -> io::Result<()> {
        resize(self.0.get_ref(), size)
    }
}
