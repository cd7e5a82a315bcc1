//! [`ApiSocket`]: the Unix socket of the API, which is made again when somebody has removed it.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::directories::make_directory;
use super::sockets::bind_unix;
use super::{DaemonError, handed_over, io_error};
use crate::api::socket::{self, Door, SocketServer};
use crate::api::state::ApiState;
use crate::front::kept::Kept;

/// Pause between two checks that the socket is still there. A check is one system call.
pub(super) const LOOK: Duration = Duration::from_secs(1);

/// The Unix socket of the API.
pub(super) struct ApiSocket {
    path: PathBuf,
    api: ApiState,
    kept: Kept,
    /// Ours, as long as it lies there.
    place: Option<Place>,
    /// Earlier servers still answer their connections.
    servers: Vec<SocketServer>,
}

impl ApiSocket {
    /// Takes the one that was kept, or makes it, and serves the API on it.
    pub(super) async fn open(
        path: PathBuf,
        api: ApiState,
        kept: Kept,
    ) -> Result<Self, DaemonError> {
        let mut socket = Self {
            path,
            api,
            kept,
            place: None,
            servers: Vec::new(),
        };
        socket.serve().await?;
        Ok(socket)
    }

    /// Binds the socket, on a thread for what blocks (it looks a group up), and serves the API on it.
    async fn serve(&mut self) -> Result<(), DaemonError> {
        let (path, kept) = (self.path.clone(), self.kept.clone());
        let bound = tokio::task::spawn_blocking(move || {
            let is_there = |socket: &_| handed_over::is_at(&path, socket);
            let listener = kept.unix(&path, is_there, || bind_unix(&path));
            let listener = listener.map_err(|e| io_error(&path, e))?;
            Ok((listener, place(&path)))
        });
        let bound = bound.await.map_err(|e| DaemonError::Start(e.to_string()));
        let (listener, place) = bound.flatten()?;
        let server = socket::serve(listener, self.api.clone(), Door::Api)
            .map_err(|e| io_error(&self.path, e))?;
        self.servers.push(server);
        self.place = place;
        Ok(())
    }

    /// Makes it again, whenever it is gone. Never resolves.
    pub(super) async fn keep(&mut self) {
        let mut is_failing = false;
        loop {
            tokio::time::sleep(LOOK).await;
            let path = self.path.clone();
            let found = tokio::task::spawn_blocking(move || {
                let found = place(&path);
                if found.is_none()
                    && let Some(directory) = path.parent()
                {
                    // What cannot be made is told when the socket is.
                    let _ = make_directory(directory, 0o711);
                }
                found
            });
            let Ok(found) = found.await else { continue };
            if found.is_some() && found == self.place {
                continue;
            }
            let served = self.serve().await;
            match &served {
                Ok(()) => log::warn!("{} was removed: it is made again", self.path.display()),
                Err(e) if !is_failing => {
                    log::error!("the API socket was removed, and cannot be made again: {e}");
                }
                Err(_) => {}
            }
            is_failing = served.is_err();
        }
    }

    /// Gives calls in flight a moment, and leaves it to the next server.
    pub(super) async fn leave(self) {
        let all = self.servers.into_iter().map(SocketServer::leave);
        futures::future::join_all(all).await;
    }

    /// Lets calls in flight end, and removes it, unless clients wait there for the next server.
    pub(super) async fn close(self) {
        for server in self.servers {
            server.stop().await;
        }
        if handed_over::are_kept() {
            return;
        }
        // A socket that is gone already is as good.
        let _gone = tokio::fs::remove_file(&self.path).await;
    }
}

/// Which file has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    device: u64,
    inode: u64,
}

pub(super) fn place(path: &Path) -> Option<Place> {
    let found = std::fs::symlink_metadata(path).ok()?;
    Some(Place {
        device: found.dev(),
        inode: found.ino(),
    })
}
