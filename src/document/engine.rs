//! [`EngineKind`]: what runs the processes of an application (pure).

/// What runs the processes of an application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EngineKind {
    /// This server, on this machine.
    #[default]
    Local,
    /// A Docker Swarm.
    Swarm,
}

impl EngineKind {
    /// The engine of this name, on a server that has a swarm or not.
    ///
    /// # Errors
    /// What is allowed, or what the server lacks.
    pub fn parse(name: &str, has_swarm: bool) -> Result<Self, &'static str> {
        match (name, has_swarm) {
            ("local", _) => Ok(Self::Local),
            ("swarm", true) => Ok(Self::Swarm),
            ("swarm", false) => Err(
                "is \"swarm\", and this server has none: name the socket of a manager, socket = \"/var/run/docker.sock\", \
                 under [engine.swarm] in procserver.toml",
            ),
            _ => Err("must be \"local\" or \"swarm\""),
        }
    }
}
