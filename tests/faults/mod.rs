//! Faults that are made to happen for real, to the real server: what it must do is in the name of each test.

mod accepted;
mod actors;
mod borders;
pub(crate) mod clock;
mod configuration;
mod containers;
mod crowd;
mod daemon;
mod events;
mod frozen_disk;
mod hostile;
mod leftovers;
mod neighbours;
mod output;
mod processes;
mod shortage;
mod signals;
mod strays;

use serde_json::json;

use crate::support::fixture::{document, web_repo, with};
use crate::support::http::{Peer, Request};
use crate::support::repo::Repo;
use crate::support::server::Server;

/// Deploys the test application with further Procfile lines. The repository must outlive what is deployed anew.
#[track_caller]
fn deploy(server: &Server, name: &str, more: &str) -> Repo {
    let repo = web_repo("1");
    repo.commit(&[("Procfile", &format!("web: exec python3 web.py\n{more}"))]);
    let brief = json!({ "stop": { "timeout": "1s" } });
    server.deploy(&with(document(name, &repo), brief));
    repo
}

/// Where a process of the test application listens.
#[track_caller]
fn port_of(server: &Server, app: &str, id: &str) -> Peer {
    let port = server.process(app, id)["port"].as_u64();
    let port = u16::try_from(port.expect("it has a port")).unwrap();
    Peer::Tcp(([127, 0, 0, 1], port).into())
}

/// Makes `web.1` print a line without blanks.
#[track_caller]
fn print(server: &Server, app: &str, text: &str) {
    let at = port_of(server, app, "web.1");
    Request::get(&format!("/print?text={text}"))
        .send(&at)
        .expect(200);
}

/// The lines of a log, as they were printed; none while the log is being restarted.
fn lines(server: &Server, app: &str, query: &str) -> Vec<String> {
    let log = server.get(&format!("/applications/{app}/logs/{query}"));
    if log.status != 200 {
        return Vec::new();
    }
    log.text()
        .lines()
        .filter_map(|line| Some(line.split_once(" | ")?.1.to_owned()))
        .collect()
}
