//! The proxies that are compared, each as a process of its own on its own core.

use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::certificates;
use crate::cores;
use crate::origin::{Origin, Style};
use crate::product::server::Server;
use crate::rows::Row;

/// How long one may take to start.
const START: Duration = Duration::from_secs(20);

/// Which proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Ours, with the origins only.
    Ours,
    /// Ours, with 1,000 apps.
    ManyApps,
    /// Ours, with 1,000 certificates.
    ManyCertificates,
    Nginx,
    Haproxy,
    Relay,
}

impl Kind {
    pub(crate) const ALL: [Self; 6] = [
        Self::Ours,
        Self::ManyApps,
        Self::ManyCertificates,
        Self::Nginx,
        Self::Haproxy,
        Self::Relay,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours | Self::ManyApps | Self::ManyCertificates => "procserver",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Relay => "relay",
        }
    }
}

/// A running proxy; it ends when dropped.
pub(crate) struct Subject {
    pub(crate) kind: Kind,
    pub(crate) address: SocketAddr,
    /// The same by HTTPS, where it speaks that.
    pub(crate) tls_address: SocketAddr,
    pub(crate) directory: PathBuf,
    process: Process,
}

/// Ours stops by itself, with its apps.
enum Process {
    Ours(Server),
    Peer(Child),
}

/// What every subject has in common.
#[derive(Clone, Copy)]
pub(crate) struct Setup<'a> {
    pub(crate) style: Style,
    pub(crate) origin: &'a Origin,
    pub(crate) directory: &'a Path,
    pub(crate) access_log: bool,
    /// Applications of the row that has many.
    pub(crate) apps: usize,
}

impl Subject {
    /// Starts it; `None`, and a line that says so, if it is not installed or does not come up.
    pub(crate) fn start(kind: Kind, setup: &Setup) -> Option<Self> {
        let directory = tempfile::tempdir_in(setup.directory).expect("a temporary directory");
        // The whole goes with the directory around it.
        let directory = directory.keep();
        crate::product::server::open_to_all(&directory);
        let tls_address = free_address();
        certify(&directory);
        // A child has the core of the thread that starts it.
        cores::pin(cores::PROXY);
        let started = match kind {
            Kind::Ours | Kind::ManyApps | Kind::ManyCertificates => {
                let sites = if kind == Kind::ManyApps {
                    setup.apps
                } else {
                    0
                };
                let certificates = match kind {
                    Kind::ManyCertificates => certificates::write(&directory, certificates::MANY),
                    _ => certificates::write(&directory, 0),
                };
                let home = directory.join("procserver");
                let server = crate::ours::start(&home, setup, (tls_address, &certificates), sites);
                Some((server.address, Process::Ours(server)))
            }
            Kind::Nginx | Kind::Haproxy | Kind::Relay => peer(kind, setup, &directory, tls_address),
        };
        cores::pin(cores::LOAD);
        let (address, process) = started?;
        Some(Self {
            kind,
            address,
            tls_address,
            directory,
            process,
        })
    }

    /// Where a row is asked for.
    pub(crate) fn address_of(&self, row: &Row) -> SocketAddr {
        match row.tls {
            true => self.tls_address,
            false => self.address,
        }
    }

    /// The proxy's own: of ours the daemon, of a peer its children, too.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let pid = match &self.process {
            Process::Ours(server) => return vec![server.child.id()],
            Process::Peer(child) => child.id(),
        };
        let children = format!("/proc/{pid}/task/{pid}/children");
        let children = std::fs::read_to_string(children).unwrap_or_default();
        let children = children.split_whitespace().filter_map(|c| c.parse().ok());
        std::iter::once(pid).chain(children).collect()
    }
}

/// Writes a certificate and its key to `cert.pem` and `key.pem`, and both to `both.pem`.
fn certify(directory: &Path) {
    let made = rcgen::generate_simple_self_signed(["tcp.example.org".to_owned()]);
    let made = made.expect("a certificate");
    let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    for (name, text) in [
        ("cert", &cert),
        ("key", &key),
        ("both", &format!("{cert}{key}")),
    ] {
        let path = directory.join(format!("{name}.pem"));
        std::fs::write(path, text).expect("the temporary directory is ours");
    }
}

fn peer(
    kind: Kind,
    setup: &Setup,
    directory: &Path,
    tls: SocketAddr,
) -> Option<(SocketAddr, Process)> {
    let address = free_address();
    let origin = setup.origin.address;
    let mut command = match kind {
        Kind::Nginx => nginx(directory, [address, tls], origin, setup.access_log),
        Kind::Haproxy => haproxy(directory, [address, tls], origin, setup.access_log),
        _ => relay(address, origin),
    };
    let mut child = match command.stdin(Stdio::null()).spawn() {
        Ok(child) => child,
        Err(error) => {
            let name = kind.name();
            println!("{name} is missing ({error}): its columns stay empty");
            return None;
        }
    };
    if listens(address) {
        return Some((address, Process::Peer(child)));
    }
    let status = child.try_wait();
    println!("{} does not listen: {status:?}", kind.name());
    end(&mut child);
    None
}

/// Waits until somebody listens at `address`; whether it came to that.
pub(crate) fn listens(address: SocketAddr) -> bool {
    let until = Instant::now() + START;
    while Instant::now() < until {
        if TcpStream::connect(address).is_ok() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

impl Drop for Subject {
    fn drop(&mut self) {
        if let Process::Peer(child) = &mut self.process {
            end(child);
        }
    }
}

fn end(child: &mut Child) {
    // nginx's master takes its worker along on SIGTERM, and would leave it on SIGKILL.
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    let _gone = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until && matches!(child.try_wait(), Ok(None)) {
        std::thread::sleep(Duration::from_millis(10));
    }
    let _gone = child.kill();
    let _reaped = child.wait();
}

pub(crate) fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address")
}

/// This program in another part.
fn relay(address: SocketAddr, origin: SocketAddr) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("our own path"));
    command.args([
        "serve-relay".to_owned(),
        address.to_string(),
        origin.to_string(),
    ]);
    command
}

/// As its documentation advises for a proxy with kept connections; uploads are streamed but for one host.
fn nginx(
    directory: &Path,
    [address, tls]: [SocketAddr; 2],
    origin: SocketAddr,
    access_log: bool,
) -> Command {
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
    proxy_http_version 1.1;
    proxy_set_header Connection \"\";
    proxy_set_header Host $http_host;
    proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header X-Request-ID $request_id;
    server {{
        listen {address} backlog=1024;
        listen {tls} ssl http2 backlog=1024;
        ssl_certificate {at}/cert.pem;
        ssl_certificate_key {at}/key.pem;
        proxy_request_buffering off;
        location / {{ proxy_pass http://origin; }}
    }}
    server {{
        listen {address};
        server_name buffered.example.org;
        client_body_buffer_size 1m;
        location / {{ proxy_pass http://origin; }}
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

fn haproxy(
    directory: &Path,
    [address, tls]: [SocketAddr; 2],
    origin: SocketAddr,
    access_log: bool,
) -> Command {
    let at = directory.display();
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
    bind {tls} backlog 1024 ssl crt {at}/both.pem alpn h2,http/1.1
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
