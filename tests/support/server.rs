//! A real server: the binary as a child process, with directories, ports and a token of its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::http::{Peer, Request, Response};
use super::machine::{processes_of, send_signal};
use super::wait::{SOON, eventually};

/// Ports for the apps of one server. All slices lie below the kernel's ephemeral ports (32768 and up), so that no
/// outgoing connection of another test can hold one.
const SLICE: u16 = 20;
const FIRST_PORT: u16 = 20_000;
const SLICES: u32 = 600;

/// How long a server may take to end all its apps.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// A server that is not started yet.
pub(crate) struct Setup {
    directory: TempDir,
    flags: Vec<(&'static str, String)>,
    first_port: u16,
}

/// A running server; when dropped it is stopped, and no process of it may remain.
pub(crate) struct Server {
    setup: Setup,
    child: Child,
    address: SocketAddr,
}

/// The program under test, without what the developer's own environment would tell it.
pub(crate) fn procserver() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_procserver"));
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"PROCSERVER_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// A new temporary directory that other users can look into, as `/var/lib` is.
pub(crate) fn world_readable_directory() -> TempDir {
    let directory = tempfile::Builder::new()
        .prefix("procserver-test-")
        .tempdir()
        .unwrap();
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    directory
}

/// The first port of a slice that no other server of this test run has; runs at the same time begin elsewhere.
fn next_slice() -> u16 {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    let turn = std::process::id()
        .wrapping_mul(37)
        .wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed));
    FIRST_PORT + u16::try_from(turn % SLICES).expect("less than SLICES") * SLICE
}

impl Setup {
    pub(crate) fn new() -> Self {
        Self {
            directory: world_readable_directory(),
            flags: Vec::new(),
            first_port: next_slice(),
        }
        .flag("--listen", "127.0.0.1:0")
        .flag("--allow-file-repos", "true")
    }

    /// Sets a flag; the last value of one wins.
    pub(crate) fn flag(mut self, name: &'static str, value: &str) -> Self {
        self.flags.retain(|(n, _)| *n != name);
        self.flags.push((name, value.to_owned()));
        self
    }

    /// Puts a file into the configuration directory.
    pub(crate) fn config_file(self, name: &str, content: &str) -> Self {
        std::fs::create_dir_all(self.config_directory()).unwrap();
        std::fs::write(self.config_directory().join(name), content).unwrap();
        self
    }

    pub(crate) fn start(self) -> Server {
        let (child, address) = self.spawn();
        Server {
            setup: self,
            child,
            address,
        }
    }

    fn config_directory(&self) -> PathBuf {
        self.directory.path().join("config")
    }

    fn log_file(&self) -> PathBuf {
        self.directory.path().join("daemon.log")
    }

    /// What the daemon has logged so far.
    fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn spawn(&self) -> (Child, SocketAddr) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.log_file())
            .unwrap();
        // The last port of the slice is for an app's own listener.
        let ports = format!("{}-{}", self.first_port, self.first_port + SLICE - 2);
        let mut child = procserver()
            .arg("serve")
            .arg("--data-dir")
            .arg(self.directory.path())
            .args(["--ports", &ports])
            .args(
                self.flags
                    .iter()
                    .flat_map(|(name, value)| [*name, value.as_str()]),
            )
            .env("DAEMON_SECRET", "not for apps")
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        match announced_address(child.stdout.take().expect("it is piped")) {
            Some(address) => (child, address),
            None => {
                let _ = child.kill();
                let _ = child.wait();
                panic!(
                    "the server did not say where it listens; it logged:\n{}",
                    self.log()
                );
            }
        }
    }
}

/// Reads the line `listening on http://ADDRESS`, and goes on reading, so that the server never blocks on its stdout.
fn announced_address(stdout: ChildStdout) -> Option<SocketAddr> {
    let (sender, announced) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if let Some(address) = line.strip_prefix("listening on http://") {
                let _ = sender.send(address.trim_end_matches('/').parse().ok());
            }
        }
    });
    announced.recv_timeout(SOON).ok().flatten()
}

impl Server {
    /// A server with the flags that nearly all tests need.
    pub(crate) fn start() -> Self {
        Setup::new().start()
    }

    /// Its public listener.
    pub(crate) fn public(&self) -> Peer {
        Peer::Tcp(self.address)
    }

