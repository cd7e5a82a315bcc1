//! What the server's settings say of the swarm (pure).

use std::path::PathBuf;

use super::image::Origin;
use super::image::base_image::BaseImage;

/// `[engine.swarm]`.
#[derive(Clone, Debug)]
pub struct SwarmSettings {
    /// Where the API of a manager's engine is, a Unix socket.
    pub socket: PathBuf,
    /// Where nodes fetch images.
    pub images: Origin,
    /// What images are built on, in the place of a root file system of this machine's Debian.
    pub base_image: Option<BaseImage>,
    /// The file with the certificates that a registry is believed by; `images` has them once it is read.
    pub registry_ca: Option<PathBuf>,
    /// Which nodes processes may run on, as `docker service create --constraint` has it.
    pub constraints: Vec<String>,
}
