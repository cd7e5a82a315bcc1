//! What systemd is to a service: a socket for its messages (sd_notify(3)), a store for its descriptors, and a start with
//! these (sd_listen_fds(3)).

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use command_fds::{CommandFdExt, FdMapping};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::wait::{SOON, eventually};

/// The first descriptor that is handed over (sd_listen_fds(3)).
const FIRST: i32 = 3;
/// The one that a test's own message has, to end the thread.
const END: &str = "X_TEST_END=1";

#[derive(Default)]
struct State {
    messages: Vec<String>,
    store: Vec<(String, OwnedFd)>,
}

/// A service manager that keeps what it is given.
pub(crate) struct ServiceManager {
    path: PathBuf,
    state: Arc<Mutex<State>>,
}

impl ServiceManager {
    /// One that listens in `directory`.
    pub(crate) fn start(directory: &Path) -> Self {
        let path = directory.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        // Whichever user the server has.
        let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        std::fs::set_permissions(&path, everybody).unwrap();
        let state = Arc::<Mutex<State>>::default();
        let own = Arc::clone(&state);
        std::thread::spawn(move || while receive(&socket, &own) {});
        Self { path, state }
    }

    /// The messages so far.
    pub(crate) fn messages(&self) -> Vec<String> {
        self.state.lock().unwrap().messages.clone()
    }

    /// Waits for a message that holds `text`.
    #[track_caller]
    pub(crate) fn told(&self, text: &str) {
        eventually(&format!("systemd is told {text}"), SOON, || {
            self.messages()
                .iter()
                .any(|m| m.contains(text))
                .then_some(())
        });
    }

    /// The names of what is in the store.
    pub(crate) fn stored(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        state.store.iter().map(|(name, _)| name.clone()).collect()
    }

    /// Puts something else into the store.
    pub(crate) fn store(&self, name: &str, descriptor: OwnedFd) {
        let mut state = self.state.lock().unwrap();
        state.store.push((name.to_owned(), descriptor));
    }

    /// Closes all, as systemd does when a unit is stopped.
    pub(crate) fn release(&self) {
        self.state.lock().unwrap().store.clear();
    }

    /// Starts `server` as its service.
    pub(crate) fn starts(&self, server: &mut Command) {
        server.env("NOTIFY_SOCKET", &self.path);
        let state = self.state.lock().unwrap();
        if state.store.is_empty() {
            return;
        }
        let names: Vec<&str> = state.store.iter().map(|(name, _)| name.as_str()).collect();
        let numbered = state.store.iter().zip(FIRST..);
        let mappings = numbered.map(|((_, descriptor), child_fd)| FdMapping {
            parent_fd: descriptor.try_clone().unwrap(),
            child_fd,
        });
        server
            .env("LISTEN_FDS", names.len().to_string())
            .env("LISTEN_FDNAMES", names.join(":"))
            .fd_mappings(mappings.collect())
            .unwrap();
    }
}

impl Drop for ServiceManager {
    fn drop(&mut self) {
        if let Ok(socket) = UnixDatagram::unbound() {
            let _gone = socket.send_to(END.as_bytes(), &self.path);
        }
    }
}

/// Takes one message; `false` once it is the last one.
fn receive(socket: &UnixDatagram, state: &Mutex<State>) -> bool {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut text = [0; 4096];
    let received = recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut text)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    );
    let length = received.expect("a message").bytes;
    let text = String::from_utf8_lossy(&text[..length]).into_owned();
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    let mut state = state.lock().unwrap();
    let name = text.lines().find_map(|line| line.strip_prefix("FDNAME="));
    let name = name.unwrap_or("stored").to_owned();
    if text.lines().any(|line| line == "FDSTORE=1") {
        let named = descriptors.into_iter().map(|one| (name.clone(), one));
        state.store.extend(named);
    } else if text.lines().any(|line| line == "FDSTOREREMOVE=1") {
        state.store.retain(|(stored, _)| *stored != name);
    }
    let is_last = text == END;
    state.messages.push(text);
    !is_last
}
