//! `repo.dir`: an application that is a part of its repository.

use serde_json::json;

use crate::support::fixture::{document, web_files, with};
use crate::support::repo::Repo;
use crate::support::server::Server;

/// A repository with the application in `apps/web`, and what it has in common with others in `lib`.
fn monorepo() -> Repo {
    let [_, (_, web), _] = web_files("1");
    Repo::new(&[
        ("apps/web/Procfile", "web: exec python3 web.py\n"),
        ("apps/web/web.py", web),
        ("apps/web/.env", "FROM_DOTENV=apps/web\n"),
        ("apps/web/public/page.txt", "page"),
        ("apps/api/Procfile", "web: false\n"),
        ("lib/version", "from lib"),
        (".env", "FROM_DOTENV=root\n"),
    ])
}

#[test]
fn the_application_is_a_directory_and_sees_the_whole_repository() {
    let (server, repo) = (Server::start(), monorepo());
    let part = json!({
        "repo": { "url": repo.url(), "dir": "apps/web" },
        "install": ["cp ../../lib/version VERSION", "test \"$FROM_DOTENV\" = apps/web"],
        "static": { "dir": "public", "prefix": "/files" },
    });
    server.deploy(&with(document("echo", &repo), part));
    assert_eq!(
        server.visit("/echo/").expect(200).json()["version"],
        "from lib"
    );
    let file = server.visit("/echo/files/page.txt").expect(200);
    assert_eq!(file.text(), "page");
    let releases = server.directory().join("apps/echo/releases/1");
    assert!(releases.join("apps/api/Procfile").is_file());

    // A change of the document alone runs in the same place, and so does a rollback.
    let patch = json!({ "env": { "A": "1" } });
    let changed = server.send_and_wait("PATCH", "/applications/echo", &patch);
    changed.expect(200);
    assert_eq!(server.visit("/echo/").expect(200).json()["env"]["A"], "1");
    server.act("echo", "rollback").expect(200);
    assert_eq!(
        server.visit("/echo/").expect(200).json()["version"],
        "from lib"
    );
}

#[test]
fn a_directory_that_is_not_there_fails_with_those_that_are_and_changes_nothing() {
    let (server, repo) = (Server::start(), monorepo());
    let at = |dir: &str| json!({ "repo": { "url": repo.url(), "dir": dir }, "install": [] });
    let app = with(document("echo", &repo), at("apps/web"));
    server.deploy(&with(app, json!({ "install": ["echo one > VERSION"] })));
    let patch = |dir: &str| server.send_and_wait("PATCH", "/applications/echo", &at(dir));
    std::os::unix::fs::symlink("apps/web", repo.path().join("web")).unwrap();
    std::os::unix::fs::symlink("/etc", repo.path().join("etc")).unwrap();
    repo.commit(&[]);
    for (dir, says) in [
        ("apps/worker", "apps has api, web"),
        ("backend", "it has apps, lib"),
        ("lib/version", "lib/version is a file"),
        ("web", "web is a symbolic link"),
        ("etc", "etc is a symbolic link"),
    ] {
        let failure = patch(dir).expect(422).json()["failure"].clone();
        assert_eq!(failure["step"], "checkout", "{failure}");
        let reason = failure["reason"].as_str().unwrap_or_default();
        assert!(reason.contains(says), "{dir}: {reason}");
    }
    assert_eq!(server.visit("/echo/").expect(200).json()["version"], "one");
    for dir in ["/srv", "../other", "a/../..", ".git", ""] {
        let refused = server.send("PATCH", "/applications/echo", &at(dir));
        let errors = refused.expect(422).json()["errors"].clone();
        assert_eq!(errors[0]["pointer"], "/repo/dir", "{dir}: {errors}");
    }
}

#[test]
fn a_directory_that_an_install_command_makes_a_link_is_refused() {
    let (server, repo) = (Server::start(), monorepo());
    let swapped = json!({
        "repo": { "url": repo.url(), "dir": "apps/web" },
        "install": ["cd ../.. && rm -r apps/web && ln -s /etc apps/web"],
    });
    let refused = server.send_and_wait(
        "POST",
        "/applications",
        &with(document("echo", &repo), swapped),
    );
    let failure = refused.expect(422).json()["failure"].clone();
    assert_eq!(failure["step"], "install", "{failure}");
    let reason = failure["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("apps/web is a symbolic link"), "{reason}");
}
