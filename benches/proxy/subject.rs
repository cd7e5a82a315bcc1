//! The proxies that are compared, each as a process of its own on its own core.

use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::cores;

/// How long one may take to start.
const START: Duration = Duration::from_secs(20);

/// Which proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Ours, with one app.
    Front,
    /// Ours, with 1,000 apps.
    ManyApps,
    Nginx,
    Haproxy,
    Relay,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] = [
        Self::Front,
        Self::ManyApps,
        Self::Nginx,
        Self::Haproxy,
        Self::Relay,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Front | Self::ManyApps => "procserver",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Relay => "relay",
        }
    }
}

/// A running proxy; it is killed when dropped.
pub(crate) struct Subject {
    pub(crate) kind: Kind,
    pub(crate) address: SocketAddr,
    child: Child,
}

impl Subject {
    /// Starts it; `None`, and a line that says so, if it is not installed or does not come up.
    pub(crate) fn start(
        kind: Kind,
        origin: SocketAddr,
        directory: &Path,
        access_log: bool,
    ) -> Option<Self> {
        let address = free_address();
        let log_directory = if access_log {
            directory.join(address.port().to_string())
        } else {
            "".into()
        };
        let log_directory = log_directory.to_string_lossy();
        let mut command = match kind {
            Kind::Front => ours(&["serve-front", "1", &log_directory], address, origin),
            Kind::ManyApps => ours(&["serve-front", "1000", &log_directory], address, origin),
            Kind::Relay => ours(&["serve-relay"], address, origin),
            Kind::Nginx => nginx(directory, address, origin, access_log),
            Kind::Haproxy => haproxy(directory, address, origin, access_log),
        };
        command.stdin(Stdio::null());
        // A child has the core of the thread that starts it.
        cores::pin(cores::PROXY);
        let started = command.spawn();
        cores::pin(cores::LOAD);
        let child = match started {
            Ok(child) => child,
            Err(error) => {
                println!(
                    "{} is missing ({error}): its columns stay empty",
                    kind.name()
                );
                return None;
            }
        };
        let mut subject = Self {
            kind,
            address,
            child,
        };
        subject.comes_up().then_some(subject)
    }

    fn comes_up(&mut self) -> bool {
        let until = Instant::now() + START;
        while Instant::now() < until {
            if TcpStream::connect(self.address).is_ok() {
                return true;
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                println!("{} did not start: {status}", self.kind.name());
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        println!("{} did not listen within {START:?}", self.kind.name());
        false
    }

    /// It and its children.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let pid = self.child.id();
        let children = format!("/proc/{pid}/task/{pid}/children");
        let children = std::fs::read_to_string(children).unwrap_or_default();
        let children = children.split_whitespace().filter_map(|c| c.parse().ok());
        std::iter::once(pid).chain(children).collect()
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        // nginx's master takes its worker along on SIGTERM, and would leave it on SIGKILL.
        let pid = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        let _gone = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let until = Instant::now() + Duration::from_secs(2);
        while Instant::now() < until && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address")
}

/// This program in another part: its first word, the addresses, then the others.
fn ours(words: &[&str], address: SocketAddr, origin: SocketAddr) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("our own path"));
    command.arg(words[0]);
    command.args([address.to_string(), origin.to_string()]);
    command.args(&words[1..]);
    command
}

/// As its documentation advises for a proxy with kept connections; bodies are streamed as we do it.
fn nginx(directory: &Path, address: SocketAddr, origin: SocketAddr, access_log: bool) -> Command {
    let at = directory.display();
    let log = if access_log {
        format!("{at}/nginx-access.log combined")
    } else {
        "off".into()
    };
    let port = address.port();
    let config = format!(
        "daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
user root;
pid {at}/nginx-{port}.pid;
error_log {at}/nginx-error.log;
events {{ worker_connections 8192; }}
http {{
    access_log {log};
    keepalive_requests 1000000000;
    client_max_body_size 0;
    client_body_temp_path {at}/nginx-body;
    proxy_temp_path {at}/nginx-proxy;
    fastcgi_temp_path {at}/nginx-fastcgi;
    uwsgi_temp_path {at}/nginx-uwsgi;
    scgi_temp_path {at}/nginx-scgi;
    upstream origin {{ server {origin}; keepalive 1024; keepalive_requests 1000000000; }}
    server {{
        listen {address} backlog=1024;
        location / {{
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_request_buffering off;
            proxy_set_header Connection \"\";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Request-ID $request_id;
        }}
    }}
}}
"
    );
    let path = directory.join(format!("nginx-{port}.conf"));
    std::fs::write(&path, config).expect("the temporary directory is ours");
    let mut command = Command::new("nginx");
    command.arg("-p").arg(directory).arg("-c").arg(path);
    command.arg("-e").arg(directory.join("nginx-error.log"));
    command
}

fn haproxy(directory: &Path, address: SocketAddr, origin: SocketAddr, access_log: bool) -> Command {
    let log = if access_log {
        "log global\n    option httplog"
    } else {
        ""
    };
    let config = format!(
        "global
    maxconn 8192
    nbthread 1
    log stdout format raw local0
defaults
    mode http
    {log}
    option forwardfor
    http-reuse always
    timeout connect 5s
    timeout client 75s
    timeout server 75s
frontend in
    bind {address} backlog 1024
    unique-id-format %[uuid]
    unique-id-header X-Request-ID
    http-request set-header X-Forwarded-Proto http
    default_backend out
backend out
    server origin {origin}
"
    );
    let path = directory.join(format!("haproxy-{}.cfg", address.port()));
    std::fs::write(&path, config).expect("the temporary directory is ours");
    let log = File::create(directory.join("haproxy-access.log"));
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(path);
    command.stdout(log.expect("the temporary directory is ours"));
    command
}
