//! [`About`]: what an engine says of itself, and what it lacks to run applications.

use std::fmt;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use bollard::models::{LocalNodeState, SystemInfo, SystemVersion};

use super::client::{Client, EngineError};

/// The oldest version of the Engine API that has all that is asked of an engine: that of Debian 12.
const OLDEST: (u32, u32) = (1, 41);

/// What an engine lacks, and what to type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {todo}")]
pub struct Lack {
    pub what: String,
    pub todo: String,
}

impl Lack {
    fn new(what: impl Into<String>, todo: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            todo: todo.into(),
        }
    }
}

/// What an engine is in its swarm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    Manager,
    Worker,
    /// It is in no swarm.
    None,
    /// Its manager's keys are locked away (`docker swarm unlock`).
    Locked,
    /// What it says of itself instead.
    Broken(String),
}

/// What an engine says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Of its machine.
    pub name: String,
    pub version: String,
    /// Of its API, as in `1.41`.
    pub api: String,
    /// As uname(2) has it.
    pub architecture: String,
    /// Where it has images, containers and volumes.
    pub directory: PathBuf,
    pub part: Part,
    /// Its node's id; empty outside of a swarm.
    pub node: String,
}

impl Client {
    /// What the engine says of itself.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn about(&self) -> Result<About, EngineError> {
        let told = self.call(async |docker| Ok((docker.info().await?, docker.version().await?)));
        told.await.map(|(info, version)| About::new(info, version))
    }
}

impl About {
    fn new(info: SystemInfo, version: SystemVersion) -> Self {
        let swarm = info.swarm.unwrap_or_default();
        let part = match swarm.local_node_state {
            Some(LocalNodeState::ACTIVE) => match swarm.control_available {
                Some(true) => Part::Manager,
                _ => Part::Worker,
            },
            Some(LocalNodeState::LOCKED) => Part::Locked,
            Some(LocalNodeState::INACTIVE | LocalNodeState::EMPTY) | None => Part::None,
            Some(state) => Part::Broken(format!("{state} {}", swarm.error.unwrap_or_default())),
        };
        Self {
            name: info.name.unwrap_or_default(),
            version: version.version.unwrap_or_default(),
            api: version.api_version.unwrap_or_default(),
            architecture: info.architecture.unwrap_or_default(),
            directory: info.docker_root_dir.unwrap_or_default().into(),
            part,
            node: swarm.node_id.unwrap_or_default(),
        }
    }

    /// Why it runs no application, if it does not.
    #[must_use]
    pub fn lack(&self) -> Option<Lack> {
        let (what, todo) = match &self.part {
            Part::Manager => return self.age(),
            Part::Worker => (
                format!(
                    "the engine of {} is a worker of its swarm, and takes no services",
                    self.name
                ),
                "use the machine of a manager, or type \"docker node promote NODE\" on one"
                    .to_owned(),
            ),
            Part::None => (
                format!("the engine of {} is in no swarm", self.name),
                "type \"docker swarm init\", which makes it one of its own".to_owned(),
            ),
            Part::Locked => (
                format!("the swarm of {} is locked", self.name),
                "type \"docker swarm unlock\"".to_owned(),
            ),
            Part::Broken(state) => (
                format!(
                    "the engine of {} is not well in its swarm: {}",
                    self.name,
                    state.trim()
                ),
                "\"docker info\" and \"journalctl -u docker\" say more".to_owned(),
            ),
        };
        Some(Lack::new(what, todo))
    }

    fn age(&self) -> Option<Lack> {
        let mut numbers = self.api.split('.').map(|part| part.parse::<u32>().ok());
        match (numbers.next().flatten(), numbers.next().flatten()) {
            (Some(major), Some(minor)) if (major, minor) < OLDEST => Some(Lack::new(
                format!(
                    "the engine of {} has version {} of the API, older than {}.{}",
                    self.name, self.api, OLDEST.0, OLDEST.1
                ),
                "install a newer docker.io (20.10 or later)",
            )),
            _ => None,
        }
    }
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name, version, api, ..
        } = self;
        write!(f, "version {version} (API {api}) of {name}")
    }
}

/// Whether the socket of an engine can be opened. Blocks.
///
/// # Errors
/// Why not.
pub fn knock(socket: &Path) -> Result<(), Lack> {
    let at = socket.display();
    UnixStream::connect(socket).map(drop).map_err(|error| {
        let (what, todo) = match error.kind() {
            io::ErrorKind::NotFound => (
                format!("there is no engine at {at}"),
                "install one (apt-get install docker.io), or name the socket of another",
            ),
            io::ErrorKind::PermissionDenied => (
                format!("{at} is not for this user"),
                "be root, or in the group docker (usermod -aG docker USER), which is as much",
            ),
            io::ErrorKind::ConnectionRefused => (
                format!("no engine listens at {at}"),
                "type \"systemctl start docker\"",
            ),
            _ => (
                format!("{at} cannot be opened: {error}"),
                "name the socket of an engine",
            ),
        };
        Lack::new(what, todo)
    })
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::net::UnixListener;

    use bollard::models::SwarmInfo;

    use super::*;

    fn about(state: LocalNodeState, is_manager: bool, api: &str) -> About {
        let info = SystemInfo {
            name: Some("nas".into()),
            swarm: Some(SwarmInfo {
                local_node_state: Some(state),
                control_available: Some(is_manager),
                ..Default::default()
            }),
            ..Default::default()
        };
        let version = SystemVersion {
            api_version: Some(api.into()),
            ..Default::default()
        };
        About::new(info, version)
    }

    #[test]
    fn only_a_manager_runs_applications_and_each_other_says_what_to_do() {
        use LocalNodeState::{ACTIVE, EMPTY, ERROR, INACTIVE, LOCKED};
        let lack = |state, is_manager, api| about(state, is_manager, api).lack();
        assert_eq!(lack(ACTIVE, true, "1.41"), None);
        assert_eq!(lack(ACTIVE, true, "2.0"), None);
        for (state, api, part) in [
            (ACTIVE, "1.41", "docker node promote"),
            (INACTIVE, "1.41", "docker swarm init"),
            (EMPTY, "1.41", "docker swarm init"),
            (LOCKED, "1.41", "docker swarm unlock"),
            (ERROR, "1.41", "docker info"),
        ] {
            let told = lack(state, false, api).unwrap().to_string();
            assert!(told.contains(part), "{told}");
        }
        let old = lack(ACTIVE, true, "1.40").unwrap().to_string();
        assert!(old.contains("older than 1.41"), "{old}");
    }

    #[test]
    fn a_socket_that_does_not_open_says_why() {
        let home = tempfile::tempdir().unwrap();
        let socket = home.path().join("docker.sock");
        let told = || knock(&socket).unwrap_err().to_string();
        assert!(told().contains("apt-get install docker.io"), "{}", told());
        let listener = UnixListener::bind(&socket).unwrap();
        assert_eq!(knock(&socket), Ok(()));
        if !rustix::process::geteuid().is_root() {
            std::fs::set_permissions(&socket, Permissions::from_mode(0o0)).unwrap();
            assert!(told().contains("group docker"), "{}", told());
            std::fs::set_permissions(&socket, Permissions::from_mode(0o600)).unwrap();
        }
        drop(listener);
        assert!(told().contains("systemctl start docker"), "{}", told());
    }
}
