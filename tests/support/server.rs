//! A real server: the binary as a child process, with directories, ports and a token of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use super::history::History;
use super::http::{Peer, Request, Response};
use super::machine::{processes_of, remove_shared_memory, send_signal};
use super::service_manager::ServiceManager;
use super::setup::Setup;
use super::wait::{SOON, eventually, within};

/// How long a server may take to end all its apps.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// A running server; when dropped it is stopped, and no process of it may remain.
pub(crate) struct Server {
    setup: Setup,
    child: Child,
    address: SocketAddr,
    history: History,
}

impl Server {
    pub(crate) fn new(setup: Setup, child: Child, address: SocketAddr) -> Self {
        let history = History::follow(setup.directory().join("run/procserver.sock"));
        Self {
            setup,
            child,
            address,
            history,
        }
    }

    /// A server with the flags that nearly all tests need.
    pub(crate) fn start() -> Self {
        Setup::new().start()
    }

    /// Its public listener.
    pub(crate) fn public(&self) -> Peer {
        Peer::Tcp(self.address)
    }

    /// The address of its public listener.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
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
        self.setup.spare_port()
    }

    pub(crate) fn directory(&self) -> &Path {
        self.setup.directory()
    }

    pub(crate) fn config_directory(&self) -> PathBuf {
        self.setup.config_directory()
    }

    /// What it is a service of.
    pub(crate) fn service_manager(&self) -> &ServiceManager {
        self.setup.service_manager()
    }

    pub(crate) fn log(&self) -> String {
        self.setup.log()
    }

    /// Lets the next actor of this kind panic when it is woken.
    pub(crate) fn arm(&self, actor: &str) {
        self.setup.arm(actor);
    }

    /// Where the file of a failpoint is looked for.
    pub(crate) fn failpoint(&self, name: &str) -> PathBuf {
        std::fs::create_dir_all(self.setup.failpoints()).unwrap();
        self.setup.failpoints().join(name)
    }

    /// Whether an actor has panicked since [`Server::arm`].
    pub(crate) fn has_fired(&self, actor: &str) -> bool {
        !self.setup.failpoints().join(actor).exists()
    }

    pub(crate) fn token(&self) -> String {
        let path = self.directory().join("token");
        std::fs::read_to_string(path)
            .expect("the server made a token")
            .trim()
            .to_owned()
    }

    /// The process id of the daemon.
    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("pids fit")
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

    /// The pid of the process `id` of `app`, once it is ready. The server may be busy with its own start.
    #[track_caller]
    pub(crate) fn ready_pid(&self, app: &str, id: &str) -> i32 {
        let target = format!("/applications/{app}/status");
        eventually(&format!("{id} of {app} is ready"), SOON, || {
            let answer = self.request("GET", &target).try_send(&self.public());
            let status = answer.ok().filter(|a| a.status == 200)?.json();
            let mut processes = status["processes"].as_array()?.iter();
            let ready = processes.find(|p| p["id"] == id && p["state"] == "ready")?;
            i32::try_from(ready["pid"].as_i64()?).ok()
        })
    }

    /// GETs from an app through the proxy, by path; no token goes with it.
    #[track_caller]
    pub(crate) fn visit(&self, target: &str) -> Response {
        Request::get(target).send(&self.public())
    }

    /// Like [`Server::visit`], for a server that may be unable to answer; `None` then, else the status.
    pub(crate) fn try_visit(&self, target: &str) -> Option<u16> {
        let answer = Request::get(target).try_send(&self.public());
        Some(answer.ok()?.status)
    }

    /// Asks the server to end and waits until it has.
    #[track_caller]
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        let ended = self.end();
        ended.unwrap_or_else(|| panic!("the server did not end within {STOP_LIMIT:?} of SIGTERM"))
    }

    /// Asks the server to end; `None` when it does not within the limit.
    fn end(&mut self) -> Option<ExitStatus> {
        // A child that was waited for already must not be signalled: its pid may be another's.
        if self.child.try_wait().unwrap().is_none() {
            let pid = i32::try_from(self.child.id()).expect("pids fit");
            send_signal(pid, Signal::SIGTERM);
        }
        within(STOP_LIMIT, || self.child.try_wait().unwrap())
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> ExitStatus {
        eventually("the server ends by itself", STOP_LIMIT, || {
            self.child.try_wait().unwrap()
        })
    }

    /// Lets it kill itself at this point.
    pub(crate) fn arm_kill(&self, failpoint: &str) {
        self.setup.arm_kill(failpoint);
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub(crate) fn wait_for_death(&mut self) {
        eventually("the server ended", SOON, || self.child.try_wait().unwrap());
    }

    /// Kills the server as a crash would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sets a flag for the next start.
    pub(crate) fn set_flag(&mut self, name: &'static str, value: &str) {
        self.setup.set_flag(name, value);
    }

    /// Starts it again on the same directories, after [`Server::terminate`] or [`Server::kill`].
    pub(crate) fn start_again(&mut self) {
        self.assert_sane_history();
        (self.child, self.address) = self.setup.spawn();
        self.history = History::follow(self.socket());
    }

    /// Fails if the server told anything that must never be.
    #[track_caller]
    fn assert_sane_history(&self) {
        let faults = self.history.faults();
        assert!(faults.is_empty(), "{faults:#?}");
    }
}

impl Drop for Server {
    #[expect(
        clippy::print_stderr,
        reason = "the harness shows it with the failed test it belongs to"
    )]
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        if failed {
            eprintln!("what the server logged:\n{}", self.log());
        }
        let ended = self.end().is_some();
        if !ended {
            self.kill();
        }
        let left = processes_of(self.directory());
        for pid in &left {
            send_signal(*pid, Signal::SIGKILL);
        }
        remove_shared_memory(self.directory());
        // A second panic would abort all tests.
        assert!(
            failed || ended,
            "the server did not end within {STOP_LIMIT:?} of SIGTERM"
        );
        assert!(
            failed || left.is_empty(),
            "processes of the server remain: {left:?}"
        );
        if !failed {
            self.assert_sane_history();
        }
    }
}
