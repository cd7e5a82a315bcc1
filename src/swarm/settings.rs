//! What the server's settings say of the swarm (pure).

use std::collections::BTreeMap;
use std::fmt;
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
    /// Who makes the volumes of applications; `None`: each node itself, on its disk.
    pub volumes: Option<VolumeDriver>,
}

/// What makes volumes, as `docker volume create` has it.
#[derive(Clone, PartialEq, Eq)]
pub struct VolumeDriver {
    pub name: String,
    /// They may have passwords in them.
    pub options: BTreeMap<String, String>,
}

impl fmt::Debug for VolumeDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options: Vec<_> = self.options.keys().collect();
        f.debug_struct("VolumeDriver")
            .field("name", &self.name)
            .field("options", &options)
            .finish_non_exhaustive()
    }
}
