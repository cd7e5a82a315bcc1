//! An application on a swarm, and what tests ask of it.

use std::time::Duration;

use serde_json::{Value, json};

use super::engines::Engines;
use super::kept_base;
use crate::support::fixture::{document, web_files, with};
use crate::support::repo::Repo;
use crate::support::server::Server;
use crate::support::setup::Setup;
use crate::support::wait::eventually;

/// mmdebstrap fetches packages, and the machines of the swarm share the cores of this one.
pub(super) const LONG: Duration = Duration::from_secs(600);

const WORKER: &str = "while :; do echo tick; sleep 1; done";

/// A server with these engines for a swarm, at an address that they reach.
pub(super) fn server(engines: &Engines) -> Server {
    server_with(engines, Setup::new())
}

/// One that is set up so.
pub(super) fn server_with(engines: &Engines, setup: Setup) -> Server {
    kept_base::give(setup.directory());
    let listen = format!("{}:{}", engines.host(), setup.spare_port());
    let socket = engines.socket(1).display().to_string();
    setup
        .flag("--listen", &listen)
        .flag("--swarm-socket", &socket)
        .start()
}

pub(super) fn repo(version: &str) -> Repo {
    let procfile = format!("web: exec python3 web.py\nworker: {WORKER}\n");
    let repo = Repo::new(&web_files(version));
    repo.commit(&[("Procfile", &procfile)]);
    repo
}

/// The application, which listens on all addresses of its container.
pub(super) fn app(repo: &Repo) -> Value {
    let on_swarm = json!({
        "engine": "swarm",
        "scale": { "web": 2 },
        "env": { "LISTEN": "0.0.0.0" },
        "health_check": { "path": "/", "interval": "200ms", "boot_timeout": "5m" },
        "stop": { "timeout": "5s" },
    });
    with(document("echo", repo), on_swarm)
}

/// Sends what changes an application, and waits until it is done.
#[track_caller]
pub(super) fn done(server: &Server, method: &str, target: &str, document: Option<&Value>) {
    let mut request = server
        .request(method, target)
        .header("Prefer", "wait=600")
        .deadline(LONG);
    if let Some(document) = document {
        request = request
            .header("Content-Type", "application/json")
            .body(document.to_string());
    }
    let answer = request.send(&server.public());
    assert!(
        matches!(answer.status, 200 | 201),
        "{method} {target}: {} {}\n{}",
        answer.status,
        answer.text(),
        server.log()
    );
}

/// Waits until the processes of a type are these, all of them ready.
#[track_caller]
pub(super) fn ready(server: &Server, wanted: &[&str]) {
    eventually(&format!("{wanted:?} are ready, and no other"), LONG, || {
        let status = server.status("echo");
        let processes = status["processes"].as_array()?;
        let of_web = processes.iter().filter(|p| p["type"] == "web");
        let ids: Vec<_> = of_web
            .filter(|p| p["state"] == "ready")
            .map(|p| p["id"].as_str().unwrap_or_default())
            .collect();
        let others = processes.iter().filter(|p| p["type"] == "web").count();
        (ids == wanted && others == wanted.len()).then_some(())
    });
}

pub(super) fn version(server: &Server) -> String {
    let answer = server.visit("/echo/").expect(200).json();
    answer["version"].as_str().expect("a version").to_owned()
}
