//! Named pipes between a process and its log.
//!
//! A FIFO is first read without emptying it: `tee(2)` copies what is in it, the lines are stored, and only then their
//! bytes are consumed. So a kill of the daemon at any point loses no line, and the beginning of a line stays in the
//! pipe, not in a daemon that may die, until its end is there.

use std::future::Future;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags};
use tokio::net::unix::pipe::Receiver;

/// Bytes looked at in one turn: the capacity of a pipe, so that a busy process waits for the others, not they for it.
const TURN: usize = 64 * 1024;

/// Shortest and longest pause between two looks whether a FIFO with something left in it is full.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub struct Fifo {
    descriptor: Rc<Receiver>,
}

impl Fifo {
    /// Opens the FIFO at `path` for reading and writing (fifo(7)): there is then always a reader, so that the process
    /// never gets SIGPIPE, and never an end, however often the process is replaced. Needs a tokio reactor.
    ///
    /// # Errors
    /// When it cannot be opened, is reached through a link, or is no FIFO.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let descriptor = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(Self {
            descriptor: Rc::new(Receiver::from_owned_fd(descriptor)?),
        })
    }

    /// Whether `path` still names this FIFO, and not a new one that was made in its place.
    #[must_use]
    pub fn is_at(&self, path: &Path) -> bool {
        match (
            rustix::fs::fstat(&*self.descriptor),
            rustix::fs::lstat(path),
        ) {
            (Ok(open), Ok(named)) => (open.st_dev, open.st_ino) == (named.st_dev, named.st_ino),
            _ => false,
        }
    }

    /// Waits until something new was written to it.
    pub fn written(&self) -> impl Future<Output = io::Result<()>> + use<> {
        written(Rc::clone(&self.descriptor))
    }

    /// The same for a FIFO in which something was left. A writer that finds no room in a pipe that is not empty wakes
    /// no reader before it sleeps (`pipe_write` in Linux), so that has to be asked for: often while there is traffic,
    /// seldom once there is none.
    pub fn written_or_full(&self) -> impl Future<Output = io::Result<()>> + use<> {
        let descriptor = Rc::clone(&self.descriptor);
        async move {
            let mut pause = SHORTEST_PAUSE;
            loop {
                tokio::select! {
                    written = written(Rc::clone(&descriptor)) => return written,
                    () = tokio::time::sleep(pause) => {}
                }
                if is_full(&descriptor) {
                    return Ok(());
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }

    /// Copies what is in the FIFO, up to 64 KiB of it, and leaves it there.
    ///
    /// # Errors
    /// When the kernel refuses; that the FIFO is empty is none.
    pub fn look(&self, window: &Window) -> io::Result<Vec<u8>> {
        let copied = rustix::pipe::tee(
            &*self.descriptor,
            &window.entry,
            TURN,
            SpliceFlags::NONBLOCK,
        );
        let copied = match copied {
            Ok(copied) => copied,
            Err(Errno::AGAIN | Errno::INTR) => 0,
            Err(error) => return Err(error.into()),
        };
        let mut bytes = vec![0; copied];
        read_all(&window.exit, &mut bytes)?;
        Ok(bytes)
    }

    /// Takes the first `bytes.len()` bytes out; `bytes` is overwritten.
    ///
    /// # Errors
    /// When the kernel refuses; that they are no longer there (the process read its own output) is none.
    pub fn take(&self, bytes: &mut [u8]) -> io::Result<()> {
        read_all(&*self.descriptor, bytes)
    }

    /// Whether a writer would have to wait, so that nothing can come after the `seen` bytes before something is taken
    /// out. A FIFO that was filled after the look holds more: perhaps the end of the line.
    #[must_use]
    pub fn is_stuck_with(&self, seen: usize) -> bool {
        is_full(&self.descriptor) && self.unread() == seen as u64
    }

    /// How many bytes are in it.
    #[must_use]
    pub fn unread(&self) -> u64 {
        rustix::io::ioctl_fionread(&*self.descriptor).unwrap_or(0)
    }
}

async fn written(descriptor: Rc<Receiver>) -> io::Result<()> {
    descriptor.readable().await?;
    // Looking does not take, so tokio cannot see what was seen. Readiness is cleared here, before the look: what is
    // written after it counts as new.
    let _: io::Result<()> = descriptor.try_io(|| Err(io::ErrorKind::WouldBlock.into()));
    Ok(())
}

fn is_full(descriptor: &Receiver) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut asked = [PollFd::new(descriptor, PollFlags::OUT)];
    poll(&mut asked, Some(&Timespec::default())) == Ok(0)
}

/// A pipe that [`Fifo::look`] copies through; empty between calls.
#[derive(Debug)]
pub struct Window {
    exit: OwnedFd,
    entry: OwnedFd,
}

impl Window {
    /// Makes one.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn new() -> io::Result<Self> {
        let (exit, entry) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(Self { exit, entry })
    }
}

/// Fills `bytes` from a pipe, or as much of it as the pipe holds.
fn read_all(pipe: impl AsFd, bytes: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while filled < bytes.len() {
        match rustix::io::read(&pipe, &mut bytes[filled..]) {
            Ok(0) | Err(Errno::AGAIN) => break,
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fifo(directory: &Path) -> std::path::PathBuf {
        let path = directory.join("stdout");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        path
    }

    #[tokio::test]
    async fn what_is_looked_at_stays_until_it_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let path = fifo(directory.path());
        let fifo = Fifo::open(&path).unwrap();
        let window = Window::new().unwrap();
        assert_eq!(fifo.look(&window).unwrap(), b"");
        std::fs::write(&path, "one\ntwo").unwrap();
        fifo.written().await.unwrap();
        assert_eq!(fifo.look(&window).unwrap(), b"one\ntwo");
        assert_eq!(fifo.look(&window).unwrap(), b"one\ntwo");
        fifo.take(&mut [0; 4]).unwrap();
        assert_eq!(fifo.look(&window).unwrap(), b"two");
        assert_eq!(fifo.unread(), 3);
    }

    #[tokio::test]
    async fn a_full_pipe_is_known() {
        let directory = tempfile::tempdir().unwrap();
        let path = fifo(directory.path());
        let fifo = Fifo::open(&path).unwrap();
        std::fs::write(&path, "xyz").unwrap();
        assert!(!fifo.is_stuck_with(3));
        std::fs::write(&path, vec![b'x'; 64 * 1024 - 4096]).unwrap();
        assert!(is_full(&fifo.descriptor));
        assert!(!fifo.is_stuck_with(3), "more has come since");
        assert!(fifo.is_stuck_with(3 + 64 * 1024 - 4096));
    }

    #[tokio::test]
    async fn links_and_files_are_refused_and_replacements_are_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let path = fifo(directory.path());
        let open = Fifo::open(&path).unwrap();
        assert!(open.is_at(&path));
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(Fifo::open(&link).is_err());
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(Fifo::open(&file).is_err());
        std::fs::rename(&path, directory.path().join("old")).unwrap();
        fifo(directory.path());
        assert!(!open.is_at(&path));
    }
}
