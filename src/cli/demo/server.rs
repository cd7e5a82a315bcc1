//! [`Server`]: the demo's server, a child process of ours.

use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::NAME;
use crate::cli::client::Client;
use crate::cli::serve::LISTENING;

/// How long it may take to start, and to stop with all its processes.
const LIMIT: Duration = Duration::from_secs(30);
/// The ports of one demo, and how many such slices there are from the first on.
const SLICE: u16 = 20;
const FIRST_PORT: u16 = 8001;
const SLICES: u16 = 49;

/// The settings of a server with this slice of ports, which listens on this port of 127.0.0.1.
fn settings_of(listen: u16, slice: u16) -> String {
    let first = FIRST_PORT + slice * SLICE;
    let last = first + SLICE - 1;
    format!(
        "listen = [\"127.0.0.1:{listen}\"]\nallow_file_repos = true\nports = \"{first}-{last}\"\n"
    )
}

/// Those of a server with the swarm of the engine at `socket`. All processes run on this machine's node, since no other
/// fetches images from 127.0.0.1. They name the port, so it is chosen before the server has it.
fn settings_with_swarm(socket: &Path) -> anyhow::Result<String> {
    let free = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let socket = toml::Value::from(socket.to_str().context("the socket's path is not UTF-8")?);
    let local = settings_of(free.port(), random_slice());
    Ok(format!("{local}[engine.swarm]\nsocket = {socket}\n"))
}

/// A slice by chance: a port is found free a moment before the app listens on it, and another demo that starts at the same
/// instant would find the same one.
fn random_slice() -> u16 {
    let random = RandomState::new().build_hasher().finish() % u64::from(SLICES);
    u16::try_from(random).unwrap_or_default()
}

/// The demo's server.
#[derive(Debug)]
pub struct Server {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    scratch: PathBuf,
    ready: Option<(SocketAddr, String)>,
}

impl Server {
    /// Starts `binary serve` with all its files in `scratch`. To be put where it will be stopped before anything else is
    /// awaited. `engine`: its socket, where applications may run on a swarm.
    ///
    /// # Errors
    /// Those of the file system and of the spawn.
    pub fn spawn(binary: &str, scratch: &Path, engine: Option<&Path>) -> anyhow::Result<Self> {
        let settings = scratch.join("procserver.toml");
        let text = match engine {
            None => settings_of(0, random_slice()),
            Some(socket) => settings_with_swarm(socket)?,
        };
        fs::write(&settings, text)?;
        let mut command = Command::new(binary);
        for (name, _) in std::env::vars_os() {
            // Settings of another server; the level of logging may stay.
            if name.to_string_lossy().starts_with("PROCSERVER_") && name != "PROCSERVER_LOG" {
                command.env_remove(name);
            }
        }
        let mut child = command
            .arg("serve")
            .arg("--config")
            .arg(settings)
            .arg("--data-dir")
            .arg(scratch.join("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(scratch.join("server.log"))?)
            // Ctrl-C at the terminal is for us: we stop it when we are done with it.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| {
                format!(
                    "cannot run {binary}: is its directory mounted noexec? Set TMPDIR to another"
                )
            })?;
        let stdout = child.stdout.take().context("the server has no stdout")?;
        let lines = BufReader::new(stdout).lines();
        Ok(Self {
            child,
            lines,
            scratch: scratch.to_owned(),
            ready: None,
        })
    }

    /// Waits until it says where it listens.
    ///
    /// # Errors
    /// It ended or said nothing in time: with the last lines of its log.
    pub async fn ready(&mut self) -> anyhow::Result<()> {
        let address = match actix_rt::time::timeout(LIMIT, self.announced()).await {
            Ok(Some(address)) => address,
            Ok(None) => bail!("the server ended:\n{}", self.last_lines()),
            Err(_) => {
                bail!(
                    "the server did not start within {} s:\n{}",
                    LIMIT.as_secs(),
                    self.last_lines()
                )
            }
        };
        let token = self.scratch.join("data/token");
        let token = fs::read_to_string(&token)
            .with_context(|| format!("cannot read the token {}", token.display()))?;
        self.ready = Some((address, token.trim().to_owned()));
        Ok(())
    }

    /// Commands that talk to its API, for any shell.
    #[must_use]
    pub fn commands(&self) -> [String; 4] {
        let scratch = self.scratch.display();
        let program = quoted(&format!("{scratch}/procserver"));
        let socket = format!("{scratch}/data/run/procserver.sock");
        let server = quoted(&format!("unix:{socket}"));
        let socket = quoted(&socket);
        [
            format!("{program} ps {NAME} --server {server}"),
            format!("{program} scale {NAME} web=2 --server {server}"),
            format!("{program} logs {NAME} --install --server {server}"),
            format!("curl --unix-socket {socket} http://localhost/applications"),
        ]
    }

    async fn announced(&mut self) -> Option<SocketAddr> {
        while let Ok(Some(line)) = self.lines.next_line().await {
            let address = line
                .strip_prefix(LISTENING)
                .map(|address| address.trim_end_matches('/'));
            if let Some(Ok(address)) = address.map(str::parse) {
                return Some(address);
            }
        }
        None
    }

    /// Where it listens.
    ///
    /// # Errors
    /// It is not ready.
    pub fn address(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.ready.as_ref().context("the server is not ready")?.0)
    }

    /// The same as a URL.
    ///
    /// # Errors
    /// It is not ready.
    pub fn url(&self) -> anyhow::Result<String> {
        Ok(format!("http://{}", self.address()?))
    }

    /// The token of its API; empty until it is ready.
    #[must_use]
    pub fn token(&self) -> &str {
        self.ready.as_ref().map_or("", |(_, token)| token)
    }

    /// A client of its API, over TCP.
    ///
    /// # Errors
    /// It is not ready.
    pub fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::new(&super::client_args(self.url()?, self.token()))?)
    }

    /// Stops it with all its processes.
    ///
    /// # Errors
    /// It did not end in time, or not well.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        // None: it has ended and was waited for already.
        if let Some(pid) = self.child.id() {
            kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGTERM)?;
        }
        match actix_rt::time::timeout(LIMIT, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => bail!("the server ended with {status}:\n{}", self.last_lines()),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => {
                self.child.kill().await?;
                bail!(
                    "the server did not stop within {} s:\n{}",
                    LIMIT.as_secs(),
                    self.last_lines()
                )
            }
        }
    }

    fn last_lines(&self) -> String {
        let log = fs::read(self.scratch.join("server.log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

/// `text` as one word of a command, for sh, bash, zsh, fish and csh.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-:".contains(c);
    match text.chars().all(is_plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_in_any_shell() {
        assert_eq!(quoted("unix:/tmp/a-b_1.sock"), "unix:/tmp/a-b_1.sock");
        assert_eq!(quoted("/my tmp/$x"), "'/my tmp/$x'");
        assert_eq!(quoted("/it's"), "'/it'\\''s'");
    }
}
