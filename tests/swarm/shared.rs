//! Shared directories of an application are in the volumes of the swarm's machines.

use serde_json::json;

use super::echo::{app, done, ready, repo, server};
use super::engines::Engines;
use super::kept_base;
use crate::support::fixture::with;

/// A file as the process sees it.
fn file(engines: &Engines, name: &str) -> String {
    let of_web = ["ps", "--quiet", "--latest", "--filter", "name=ps-echo-web"];
    let container = engines.docker(1, &of_web);
    engines.docker(1, &["exec", container.trim(), "cat", name])
}

#[test]
fn shared_directories_begin_with_what_the_repository_has_and_are_kept() {
    let Some(engines) = Engines::start(1, "shared directories are in volumes") else {
        return;
    };
    let server = server(&engines);
    let repo = repo("1");
    repo.commit(&[("storage/old.txt", "old")]);
    let shared = json!({ "scale": { "web": 1 }, "shared": ["storage", "log"], "engine": "local" });
    done(
        &server,
        "POST",
        "/applications",
        Some(&with(app(&repo), shared)),
    );
    let change = json!({ "engine": "swarm" });
    done(&server, "PATCH", "/applications/echo", Some(&change));
    kept_base::keep(server.directory());
    ready(&server, &["web.1"]);
    assert_eq!(file(&engines, "storage/old.txt"), "old");
    for name in ["storage/old.txt", "log/production.log"] {
        let written = server.visit(&format!("/echo/write?file={name}"));
        assert_eq!(written.expect(200).json()["error"], json!(null), "{name}");
    }
    repo.commit(&[("storage/new.txt", "new")]);
    done(&server, "POST", "/applications/echo/redeploy", None);
    for (name, content) in [
        ("storage/old.txt", "written"),
        ("storage/new.txt", "new"),
        ("log/production.log", "written"),
    ] {
        assert_eq!(file(&engines, name), content, "{name}");
    }
}
