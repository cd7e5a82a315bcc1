//! What one has without us: a service that `docker service update` changes, its images in Debian's docker-registry and
//! on both engines already, behind nginx.
//!
//! Its ports are published in host mode, as those of our services are: the routing mesh needs IPVS, which not every
//! kernel has. A port of a machine has one process, so the old one stops first, on one engine after the other, each
//! once the one before is healthy by the HEALTHCHECK of its image.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::engines::Engines;
use crate::free_address;
use crate::product::repository::must;
use crate::support::machine::{has, send_signal};
use crate::support::wait::eventually;
use crate::visits::Door;

const LONG: Duration = Duration::from_secs(120);

/// Where a process of the service is on its machine.
const PORT: u16 = 8080;

/// The images that are deployed in turn.
const VERSIONS: [&str; 2] = ["one", "two"];

/// The service, its registry and the proxy before it.
pub(crate) struct Peer {
    pub(crate) nginx: Child,
    doors: [Door; 2],
    images: [String; 2],
    registry: Child,
}

impl Peer {
    /// Starts it all. `None`, and a line that says so: something is not installed.
    pub(crate) fn start(home: &Path, engines: &Engines, program: &Path) -> Option<Self> {
        let needed = [
            ("docker-registry", "docker-registry"),
            ("nginx", "nginx-light"),
        ];
        if !needed
            .iter()
            .all(|(name, package)| has(name, package, "the bench of the swarm"))
        {
            return None;
        }
        let (registry, at) = registry(home, engines);
        let archive = archive(home, program);
        let images = VERSIONS.map(|version| {
            let image = format!("{at}/app:{version}");
            import(engines, &archive, &image, version);
            image
        });
        serve(engines, &images[0]);
        let (nginx, doors) = nginx(home, engines);
        let peer = Self {
            nginx,
            doors,
            images,
            registry,
        };
        eventually("nginx answers", LONG, || peer.version());
        Some(peer)
    }

    /// nginx as it is without settings of that: who fails once is left alone for ten seconds.
    pub(crate) fn door(&self) -> Door {
        self.doors[0]
    }

    /// The same where that is a second, for deploys.
    pub(crate) fn quick_door(&self) -> Door {
        self.doors[1]
    }

    /// Has the engines run the other image, until they say that it is done; `delay`: between the two.
    pub(crate) fn update(&self, engines: &Engines, delay: &str) {
        let told = "{{.Spec.TaskTemplate.ContainerSpec.Image}}";
        let current = engines.docker(1, &["service", "inspect", "app", "--format", told]);
        let is_other = |image: &&String| !current.starts_with(image.as_str());
        let other = self.images.iter().find(is_other).expect("there are two");
        let update = ["service", "update", "--quiet", "--update-delay", delay];
        engines.docker(1, &[&update[..], &["--image", other, "app"]].concat());
    }

    fn version(&self) -> Option<String> {
        let mut connection = crate::product::http::Connection::open(self.doors[0].address).ok()?;
        let (status, text) = connection.send("GET", "/", &[], "").ok()?;
        (status == 200).then_some(text)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // The master ends its worker when it is told to.
        let master = i32::try_from(self.nginx.id()).expect("pids fit");
        send_signal(master, nix::sys::signal::Signal::SIGTERM);
        let _gone = self.nginx.wait();
        let _gone = self.registry.kill();
        let _gone = self.registry.wait();
    }
}

fn registry(home: &Path, engines: &Engines) -> (Child, SocketAddr) {
    let address = free_address(engines);
    let storage = home.join("registry");
    let config = format!(
        "version: 0.1\nlog: {{ level: warn }}\nstorage: {{ filesystem: {{ rootdirectory: {} }} }}\nhttp: {{ addr: \"{address}\" }}\n",
        storage.display()
    );
    let file = home.join("registry.yml");
    std::fs::write(&file, config).expect("the temporary directory is ours");
    let log = || File::create(home.join("registry.log")).expect("a log");
    let child = Command::new("docker-registry")
        .arg("serve")
        .arg(file)
        .stdout(log())
        .stderr(log())
        .spawn()
        .expect("it is installed");
    eventually("the registry listens", LONG, || {
        std::net::TcpStream::connect(address).ok()
    });
    (child, address)
}

