//! What a deploy needs beside the swarm is missing: a registry, room on a disk.

use serde_json::{Value, json};

use super::echo::{LONG, app, done, ready, repo, version};
use super::engines::Engines;
use super::images::OwnRegistry;
use super::kept_base;
use crate::support::fixture::with;
use crate::support::http::Response;
use crate::support::machine::has;
use crate::support::repo::Repo;
use crate::support::server::Server;
use crate::support::setup::Setup;

fn redeploy(server: &Server) -> Response {
    server
        .request("POST", "/applications/echo/redeploy")
        .header("Prefer", "wait=600")
        .deadline(LONG)
        .send(&server.public())
}

fn one(repo: &Repo) -> Value {
    with(app(repo), json!({ "scale": { "web": 1, "worker": 0 } }))
}

#[test]
fn a_deploy_says_that_the_registry_is_away_and_the_old_release_serves() {
    let test = "a registry is away during a deploy";
    if !has("docker-registry", "docker-registry", test) {
        return;
    }
    let Some(engines) = Engines::start(1, test) else {
        return;
    };
    let setup = Setup::new();
    kept_base::give(setup.directory());
    let home = setup.directory().to_owned();
    // The server has the port before it.
    let address = format!("{}:5000", engines.host());
    let registry = OwnRegistry::start(&home, &address);
    let settings = format!(
        "listen = [\"{}:{}\"]\n[engine.swarm]\nsocket = \"{}\"\nregistry = \"http://me:sesame@{address}/apps\"\n",
        engines.host(),
        setup.spare_port(),
        engines.socket(1).display()
    );
    let server = setup.with_settings(&settings).start();
    let repo = repo("1");
    done(&server, "POST", "/applications", Some(&one(&repo)));
    kept_base::keep(server.directory());
    assert_eq!(version(&server), "1");
    drop(registry);
    repo.commit(&[("VERSION", "2")]);
    let told = redeploy(&server).expect(422).text();
    assert!(told.contains(&address), "{told}");
    assert!(!told.contains("sesame"), "{told}");
    assert_eq!(version(&server), "1");
    ready(&server, &["web.1"]);
    let _registry = OwnRegistry::start(&home, &address);
    done(&server, "POST", "/applications/echo/redeploy", None);
    assert_eq!(version(&server), "2");
}

/// MiB: the root file system of an image takes more.
const SMALL: u64 = 90;

#[test]
fn a_deploy_goes_to_the_machine_that_has_room_or_says_what_its_engine_says() {
    let test = "the disk of a machine is full";
    let Some(engines) = Engines::start_with_a_small_disk(2, SMALL, test) else {
        return;
    };
    let server = super::echo::server(&engines);
    let repo = repo("1");
    // Where there is room.
    engines.docker(1, &["node", "update", "--availability", "drain", "node2"]);
    done(&server, "POST", "/applications", Some(&one(&repo)));
    kept_base::keep(server.directory());
    engines.docker(1, &["node", "update", "--availability", "active", "node2"]);
    repo.commit(&[("VERSION", "2")]);
    // The swarm would have it where less runs.
    let told = redeploy(&server);
    match told.status {
        200 => assert_eq!(version(&server), "2"),
        _ => {
            let told = told.expect(422).text();
            assert!(told.contains("node2 could not fetch it"), "{told}");
            assert_eq!(version(&server), "1");
        }
    }
    // There is none at all on the only machine that takes any.
    let before = version(&server);
    engines.docker(1, &["node", "update", "--availability", "pause", "node1"]);
    repo.commit(&[("VERSION", "3")]);
    let quick = json!({ "health_check": { "path": "/", "boot_timeout": "20s" } });
    let answer = server
        .request("PATCH", "/applications/echo")
        .header("Prefer", "wait=600")
        .header("Content-Type", "application/merge-patch+json")
        .body(with(quick, json!({ "install": ["true"] })).to_string())
        .deadline(LONG)
        .send(&server.public());
    let told = answer.expect(422).text();
    assert!(told.contains("node2 could not fetch it"), "{told}");
    assert_eq!(version(&server), before);
}
