//! What the server's settings say of the swarm (pure).

use std::path::PathBuf;

use super::image::Origin;

/// `[engine.swarm]`.
#[derive(Clone, Debug)]
pub struct SwarmSettings {
    /// Where the API of a manager's engine is, a Unix socket.
    pub socket: PathBuf,
    /// Where nodes fetch images.
    pub images: Origin,
}
