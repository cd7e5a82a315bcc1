//! How a server is started: its directories, ports and flags.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;

use tempfile::TempDir;

use super::command::{BINARY, launched_from};
use super::machine::is_root;
use super::own_users::OwnUsers;
use super::server::Server;
use super::service_manager::ServiceManager;
use super::wait::SOON;

/// Ports for the apps of one server. All slices lie below the kernel's ephemeral ports (32768 and up), so that no
/// outgoing connection of another test can hold one.
const SLICE: u16 = 20;
const FIRST_PORT: u16 = 20_000;
const SLICES: u32 = 600;

/// A server that is not started yet.
pub(crate) struct Setup {
    directory: TempDir,
    flags: Vec<(&'static str, String)>,
    slice: Slice,
    launcher: Vec<String>,
    environment: Vec<(&'static str, String)>,
    own_users: Option<OwnUsers>,
    service_manager: Option<ServiceManager>,
    program: PathBuf,
}

/// Whom every app of a test runs as, where the tests are root.
fn shared_user() -> &'static str {
    let exists = |name| matches!(nix::unistd::User::from_name(name), Ok(Some(_)));
    match exists("www-data") {
        true => "www-data",
        false => "nobody",
    }
}

/// A new temporary directory that other users can look into, as `/var/lib` is.
pub(crate) fn world_readable_directory() -> TempDir {
    world_readable_below(&std::env::temp_dir())
}

fn world_readable_below(parent: &Path) -> TempDir {
    let directory = tempfile::Builder::new()
        .prefix("procserver-test-")
        .tempdir_in(parent)
        .unwrap();
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    directory
}

/// Ports that no other server of a test has, in this run and others on this machine: one that tries a port keeps it for a
/// moment from who is about to listen on it.
struct Slice {
    first_port: u16,
    /// An abstract name (unix(7)), which the kernel frees however this ends.
    _claim: UnixListener,
}

impl Slice {
    fn claim() -> Self {
        static TURN: AtomicU32 = AtomicU32::new(0);
        let tried = (0..SLICES).find_map(|_| {
            let turn = std::process::id()
                .wrapping_mul(37)
                .wrapping_add(TURN.fetch_add(1, Ordering::Relaxed));
            let slice = turn % SLICES;
            let name = format!("procserver-test-ports-{slice}");
            let claim = UnixAddress::from_abstract_name(name).unwrap();
            Some(Self {
                first_port: FIRST_PORT + u16::try_from(slice).expect("few") * SLICE,
                _claim: UnixListener::bind_addr(&claim).ok()?,
            })
        });
        tried.expect("a slice of ports that nobody has")
    }
}

impl Setup {
    pub(crate) fn new() -> Self {
        Self::below(&std::env::temp_dir())
    }

    /// With its directory below another one than that for temporary files, which is open to all.
    pub(crate) fn below(parent: &Path) -> Self {
        Self {
            directory: world_readable_below(parent),
            flags: Vec::new(),
            slice: Slice::claim(),
            launcher: Vec::new(),
            environment: Vec::new(),
            own_users: None,
            service_manager: None,
            program: BINARY.into(),
        }
        .flag("--listen", "127.0.0.1:0")
        .flag("--allow-file-repos", "true")
        // No test leaves a user on the machine, and to make one takes long: tests of users say so.
        .flag("--default-user", shared_user())
    }

    /// Each app gets a user of its own, as is the default of root's server.
    pub(crate) fn with_own_users(mut self) -> Self {
        self.flags.retain(|(name, _)| *name != "--default-user");
        self.own_users = Some(OwnUsers::of(self.directory()));
        self
    }

    /// Starts it as a service of systemd, which keeps its sockets.
    pub(crate) fn for_systemd(mut self) -> Self {
        self.service_manager = Some(ServiceManager::start(self.directory()));
        self
    }

    /// Runs a copy of the program, which a test may replace.
    pub(crate) fn with_own_program(mut self) -> Self {
        self.program = self.directory().join("procserver");
        install(Path::new(BINARY), &self.program);
        self
    }

    /// What it is a service of.
    pub(crate) fn service_manager(&self) -> &ServiceManager {
        self.service_manager.as_ref().expect("it is a service")
    }

    /// Sets a flag; the last value of one wins.
    pub(crate) fn flag(mut self, name: &'static str, value: &str) -> Self {
        self.set_flag(name, value);
        self
    }

    pub(crate) fn set_flag(&mut self, name: &'static str, value: &str) {
        self.flags.retain(|(n, _)| *n != name);
        self.flags.push((name, value.to_owned()));
    }

    /// Writes this settings file, which says where it listens.
    pub(crate) fn with_settings(mut self, text: &str) -> Self {
        let path = self.directory().join("procserver.toml");
        std::fs::write(&path, text).unwrap();
        self.flags.retain(|(name, _)| *name != "--listen");
        self.flag("--config", &path.display().to_string())
    }

