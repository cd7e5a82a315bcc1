//! What an application leaves on the nodes of a swarm goes with it: volumes with the application, images with releases.

use serde_json::json;

use super::echo::{LONG, app, done, ready, repo, server, server_with};
use super::engines::Engines;
use super::kept_base;
use crate::support::fixture::with;
use crate::support::server::Server;
use crate::support::setup::Setup;
use crate::support::wait::eventually;

fn volumes(engines: &Engines, engine: usize) -> Vec<String> {
    let told = engines.docker(engine, &["volume", "ls", "--quiet"]);
    told.lines().map(str::to_owned).collect()
}

/// The images of the application that a node has, by their digests.
fn images(engines: &Engines, engine: usize) -> Vec<String> {
    let told = engines.docker(
        engine,
        &[
            "images",
            "--digests",
            "--format",
            "{{.Repository}} {{.Digest}}",
        ],
    );
    let of_app = told.lines().filter(|line| line.contains("/echo "));
    of_app.map(|line| line.replace(' ', "@")).collect()
}

fn remove(server: &Server, query: &str) {
    let target = format!("/applications/echo{query}");
    done(server, "DELETE", &target, None);
}

#[test]
fn volumes_go_with_their_application_on_all_nodes_and_images_with_their_releases() {
    let Some(engines) = Engines::start(2, "volumes of a swarm go") else {
        return;
    };
    let server = server(&engines);
    let repo = repo("1");
    let document = with(app(&repo), json!({ "keep_releases": 1 }));
    done(&server, "POST", "/applications", Some(&document));
    kept_base::keep(server.directory());
    ready(&server, &["web.1", "web.2"]);
    let others = |engine| engines.docker(engine, &["volume", "create", "procserver-other"]);
    let first = [1, 2].map(|engine| {
        others(engine);
        assert_eq!(volumes(&engines, engine).len(), 3);
        let found = images(&engines, engine);
        engines.docker(engine, &["tag", &found[0], "other:kept"]);
        found
    });
    assert!(first.iter().all(|found| found.len() == 1), "{first:?}");
    for version in ["2", "3"] {
        repo.commit(&[("VERSION", version)]);
        done(&server, "POST", "/applications/echo/redeploy", None);
        ready(&server, &["web.1", "web.2"]);
    }
    for engine in [1, 2] {
        eventually("the image of a release that is gone is too", LONG, || {
            let left = images(&engines, engine);
            (!left.is_empty() && !left.contains(&first[0][0])).then_some(())
        });
        let kept = engines.docker(engine, &["images", "--quiet", "other:kept"]);
        assert!(!kept.is_empty(), "what others name is theirs");
    }
    remove(&server, "?keep=storage");
    for engine in [1, 2] {
        assert_eq!(volumes(&engines, engine).len(), 3);
    }
    done(&server, "POST", "/applications", Some(&document));
    ready(&server, &["web.1", "web.2"]);
    remove(&server, "");
    for engine in [1, 2] {
        assert_eq!(volumes(&engines, engine), ["procserver-other"]);
    }
    assert_eq!(engines.docker(1, &["service", "ls", "--quiet"]), "");
}

#[test]
fn volumes_are_made_by_the_driver_of_the_settings() {
    let Some(engines) = Engines::start(1, "volumes of a swarm have a driver") else {
        return;
    };
    let settings = "[engine.swarm]\nvolumes = { driver = \"local\", options = { type = \"tmpfs\", device = \"tmpfs\" } }\n";
    let server = server_with(&engines, Setup::new().with_settings(settings));
    let repo = repo("1");
    done(&server, "POST", "/applications", Some(&app(&repo)));
    kept_base::keep(server.directory());
    ready(&server, &["web.1", "web.2"]);
    let made = volumes(&engines, 1);
    assert_eq!(made.len(), 2, "{made:?}");
    for volume in &made {
        let options = [
            "volume",
            "inspect",
            "--format",
            "{{.Driver}} {{.Options.type}}",
            volume,
        ];
        assert_eq!(engines.docker(1, &options), "local tmpfs");
    }
    let written = server
        .visit("/echo/write?file=$STORAGE_DIR/a")
        .expect(200)
        .json();
    assert_eq!(written, json!({ "error": null }));
    remove(&server, "");
    assert_eq!(volumes(&engines, 1), [""; 0]);
}

#[test]
fn a_node_that_is_down_keeps_no_application_from_going_and_is_named() {
    let Some(mut engines) = Engines::start(2, "a node with volumes is down") else {
        return;
    };
    let server = server(&engines);
    let repo = repo("1");
    done(&server, "POST", "/applications", Some(&app(&repo)));
    kept_base::keep(server.directory());
    ready(&server, &["web.1", "web.2"]);
    engines.kill(2);
    remove(&server, "");
    assert_eq!(volumes(&engines, 1), [""; 0]);
    let told = eventually("what is left is reported", LONG, || {
        let told = server.get("/events?type=volumes&tail=10").expect(200);
        Some(told.json()).filter(|told| told[0].is_object())
    });
    let event =
        json!({ "app": told[0]["app"], "node": told[0]["node"], "reason": told[0]["reason"] });
    let wanted = json!({ "app": "echo", "node": "node2", "reason": "it is down" });
    assert_eq!(event, wanted, "{told}");
    let next = told[0]["next"].as_str().unwrap();
    assert!(next.contains("docker volume rm procserver-"), "{told}");
    assert_eq!(told.as_array().unwrap().len(), 1, "{told}");
    let line = "volumes.left app=echo node=node2 reason=\"it is down\"";
    assert!(server.log().contains(line), "{}", server.log());
}
