//! [`GitSocket`]: the Unix socket of git over ssh. It is there while there are keys.

use std::path::Path;

use super::api_socket::{LOOK, Place, place};
use super::sockets::bind_for;
use crate::api::socket::{self, Door, SocketServer};
use crate::api::state::ApiState;
use crate::ssh_keys::SshKeys;

/// The Unix socket of git over ssh.
pub(super) struct GitSocket {
    api: ApiState,
    /// Ours, as long as it lies there.
    place: Option<Place>,
    /// Earlier servers still answer their connections.
    servers: Vec<SocketServer>,
}

impl GitSocket {
    pub(super) fn new(api: ApiState) -> Self {
        Self {
            api,
            place: None,
            servers: Vec::new(),
        }
    }

    fn keys(&self) -> &SshKeys {
        &self.api.ssh_keys
    }

    /// Makes it once there are keys, and again whenever it is gone. Never resolves.
    pub(super) async fn keep(&mut self) {
        let mut is_failing = false;
        let mut known = self.keys().subscribe();
        loop {
            if !known.borrow_and_update().is_empty() && !self.is_there().await {
                let served = self.serve().await;
                match &served {
                    Err(error) if !is_failing => {
                        log::error!("ssh: nobody can push over ssh: {error}");
                    }
                    Ok(()) if is_failing => log::info!("ssh: pushes over ssh are served again"),
                    _ => {}
                }
                is_failing = served.is_err();
            }
            let is_wanted = !known.borrow().is_empty();
            // The store of the keys lives as long as the API.
            match is_wanted {
                true => drop(tokio::time::timeout(LOOK, known.changed()).await),
                false => drop(known.changed().await),
            }
        }
    }

    async fn is_there(&self) -> bool {
        let path = self.keys().place().socket();
        let found = tokio::task::spawn_blocking(move || place(&path)).await;
        self.place.is_some() && found.is_ok_and(|found| found == self.place)
    }

    /// Binds the socket, on a thread for what blocks (it looks a user up), and serves git on it.
    async fn serve(&mut self) -> Result<(), String> {
        let wanted = self.keys().place().clone();
        let path = wanted.socket();
        let bound = tokio::task::spawn_blocking(move || {
            let user = wanted.look_up().map_err(|error| error.to_string())?;
            let bound = bind_for(&path, user);
            let listener = bound.map_err(|error| format!("{}: {error}", path.display()))?;
            Ok::<_, String>((listener, place(&path), user.uid))
        });
        let bound = bound.await.map_err(|error| error.to_string())?;
        let (listener, place, uid) = bound?;
        let served = socket::serve(listener, self.api.clone(), Door::Git { uid });
        self.servers
            .push(served.map_err(|error| error.to_string())?);
        self.place = place;
        Ok(())
    }

    /// Gives pushes in flight a moment. Those who come find the next server's.
    pub(super) async fn leave(self) {
        let all = self.servers.into_iter().map(SocketServer::leave);
        futures::future::join_all(all).await;
    }

    /// Lets pushes in flight end, and removes it.
    pub(super) async fn close(self) {
        let path = self.keys().place().socket();
        for server in self.servers {
            server.stop().await;
        }
        if self.place.is_some() {
            remove(&path).await;
        }
    }
}

/// A socket that is gone already is as good.
async fn remove(path: &Path) {
    let _gone = tokio::fs::remove_file(path).await;
}
