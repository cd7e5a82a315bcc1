//! [`SocketFile`]: a Unix socket that an app's process makes, connected to without trusting the app.
//!
//! The daemon makes the socket's directory, which belongs to the app's user alone, but its content is the app's making.
//! A link to another program's socket (of the container engine, of this server), a mount, or somebody else's socket
//! would have root connect there in the app's name. So the file is opened without following anything and looked at, and
//! the connection goes to that very file, by its descriptor.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use tokio::net::UnixStream;

/// The socket's name in its directory.
pub const NAME: &str = "http.sock";

/// The pause where a process has no room for another connection, because its backlog is full. For TCP the kernel waits
/// by itself, for Unix sockets it says so at once (connect(2), EAGAIN).
const FULL: Duration = Duration::from_millis(2);

const FULL_LONGEST: Duration = Duration::from_millis(100);

/// The place of a process's socket, whether there is one or not.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    directory: OwnedFd,
    owner: u32,
}

impl SocketFile {
    /// Names the socket of a directory that the daemon has made. It takes no time, since the way there is the daemon's
    /// own.
    ///
    /// # Errors
    /// When there is no such directory.
    pub fn in_directory(directory: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::open(directory, flags, Mode::empty())?;
        Ok(Self {
            path: directory.join(NAME),
            owner: rustix::fs::fstat(&opened)?.st_uid,
            directory: opened,
        })
    }

    /// Returns its path, as the process knows it.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the socket that is there now. Returns its inode, too.
    ///
    /// # Errors
    /// `NotFound` when there is none, `PermissionDenied` when there is something else.
    pub fn open(&self) -> io::Result<(OwnedFd, u64)> {
        let opened = self.open_any()?;
        let found = rustix::fs::fstat(&opened)?;
        let is_socket = FileType::from_raw_mode(found.st_mode) == FileType::Socket;
        if !is_socket || found.st_uid != self.owner {
            let why = format!("{} is no socket of the app's user", self.path.display());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
        Ok((opened, found.st_ino))
    }

    /// Opens what is there to look at it only (O_PATH), even a link.
    fn open_any(&self) -> io::Result<OwnedFd> {
        use rustix::io::Errno;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let opened = rustix::fs::openat2(&self.directory, NAME, flags, Mode::empty(), within);
        match opened {
            // Before Linux 5.6, or where a container forbids it.
            Err(Errno::NOSYS | Errno::PERM) => Ok(rustix::fs::openat(
                &self.directory,
                NAME,
                flags,
                Mode::empty(),
            )?),
            opened => Ok(opened?),
        }
    }

    /// Connects to the socket. It waits while the process has no room, so bound it.
    ///
    /// # Errors
    /// As [`SocketFile::open`], and what `connect(2)` says.
    pub async fn connect(&self) -> io::Result<UnixStream> {
        let mut pause = FULL;
        loop {
            let (opened, _) = self.open()?;
            let path = format!("/proc/self/fd/{}", opened.as_raw_fd());
            match UnixStream::connect(path).await {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    tokio::time::sleep(pause).await;
                    pause = (2 * pause).min(FULL_LONGEST);
                }
                connected => return connected,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::test_support::is_root;

    fn place() -> (tempfile::TempDir, SocketFile) {
        let directory = tempfile::tempdir().expect("tempdir");
        let file = SocketFile::in_directory(directory.path()).expect("a directory");
        (directory, file)
    }

    #[actix::test]
    async fn what_listens_there_is_connected_to_also_when_it_comes_anew() {
        let (_directory, file) = place();
        let missing = file.connect().await.expect_err("nothing there");
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        for _ in 0..2 {
            let listener = UnixListener::bind(file.path()).expect("bind");
            file.connect().await.expect("connected");
            drop(listener);
            let gone = file.connect().await.expect_err("nobody listens");
            assert_eq!(gone.kind(), io::ErrorKind::ConnectionRefused);
            std::fs::remove_file(file.path()).expect("remove");
        }
    }

    #[actix::test]
    async fn a_link_a_file_or_a_directory_is_not_followed() {
        let (_directory, file) = place();
        let (_elsewhere, other) = place();
        let _listener = UnixListener::bind(other.path()).expect("bind");
        std::os::unix::fs::symlink(other.path(), file.path()).expect("link");
        file.connect().await.expect_err("a link");
        std::fs::remove_file(file.path()).expect("remove");
        std::fs::write(file.path(), "").expect("write");
        file.connect().await.expect_err("a file");
        std::fs::remove_file(file.path()).expect("remove");
        std::fs::create_dir(file.path()).expect("directory");
        file.connect().await.expect_err("a directory");
    }

    #[actix::test]
    async fn a_socket_of_another_user_is_refused() {
        if !is_root("a socket of another user is refused") {
            return;
        }
        let (_directory, file) = place();
        let _listener = UnixListener::bind(file.path()).expect("bind");
        std::os::unix::fs::chown(file.path(), Some(65_534), None).expect("chown");
        let refused = file.connect().await.expect_err("another user's");
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
    }

    #[actix::test]
    async fn a_full_backlog_is_waited_for() {
        let (_directory, file) = place();
        let listener = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)
            .expect("a socket");
        let address = socket2::SockAddr::unix(file.path()).expect("an address");
        listener.bind(&address).expect("bind");
        listener.listen(0).expect("listen");
        let _first = file.connect().await.expect("one has room");
        let accepted = std::thread::spawn(move || {
            std::thread::sleep(10 * FULL);
            let first = listener.accept().expect("accept");
            (listener.accept().expect("accept again"), first)
        });
        file.connect().await.expect("room in the end");
        accepted.join().expect("accepted");
    }
}
