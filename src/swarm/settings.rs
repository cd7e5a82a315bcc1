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
    /// The file with the certificates that a registry is believed by; `images` has them once it is read.
    pub registry_ca: Option<PathBuf>,
    /// Which nodes processes may run on, as `docker service create --constraint` has it.
    pub constraints: Vec<String>,
}