    /// Its public listener as a URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its Unix socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory().join("run/procserver.sock")
    }

    /// A port outside the range of the processes.
    pub(crate) fn spare_port(&self) -> u16 {
        self.setup.first_port + SLICE - 1
    }

    pub(crate) fn directory(&self) -> &Path {
        self.setup.directory.path()
    }

    pub(crate) fn config_directory(&self) -> PathBuf {
        self.setup.config_directory()
    }

    pub(crate) fn log(&self) -> String {
        self.setup.log()
    }

    pub(crate) fn token(&self) -> String {
        let path = self.directory().join("token");
        std::fs::read_to_string(path)
            .expect("the server made a token")
            .trim()
            .to_owned()
    }

    /// A request to the API, with the token.
    pub(crate) fn request(&self, method: &str, target: &str) -> Request {
        Request::new(method, target).header("Authorization", &format!("Bearer {}", self.token()))
    }

    /// GETs from the API.
    #[track_caller]
    pub(crate) fn get(&self, target: &str) -> Response {
        self.request("GET", target).send(&self.public())
    }

    /// Sends `document` and returns the answer as it comes at once.
    #[track_caller]
    pub(crate) fn send(&self, method: &str, target: &str, document: &Value) -> Response {
        self.request(method, target)
            .header("Content-Type", "application/json")
            .body(document.to_string())
            .send(&self.public())
    }

    /// Sends `document` and waits until what it asks for is done.
    #[track_caller]
    pub(crate) fn send_and_wait(&self, method: &str, target: &str, document: &Value) -> Response {
        self.request(method, target)
            .header("Content-Type", "application/json")
            .header("Prefer", "wait=50")
            .body(document.to_string())
            .send(&self.public())
    }

    /// Adds an app and waits until it serves.
    #[track_caller]
    pub(crate) fn deploy(&self, document: &Value) {
        self.send_and_wait("POST", "/applications", document)
            .expect(201);
    }

    /// `stop`, `start`, `restart` or `redeploy`, waiting until it is done.
    #[track_caller]
    pub(crate) fn act(&self, app: &str, action: &str) -> Response {
        self.request("POST", &format!("/applications/{app}/{action}"))
            .header("Prefer", "wait=50")
            .send(&self.public())
    }

    #[track_caller]
    pub(crate) fn status(&self, app: &str) -> Value {
        self.get(&format!("/applications/{app}/status"))
            .expect(200)
            .json()
    }

    /// The status of the process `id` of `app`.
    #[track_caller]
    pub(crate) fn process(&self, app: &str, id: &str) -> Value {
        let status = self.status(app);
        let processes = status["processes"]
            .as_array()
            .expect("processes are a list");
        let found = processes.iter().find(|p| p["id"] == id);
        found
            .unwrap_or_else(|| panic!("no {id} in {status}"))
            .clone()
    }

    /// The pid of the process `id` of `app`, once it is ready.
    #[track_caller]
    pub(crate) fn ready_pid(&self, app: &str, id: &str) -> i32 {
        eventually(&format!("{id} of {app} is ready"), SOON, || {
            let process = self.process(app, id);
            let pid = process["pid"]
                .as_i64()
                .filter(|_| process["state"] == "ready")?;
            i32::try_from(pid).ok()
        })
    }

    /// GETs from an app through the proxy, by path; no token goes with it.
    #[track_caller]
    pub(crate) fn visit(&self, target: &str) -> Response {
        Request::get(target).send(&self.public())
    }

    /// Asks the server to end and waits until it has.
    #[track_caller]
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        send_signal(self.pid(), Signal::SIGTERM);
        eventually("the server ends after SIGTERM", STOP_LIMIT, || {
            self.child.try_wait().unwrap()
        })
    }

    /// Kills the server as a crash would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on the same directories, after [`Server::terminate`] or [`Server::kill`].
    pub(crate) fn start_again(&mut self) {
        (self.child, self.address) = self.setup.spawn();
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("pids fit")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        if failed {
            let _ = std::io::Write::write_all(&mut std::io::stderr(), self.log().as_bytes());
        }
        let mut ended = matches!(self.child.try_wait(), Ok(Some(_)));
        if !ended {
            send_signal(self.pid(), Signal::SIGTERM);
            let deadline = std::time::Instant::now() + STOP_LIMIT;
            while !ended && std::time::Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(10));
                ended = matches!(self.child.try_wait(), Ok(Some(_)));
            }
            if !ended {
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
        }
        let left = processes_of(self.directory());
        for pid in &left {
            send_signal(*pid, Signal::SIGKILL);
        }
        assert!(
            failed || ended,
            "the server did not end within {STOP_LIMIT:?} of SIGTERM"
        );
        assert!(
            failed || left.is_empty(),
            "processes of the server remain: {left:?}"
        );
    }
}
