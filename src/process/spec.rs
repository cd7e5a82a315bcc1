//! [`ProcessSpec`]: what a Process actor runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::by_itself::by_itself;
use super::environment;
use super::exec_spec::{Exec, ExecSpec, Output, Purpose};
use super::landlock::Landlock;
use super::lent::Lent;
use super::mounts::Mounts;
use super::one_off::OneOff;
use super::socket::SocketDirectory;
use super::start_permits::StartPermits;
use crate::account::Account;
use crate::document::config::{HealthCheck, StopPolicy};
use crate::document::limits::Limits;
use crate::document::name::AppName;
use crate::document::shell::Shell;
use crate::supervision::Restart;

/// The variable with the path of the socket.
const SOCKET: &str = "SOCKET";

/// What a Process actor runs. Fixed for its life: another command or environment is another actor.
#[derive(Clone, Debug)]
pub struct ProcessSpec {
    pub app: AppName,
    /// `web.1`.
    pub id: String,
    /// `web`.
    pub process_type: String,
    /// The release it belongs to.
    pub release: u64,
    /// The release's.
    pub commit: String,
    /// The activation it belongs to: two sets of processes of one release differ in it.
    pub batch: u64,
    pub shell: Shell,
    /// For its `-c`.
    pub command: String,
    pub directory: PathBuf,
    /// The account to switch to; `None` when the daemon is not root.
    pub account: Option<Account>,
    /// Set where it is none of the formation.
    pub one_off: Option<OneOff>,
    /// Layers one to three; the worker adds PORT, PS and PROCSERVER_*.
    pub environment: BTreeMap<String, String>,
    /// Whether the proxy routes to it: then ready means `health`, else alive for a second.
    pub routed: bool,
    /// What it and all that it starts may use.
    pub limits: Limits,
    /// How readiness is found out.
    pub health: HealthCheck,
    pub stop: StopPolicy,
    /// When it is started again after an end of its own.
    pub restart: Restart,
    /// `RUNTIME/apps/NAME`: the process makes its directory `ID-BATCH` below.
    pub runtime: PathBuf,
    /// The port its predecessor had.
    pub preferred_port: Option<u16>,
    /// Where it waits for its turn to start the first time; `None`: it starts at once.
    pub start_permits: Option<StartPermits>,
    /// Where it may not write; `None`: wherever the owners of files let it.
    pub landlock: Option<Landlock>,
    /// What it sees of the disk, its socket's directory aside.
    pub mounts: Option<Mounts>,
}

impl ProcessSpec {
    /// SHA-256, in hex, of what makes a running process the one that is wanted: command, environment, directory, limits.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        let environment = self
            .environment
            .iter()
            .flat_map(|(name, value)| [name, value]);
        for text in [&self.command].into_iter().chain(environment) {
            hash.update(text.len().to_le_bytes());
            hash.update(text);
        }
        hash.update(self.directory.as_os_str().as_encoded_bytes());
        // The default adds nothing: an older server's processes are known again.
        if self.shell != Shell::default() {
            hash.update(self.shell.path());
        }
        if self.limits != Limits::default() {
            hash.update(format!("{:?}", self.limits));
        }
        hash.finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// The directory of its FIFOs and its record, unique to this process of this activation.
    #[must_use]
    pub fn instance_directory(&self) -> PathBuf {
        instance_directory(&self.runtime, &self.id, self.batch)
    }

    /// Where it may listen instead of on its port. Only routed processes have a socket, and only if the app does not
    /// set `SOCKET` itself.
    ///
    /// # Errors
    /// In words, where there can be no socket.
    pub(super) fn socket_directory(&self) -> Result<Option<SocketDirectory>, String> {
        let is_free = self.routed && !self.environment.contains_key(SOCKET);
        let directory = SocketDirectory::of(&self.instance_directory()).filter(|_| is_free);
        match directory {
            Some(directory) => directory.socket().map(|_| Some(directory)),
            None => Ok(None),
        }
    }

    /// What is executed when it is given `port`: the last layer of the environment is added here.
    pub(super) fn exec_spec(&self, port: Option<u16>) -> ExecSpec {
        let directory = self.instance_directory();
        let mut environment = self.environment.clone();
        environment.extend(
            [
                ("PS", self.id.clone()),
                ("PROCSERVER_APP", self.app.as_str().to_owned()),
                ("PROCSERVER_PROCESS", self.id.clone()),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        environment.extend(environment::of_release(self.release, &self.commit));
        if let Some(port) = port {
            environment.insert("PORT".to_owned(), port.to_string());
        }
        let command = match self.one_off {
            Some(_) => by_itself(&self.command),
            None => self.command.as_str().into(),
        };
        let sockets = self.socket_directory().ok().flatten();
        let socket = sockets.as_ref().and_then(|s| s.socket().ok());
        if let Some(socket) = socket {
            let socket = socket.to_string_lossy().into_owned();
            environment.insert(SOCKET.to_owned(), socket);
        }
        ExecSpec {
            command: Exec::Shell(self.shell, command.into_owned()),
            directory: self.directory.clone(),
            account: self.account.clone(),
            environment,
            instance: directory.to_string_lossy().into_owned(),
            identity: Some(Purpose {
                id: self.id.clone(),
                release: self.release,
                batch: self.batch,
                port: port.unwrap_or_default(),
                digest: self.digest(),
                directory: directory.clone(),
                one_off: self.one_off.is_some(),
            }),
            mounts: self
                .mounts
                .clone()
                .map(|mounts| mounts.showing(sockets.as_ref().map(|s| s.path().to_owned()))),
            landlock: self.landlock.clone().map(|landlock| {
                // It may open /dev/stdout anew.
                let mut landlock = landlock.but(directory.clone());
                landlock
                    .sockets
                    .extend(sockets.map(|s| s.path().to_owned()));
                landlock
            }),
            output: Output::Fifos { directory },
            limits: self.limits,
            nice: None,
            umask: 0o022,
            lent: Lent::default(),
        }
    }
}

/// The directory of the process `id` of an activation, below its app's `runtime` directory.
#[must_use]
pub(crate) fn instance_directory(runtime: &Path, id: &str, batch: u64) -> PathBuf {
    runtime.join(format!("{id}-{batch}"))
}
