//! What the server's settings say of the swarm (pure).

use std::path::PathBuf;

/// `[engine.swarm]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwarmSettings {
    /// Where the API of a manager's engine is, a Unix socket.
    pub socket: PathBuf,
    /// Where nodes fetch images: `HOST:PORT` of this server; `None`: nodes reach it nowhere.
    pub host: Option<String>,
}