    /// Starts it by these words, which are to become what follows them (`setpriv`, `unshare`).
    pub(crate) fn launched_by(mut self, words: &[&str]) -> Self {
        self.launcher = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Sets an environment variable of the server.
    pub(crate) fn variable(mut self, name: &'static str, value: &str) -> Self {
        self.environment.push((name, value.to_owned()));
        self
    }

    /// Runs it as the user `nobody`, to whom its directory is given. Only root can.
    pub(crate) fn by_nobody(self) -> Self {
        let nobody = nix::unistd::User::from_name("nobody")
            .unwrap()
            .expect("it is on every machine");
        let owner = (Some(nobody.uid.as_raw()), Some(nobody.gid.as_raw()));
        std::os::unix::fs::chown(self.directory(), owner.0, owner.1).unwrap();
        let home = self.directory().display().to_string();
        self.variable("HOME", &home).launched_by(&[
            "setpriv",
            &format!("--reuid={}", nobody.uid),
            &format!("--regid={}", nobody.gid),
            "--clear-groups",
            "--inh-caps=-all",
        ])
    }

    /// Runs it as whoever runs the tests, but never as root.
    pub(crate) fn not_by_root(self) -> Self {
        if is_root() { self.by_nobody() } else { self }
    }

    /// Runs it in a mount namespace of its own in which `script` has changed the mounts first. Only root can.
    pub(crate) fn with_mounts(self, script: &str) -> Self {
        let script = format!("set -e; {script}; exec \"$@\"");
        self.launched_by(&[
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            &script,
            "sh",
        ])
    }

    /// Runs it where there is no cgroup2. Only root can.
    pub(crate) fn without_cgroups(self) -> Self {
        self.with_mounts("while read -r _ at kind _; do [ $kind != cgroup2 ] || umount -l $at; done </proc/mounts")
    }

    /// Runs it in a session of its own, as service managers do.
    pub(crate) fn in_session(mut self) -> Self {
        self.launcher.insert(0, "setsid".to_owned());
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
        Server::new(self, child, address)
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn config_directory(&self) -> PathBuf {
        self.directory().join("config")
    }

    /// A port outside the range of the processes.
    pub(crate) fn spare_port(&self) -> u16 {
        self.slice.first_port + SLICE - 1
    }

    /// Where a test puts the failpoints that are to fail.
    pub(crate) fn failpoints(&self) -> PathBuf {
        self.directory().join("failpoints")
    }

    /// Lets the next actor of this kind panic when it is woken.
    pub(crate) fn arm(&self, actor: &str) {
        std::fs::create_dir_all(self.failpoints()).unwrap();
        std::fs::write(self.failpoints().join(actor), "").unwrap();
    }

    /// Lets the server kill itself at this point.
    pub(crate) fn arm_kill(&self, failpoint: &str) {
        std::fs::create_dir_all(self.failpoints()).unwrap();
        std::fs::write(self.failpoints().join(failpoint), "kill").unwrap();
    }

    fn log_file(&self) -> PathBuf {
        self.directory().join("daemon.log")
    }

    /// What the daemon has logged so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Starts the daemon and waits until it listens.
    pub(crate) fn spawn(&self) -> (Child, SocketAddr) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.log_file())
            .unwrap();
        // The last port of the slice is for an app's own listener.
        let first = self.slice.first_port;
        let ports = format!("{first}-{}", first + SLICE - 2);
        let mut server = launched_from(&self.program, &self.launcher);
        server
            .arg("serve")
            .arg("--data-dir")
            .arg(self.directory())
            .args(["--ports", &ports])
            .args(
                self.flags
                    .iter()
                    .flat_map(|(name, value)| [*name, value.as_str()]),
            )
            .env("DAEMON_SECRET", "not for apps")
            .envs(self.environment.iter().map(|(name, value)| (*name, value)))
            .env("PROCSERVER_FAILPOINTS", self.failpoints())
            .stdout(Stdio::piped())
            .stderr(log);
        if let Some(service_manager) = &self.service_manager {
            service_manager.starts(&mut server);
        }
        let mut child = server.spawn().unwrap();
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

/// Puts another file in the place of a program, as dpkg(1) does: the former one is unlinked and not written to.
pub(crate) fn install(from: &Path, at: &Path) {
    let new = at.with_extension("new");
    // By another process: a child that a test beside this one forks meanwhile would inherit the descriptor of a copy that
    // is being written, and a program that is open for writing cannot be executed (ETXTBSY).
    let copied = Command::new("install")
        .args(["-m", "755"])
        .args([from, &new])
        .status();
    assert!(copied.unwrap().success(), "{}", new.display());
    std::fs::rename(&new, at).unwrap();
}

/// Writes a script that can be executed at once; by another process, as [`install`] does and for its reason.
pub(crate) fn write_script(at: &Path, script: &str) {
    let mut install = Command::new("install")
        .args(["-m", "755", "/dev/stdin"])
        .arg(at)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = install.stdin.take().unwrap();
    stdin.write_all(script.as_bytes()).unwrap();
    drop(stdin);
    assert!(install.wait().unwrap().success(), "{}", at.display());
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
