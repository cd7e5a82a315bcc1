//! Real git servers on loopback, each on a port of its own: `git daemon` and sshd. Every connection is a process of its own, as inetd would start it, so none is left behind.

use std::io::Read;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use tempfile::TempDir;

/// Accepts until it is dropped, one thread per connection.
pub(crate) struct Listening {
    pub(crate) address: SocketAddr,
    over: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl Listening {
    pub(crate) fn start(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let (flag, serve) = (over.clone(), Arc::new(serve));
        let acceptor = std::thread::spawn(move || {
            let mut connections = Vec::new();
            for stream in listener.incoming().map_while(Result::ok) {
                if flag.load(Ordering::Relaxed) {
                    break;
                }
                let serve = serve.clone();
                connections.push(std::thread::spawn(move || serve(stream)));
            }
            for connection in connections {
                // What a connection panics about shows in the test that made it.
                let _ = connection.join();
            }
        });
        Self {
            address,
            over,
            acceptor: Some(acceptor),
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(self.address));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

/// A git with nobody's configuration.
pub(super) fn git() -> Command {
    let mut command = Command::new("git");
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null");
    command
}

/// `git daemon` on everything below a directory.
pub(super) struct Daemon {
    listening: Listening,
    cut: Arc<AtomicU64>,
}

impl Daemon {
    pub(super) fn start(base: &Path) -> Self {
        let base = base.to_owned();
        let cut = Arc::new(AtomicU64::new(u64::MAX));
        let limit = cut.clone();
        let listening =
            Listening::start(move |stream| serve_git(&base, stream, limit.load(Ordering::Relaxed)));
        Self { listening, cut }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("git://{}/{path}", self.listening.address)
    }

    /// From now on connections are closed after so many bytes to the client.
    pub(super) fn cut_after(&self, bytes: u64) {
        self.cut.store(bytes, Ordering::Relaxed);
    }
}

fn serve_git(base: &Path, stream: TcpStream, limit: u64) {
    let mut daemon = git()
        .args([
            "daemon",
            "--inetd",
            "--export-all",
            "--log-destination=none",
        ])
        .arg(format!("--base-path={}", base.display()))
        .stdin(Stdio::from(OwnedFd::from(stream.try_clone().unwrap())))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut output = daemon.stdout.take().unwrap().take(limit);
    // The client may have gone.
    let _ = std::io::copy(&mut output, &mut &stream);
    let _ = stream.shutdown(Shutdown::Both);
    drop(output);
    daemon.wait().unwrap();
}

/// An sshd with keys of its own, for the user who runs the tests.
pub(super) struct Sshd {
    listening: Listening,
    home: TempDir,
}

const SSHD: &str = "/usr/sbin/sshd";

/// Whether this machine has what [`Sshd`] needs, and lets in who runs the tests; says if not.
pub(crate) fn has_sshd(test: &str) -> bool {
    static PROBLEM: OnceLock<Option<String>> = OnceLock::new();
    let problem = PROBLEM.get_or_init(|| {
        if !Path::new(SSHD).exists() || !Path::new("/usr/bin/ssh").exists() {
            return Some("there is no sshd here: apt-get install openssh-server".to_owned());
        }
        let sshd = Sshd::start();
        (!sshd.lets_in()).then(|| format!("sshd refuses the user of the tests: {}", sshd.log()))
    });
    if let Some(problem) = problem {
        crate::support::machine::skip(test, problem);
    }
    problem.is_none()
}

impl Sshd {
    pub(super) fn start() -> Self {
        if super::world::root() {
            // Where it puts unprivileged parts of itself; the package makes it at boot.
            std::fs::create_dir_all("/run/sshd").unwrap();
        }
        let home = tempfile::tempdir().unwrap();
        let configuration = home.path().join("sshd_config");
        let at = |name: &str| home.path().join(name).display().to_string();
        let text = format!(
            "HostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPermitRootLogin prohibit-password\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nPidFile none\nAcceptEnv GIT_PROTOCOL\n",
            at("host_key"),
            at("authorized_keys"),
        );
        std::fs::write(&configuration, text).unwrap();
        std::fs::write(home.path().join("authorized_keys"), "").unwrap();
        let log = home.path().join("log");
        let listening = Listening::start(move |stream| {
            let log = std::fs::File::options()
                .create(true)
                .append(true)
                .open(&log)
                .unwrap();
            let status = Command::new(SSHD)
                .args(["-i", "-e", "-f"])
                .arg(&configuration)
                .stdin(Stdio::from(OwnedFd::from(stream.try_clone().unwrap())))
                .stdout(Stdio::from(OwnedFd::from(stream)))
                .stderr(log)
                .status();
            status.unwrap();
        });
        let sshd = Self { listening, home };
        sshd.change_host_key();
        sshd
    }

    pub(super) fn port(&self) -> u16 {
        self.listening.address.port()
    }

    pub(super) fn url(&self, path: &Path) -> String {
        let user = nix::unistd::User::from_uid(nix::unistd::getuid())
            .unwrap()
            .unwrap();
        format!(
            "ssh://{}@127.0.0.1:{}{}",
            user.name,
            self.port(),
            path.display()
        )
    }

    pub(super) fn change_host_key(&self) {
        let path = self.home.path().join("host_key");
        let _ = std::fs::remove_file(&path);
        make_key(&path);
    }

    /// Whether a plain ssh gets in: an account may be locked, or have no shell.
    fn lets_in(&self) -> bool {
        let key = self.home.path().join("probe");
        make_key(&key);
        let public = std::fs::read_to_string(key.with_extension("pub")).unwrap();
        self.authorize(&[public.trim()]);
        let status = Command::new("ssh")
            .args([
                "-F",
                "none",
                "-o",
                "BatchMode=yes",
                "-o",
                "StrictHostKeyChecking=no",
            ])
            .args([
                "-o",
                "UserKnownHostsFile=/dev/null",
                "-o",
                "IdentitiesOnly=yes",
                "-i",
            ])
            .arg(&key)
            .args([&self.url(Path::new("")), "true"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success())
    }

    /// Lets in who has the private half of these keys.
    pub(super) fn authorize(&self, keys: &[&str]) {
        let text = keys.join("\n") + "\n";
        std::fs::write(self.home.path().join("authorized_keys"), text).unwrap();
    }

    /// What sshd said, for a test that fails.
    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }
}

/// Makes an ssh key pair.
pub(crate) fn make_key(path: &Path) {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(path)
        .status();
    assert!(made.unwrap().success());
}
