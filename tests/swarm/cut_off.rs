//! A server is killed while an application goes, or its document is gone at the next start: nothing of it is left on the
//! swarm, and another of its name begins anew.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::echo::{LONG, app, done, ready, repo, server};
use super::engines::Engines;
use super::kept_base;
use crate::support::fixture::with;
use crate::support::machine::skip;
use crate::support::repo::Repo;
use crate::support::server::Server;
use crate::support::wait::eventually;

fn names(engines: &Engines, of: &str) -> Vec<String> {
    let told = engines.docker(1, &[of, "ls", "--format", "{{.Name}}"]);
    told.lines().map(str::to_owned).collect()
}

fn nothing_runs(engines: &Engines) {
    eventually("no service is left", LONG, || {
        names(engines, "service").is_empty().then_some(())
    });
}

/// What the server knows of services.
fn known(server: &Server) -> Vec<PathBuf> {
    let files = std::fs::read_dir(server.directory().join("swarm/known")).unwrap();
    files.map(|file| file.unwrap().path()).collect()
}

fn nothing_is_known(server: &Server) {
    eventually("no record of a service is left", LONG, || {
        known(server).is_empty().then_some(())
    });
}

fn deployed(server: &Server, document: &Value) {
    eventually("the name is free", LONG, || {
        let answer = server
            .request("POST", "/applications")
            .header("Prefer", "wait=600")
            .header("Content-Type", "application/json")
            .deadline(LONG)
            .body(document.to_string())
            .send(&server.public());
        (answer.status != 409).then(|| answer.expect(201))
    });
    ready(server, &["web.1"]);
}

fn write_old(server: &Server) {
    let written = server.visit("/echo/write?file=$STORAGE_DIR/old");
    assert_eq!(written.expect(200).json()["error"], json!(null));
}

#[test]
fn a_removal_that_is_cut_off_goes_on_and_takes_what_the_swarm_has() {
    let test = "a removal on a swarm that is cut off goes on";
    if !cfg!(debug_assertions) {
        return skip(test, "there are no failpoints in this build");
    }
    let Some(engines) = Engines::start(1, test) else {
        return;
    };
    let mut server = server(&engines);
    let repo = repo("1");
    let document = with(
        app(&repo),
        json!({ "scale": { "web": 1 }, "keep_releases": 1 }),
    );
    for step in [
        "after a removal is written",
        "after a service is removed",
        "a chore is created",
    ] {
        deployed(&server, &document);
        kept_base::keep(server.directory());
        write_old(&server);
        die_at(&mut server, step, "DELETE", "/applications/echo");
        server.get("/applications/echo").expect(404);
        nothing_runs(&engines);
        eventually("no volume is left", LONG, || {
            names(&engines, "volume").is_empty().then_some(())
        });
        nothing_is_known(&server);
    }
    deployed(&server, &document);
    a_chore_is_cut_off(&engines, &mut server, &repo);
    a_former_service_is_known(&server, &document);
}

/// Kills the server in the midst of a request, and starts it again.
fn die_at(server: &mut Server, step: &str, method: &str, target: &str) {
    server.arm_kill(step);
    let request = server.request(method, target);
    let request = request.header("Prefer", "wait=600").deadline(LONG);
    let _unanswered = request.try_send(&server.public());
    server.wait_for_death();
    server.start_again();
}

fn a_chore_is_cut_off(engines: &Engines, server: &mut Server, repo: &Repo) {
    repo.commit(&[("VERSION", "2")]);
    done(server, "POST", "/applications/echo/redeploy", None);
    repo.commit(&[("VERSION", "3")]);
    // The image of a release goes with it.
    die_at(
        server,
        "a chore is created",
        "POST",
        "/applications/echo/redeploy",
    );
    eventually("the chore of the server before is gone", LONG, || {
        let names = names(engines, "service");
        (!names.iter().any(|name| name.starts_with("ps-images-"))).then_some(())
    });
    ready(server, &["web.1"]);
}

/// As a server leaves it that is killed at the wrong moment.
fn a_former_service_is_known(server: &Server, document: &Value) {
    done(server, "DELETE", "/applications/echo", None);
    deployed(server, document);
    let first = eventually("both services are known", LONG, || {
        Some(known(server)).filter(|files| files.len() == 2)
    });
    let first = first.into_iter();
    let first: Vec<_> = first
        .map(|path| (std::fs::read(&path).unwrap(), path))
        .collect();
    done(server, "DELETE", "/applications/echo", None);
    nothing_is_known(server);
    for (text, path) in &first {
        std::fs::write(path, text).unwrap();
    }
    deployed(server, document);
}

#[test]
fn what_runs_of_an_application_without_a_document_is_ended_and_its_volumes_go_with_the_orphan() {
    let Some(engines) = Engines::start(1, "a document on a swarm is gone") else {
        return;
    };
    let mut server = server(&engines);
    let repo = repo("1");
    deployed(&server, &with(app(&repo), json!({ "scale": { "web": 1 } })));
    kept_base::keep(server.directory());
    server.kill();
    std::fs::remove_file(server.config_directory().join("echo.json")).unwrap();
    let stale = server.directory().join("swarm/known/of-long-ago.json");
    std::fs::write(&stale, "{}").unwrap();
    server.start_again();
    nothing_runs(&engines);
    nothing_is_known(&server);
    assert_eq!(names(&engines, "volume").len(), 2, "its files are kept");
    done(&server, "DELETE", "/applications/echo?orphan=true", None);
    assert_eq!(names(&engines, "volume"), [""; 0]);
}