/// The program and its libraries, as a file system.
fn archive(home: &Path, program: &Path) -> String {
    let listed = Command::new("ldd").arg(program).output().expect("ldd");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let libraries = listed.split_whitespace().filter(|w| w.starts_with('/'));
    let archive = home.join("app.tar");
    must(
        Command::new("tar")
            .args(["--create", "--dereference", "--absolute-names", "--file"])
            .arg(&archive)
            .arg("--transform")
            .arg(format!("s,^{}$,/app,", program.display()))
            .arg(program)
            .args(libraries),
    );
    archive.display().to_string()
}

/// Makes an image, and has the registry and both engines have it.
fn import(engines: &Engines, archive: &str, image: &str, version: &str) {
    let changes = [
        "ENTRYPOINT [\"/app\", \"serve\"]".to_owned(),
        format!("ENV VERSION={version} PORT=8000"),
        "HEALTHCHECK --interval=200ms --start-period=1m CMD [\"/app\", \"check\"]".to_owned(),
    ];
    let mut words = vec!["import"];
    for change in &changes {
        words.extend(["--change", change]);
    }
    words.extend([archive, image]);
    engines.docker(1, &words);
    engines.docker(1, &["push", "--quiet", image]);
    engines.docker(1, &["pull", "--quiet", image]);
    engines.docker(2, &["pull", "--quiet", image]);
}

fn serve(engines: &Engines, image: &str) {
    let publish = format!("mode=host,published={PORT},target=8000");
    engines.docker(
        1,
        &[
            "service",
            "create",
            "--quiet",
            "--name",
            "app",
            "--replicas",
            "2",
            "--publish",
            &publish,
            "--stop-grace-period",
            "10s",
            image,
        ],
    );
}

/// nginx with both machines behind it, as its documentation advises.
fn nginx(home: &Path, engines: &Engines) -> (Child, [Door; 2]) {
    let [plain, quick] = [(); 2].map(|()| free_address(engines));
    let at = home.join("nginx");
    std::fs::create_dir(&at).expect("a new directory");
    let [one, two] = [1, 2].map(|engine| engines.address(engine));
    let at = at.display();
    let config = format!(
        "daemon off;
worker_processes 1;
user root;
pid {at}/pid;
error_log {at}/error.log;
events {{ worker_connections 8192; }}
http {{
    access_log {at}/access.log combined;
    keepalive_requests 1000000000;
    client_body_temp_path {at}/body;
    proxy_temp_path {at}/proxy;
    fastcgi_temp_path {at}/fastcgi;
    uwsgi_temp_path {at}/uwsgi;
    scgi_temp_path {at}/scgi;
    upstream app {{
        server {one}:{PORT};
        server {two}:{PORT};
        keepalive 1024;
        keepalive_requests 1000000000;
    }}
    upstream quick {{
        server {one}:{PORT} fail_timeout=1s;
        server {two}:{PORT} fail_timeout=1s;
        keepalive 1024;
        keepalive_requests 1000000000;
    }}
    proxy_connect_timeout 5s;
    proxy_http_version 1.1;
    proxy_set_header Connection \"\";
    proxy_set_header Host $http_host;
    proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header X-Request-ID $request_id;
    server {{
        listen {plain} backlog=1024;
        location / {{ proxy_pass http://app; }}
    }}
    server {{
        listen {quick} backlog=1024;
        location / {{ proxy_pass http://quick; }}
    }}
}}
"
    );
    let file = home.join("nginx/nginx.conf");
    std::fs::write(&file, config).expect("the temporary directory is ours");
    let child = Command::new("nginx")
        .arg("-p")
        .arg(home.join("nginx"))
        .arg("-c")
        .arg(&file)
        .arg("-e")
        .arg(home.join("nginx/error.log"))
        .stdin(Stdio::null())
        .spawn()
        .expect("it is installed");
    let door = |address| Door { address, path: "/" };
    (child, [door(plain), door(quick)])
}
