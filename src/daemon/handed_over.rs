//! The sockets that the service manager, or the server before, hands over: sd_listen_fds(3). Copies go to systemd, which
//! hands them to the next server: sd_notify(3), `FDSTORE=1`.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::Path;

use listenfd::ListenFd;

use crate::front::kept::{Kept, Listener, Told};
use crate::process::sock_diag;

/// Takes what is handed over. Call it once, before there is any other thread.
pub(super) fn take() -> Kept {
    // Whatever they are called: a socket is known by what it is bound to.
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut handed_over = ListenFd::from_env();
    let mut listeners = Vec::new();
    for at in 0..handed_over.len() {
        let name = names.next().unwrap_or_default().to_owned();
        let tcp = handed_over.take_tcp_listener(at);
        let listener = match tcp {
            Ok(socket) => socket.map(Listener::Tcp),
            Err(_) => match handed_over.take_unix_listener(at) {
                Ok(socket) => socket.map(Listener::Unix),
                Err(error) => {
                    log::warn!("what was handed over as {name:?} is of no use here: {error}");
                    close(&mut handed_over, at);
                    None
                }
            },
        };
        listeners.extend(listener.map(|listener| (name, listener)));
    }
    if !listeners.is_empty() {
        log::info!("{} listening sockets were handed over", listeners.len());
    }
    Kept::new(listeners, tell)
}

fn close(handed_over: &mut ListenFd, at: usize) {
    if let Ok(Some(descriptor)) = handed_over.take_raw_fd(at) {
        // It was open a moment ago, and nobody else knows its number.
        let _ = nix::unistd::close(descriptor);
    }
}

/// Tells systemd, if it started this server.
fn tell(change: Told<'_>) {
    use sd_notify::NotifyState::{FdName, FdStore, FdStoreRemove};
    let told = match change {
        Told::Keep(name, socket) => sd_notify::notify_with_fds(&[FdStore, FdName(name)], &[socket]),
        Told::Forget(name) => sd_notify::notify(&[FdStoreRemove, FdName(name)]),
    };
    if let Err(error) = told {
        log::warn!("systemd could not be told of a listening socket: {error}");
    }
}

/// Whether somebody keeps copies, who may connect clients to them while no server runs.
pub(super) fn are_kept() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// Whether the file at `path` is that of `socket`: somebody may have put another one there. `false` too where the
/// kernel does not tell.
pub(super) fn is_at(path: &Path, socket: &UnixListener) -> bool {
    use std::os::unix::fs::MetadataExt;
    let own = socket.as_fd().try_clone_to_owned().map(File::from);
    let own = own.and_then(|own| own.metadata()).map(|own| own.ino());
    let (Ok(own), Ok(there)) = (own, std::fs::symlink_metadata(path)) else {
        return false;
    };
    // The kernel tells 32 bits of it.
    let there = u32::try_from(there.ino() & u64::from(u32::MAX)).ok();
    let bound = sock_diag::file_of_unix_socket(own);
    bound
        .inspect_err(|e| log::debug!("sock_diag: {e}"))
        .is_ok_and(|inode| inode == there)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_known_by_its_file_and_not_by_its_path() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("api.sock");
        let first = UnixListener::bind(&path).unwrap();
        assert!(is_at(&path, &first));
        // Kept under another name, so that the next file cannot be given its inode.
        std::fs::rename(&path, directory.path().join("old")).unwrap();
        assert!(!is_at(&path, &first));
        let second = UnixListener::bind(&path).unwrap();
        assert!(is_at(&path, &second) && !is_at(&path, &first));
    }
}
