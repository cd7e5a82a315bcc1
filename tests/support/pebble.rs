//! A real CA: Let's Encrypt's `pebble`, with `pebble-challtestsrv` as the name server that it asks.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::wait::{SOON, eventually};

/// A running pebble; every name leads to 127.0.0.1 for it.
pub(crate) struct Pebble {
    home: TempDir,
    port: u16,
    names: u16,
    servers: Vec<Child>,
    config: Value,
    dns: u16,
}

impl Pebble {
    /// One that looks at this port for http-01 and at that for tls-alpn-01, with `more` in its configuration.
    pub(crate) fn start(http_port: u16, tls_port: u16, more: Value) -> Self {
        let home = tempfile::tempdir().unwrap();
        let (port, names, dns) = (spare_port(), spare_port(), spare_port());
        certify(&home);
        let file = |name: &str| home.path().join(name).display().to_string();
        let mut config = json!({
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": "",
            "certificate": file("cert.pem"),
            "privateKey": file("key.pem"),
            "httpPort": http_port,
            "tlsPort": tls_port,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
        });
        for (key, value) in more.as_object().unwrap() {
            config[key] = value.clone();
        }
        let config = json!({ "pebble": config });
        let resolver = spawn(
            Command::new("pebble-challtestsrv")
                .stdout(Stdio::null())
                .args(["-http01", "", "-https01", "", "-tlsalpn01", ""])
                .args(["-defaultIPv6", "", "-defaultIPv4", "127.0.0.1"])
                .args(["-dns01", &format!("127.0.0.1:{dns}")])
                .args(["-management", &format!("127.0.0.1:{names}")]),
        );
        let mut pebble = Self {
            home,
            port,
            names,
            servers: vec![resolver],
            config,
            dns,
        };
        pebble.servers.push(pebble.spawn_ca());
        pebble.wait();
        pebble
    }

    fn wait(&self) {
        for port in [self.port, self.names] {
            eventually("pebble listens", SOON, || {
                is_listened_on(port).then_some(())
            });
        }
    }

    /// It forgets all that it has made: accounts, orders, its own root.
    pub(crate) fn restart(&mut self) {
        let mut former = self.servers.pop().unwrap();
        former.kill().unwrap();
        former.wait().unwrap();
        let fresh = self.spawn_ca();
        self.servers.push(fresh);
        self.wait();
    }

    fn spawn_ca(&self) -> Child {
        let path = self.home.path().join("config.json");
        std::fs::write(&path, self.config.to_string()).unwrap();
        spawn(
            Command::new("pebble")
                .arg("-config")
                .arg(path)
                .args(["-dnsserver", &format!("127.0.0.1:{}", self.dns)])
                .env("PEBBLE_VA_NOSLEEP", "1")
                .stdout(std::fs::File::create(self.log_file()).unwrap()),
        )
    }

    pub(crate) fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.port)
    }

    /// The root of its own server's certificate.
    pub(crate) fn root(&self) -> PathBuf {
        self.home.path().join("root.pem")
    }

    /// Where `pebble-challtestsrv` is told records.
    pub(crate) fn name_server(&self) -> u16 {
        self.names
    }

    /// How many orders it has made.
    pub(crate) fn orders(&self) -> usize {
        self.logged("Added order")
    }

    /// How many accounts it has opened: each is told with a number.
    pub(crate) fn accounts(&self) -> usize {
        self.logged("accounts in memory")
    }

    fn logged(&self, part: &str) -> usize {
        let log = std::fs::read_to_string(self.log_file()).unwrap();
        log.lines().filter(|line| line.contains(part)).count()
    }

    fn log_file(&self) -> PathBuf {
        self.home.path().join("log")
    }
}

impl Drop for Pebble {
    #[expect(
        clippy::print_stderr,
        reason = "the harness shows it with the failed test it belongs to"
    )]
    fn drop(&mut self) {
        for server in &mut self.servers {
            let _ended = server.kill();
            let _reaped = server.wait();
        }
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.log_file());
            eprintln!("what pebble logged:\n{}", log.unwrap_or_default());
        }
    }
}

fn spawn(command: &mut Command) -> Child {
    command.stdin(Stdio::null()).stderr(Stdio::null());
    let name = command.get_program().to_owned();
    let child = command.spawn();
    child.unwrap_or_else(|error| panic!("{name:?} (apt-get install pebble): {error}"))
}

/// Writes `root.pem`, and `cert.pem` and `key.pem` that it has signed for localhost.
fn certify(home: &TempDir) {
    let mut root = CertificateParams::new([]).unwrap();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root_key = KeyPair::generate().unwrap();
    let pem = root.self_signed(&root_key).unwrap().pem();
    let issuer = Issuer::new(root, root_key);
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &issuer).unwrap().pem();
    let write = |name: &str, text: &str| std::fs::write(home.path().join(name), text).unwrap();
    write("root.pem", &pem);
    write("cert.pem", &leaf);
    write("key.pem", &key.serialize_pem());
}

/// Whether somebody listens on a port. Who connects to a port that the kernel gives to clients may meet itself there.
pub(crate) fn is_listened_on(port: u16) -> bool {
    let stream = std::net::TcpStream::connect(("127.0.0.1", port));
    stream.is_ok_and(|stream| stream.local_addr().ok() != stream.peer_addr().ok())
}

/// A port that was free a moment ago.
pub(crate) fn spare_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
