//! What the code's own commands know of it: its `.git` while they install, its commit and release at any time.

use serde_json::json;

use crate::support::fixture::{document, web_files, with};
use crate::support::repo::Repo;
use crate::support::server::Server;

/// A repository with two commits behind the tag `v1.2`.
fn tagged_repo(release: &str) -> Repo {
    let procfile = format!("web: exec python3 web.py\n{release}");
    let mut files = web_files("1");
    files[0].1 = &procfile;
    let repo = Repo::new(&files);
    repo.commit(&[("old", "gone")]);
    repo.tag("v1.2");
    repo.commit(&[("lib/a", "a")]);
    repo.commit(&[("lib/a", "b")]);
    repo
}

#[test]
fn install_commands_find_tags_and_files_by_git_and_nothing_else_does() {
    let repo = tagged_repo(
        "release: test ! -e .git && echo $PROCSERVER_COMMIT $PROCSERVER_RELEASE > released\n",
    );
    let (server, commit) = (Server::start(), repo.commit_id());
    let install = json!({ "install": [
        "version=$(git describe --tags --dirty) && echo $version > VERSION",
        "git status --porcelain --untracked-files=no > status",
        "git archive HEAD lib | tar -x -O > archived",
        "git rev-parse HEAD > head",
        "git rev-list --count HEAD > count",
        "! grep -r repo.git .git/config",
        "echo $PROCSERVER_COMMIT $PROCSERVER_RELEASE > installed",
    ]});
    server.deploy(&with(document("echo", &repo), install));
    let told = server.visit("/echo/").expect(200).json();
    assert_eq!(told["version"], format!("v1.2-2-g{}", &commit[..7]));
    assert_eq!(told["env"]["PROCSERVER_COMMIT"], commit.as_str());
    assert_eq!(told["env"]["PROCSERVER_RELEASE"], "1");
    let release = server.directory().join("apps/echo/releases/1");
    let read = |name: &str| std::fs::read_to_string(release.join(name)).unwrap();
    // VERSION is one of the repository's, and was just written.
    assert_eq!(read("status"), " M VERSION\n");
    assert_eq!(
        (read("archived"), read("count")),
        ("b".into(), "4\n".into())
    );
    assert_eq!(read("head").trim(), commit);
    for name in ["installed", "released"] {
        assert_eq!(read(name), format!("{commit} 1\n"), "{name}");
    }
    assert!(!release.join(".git").exists());
    let log = server.get("/applications/echo/logs/install").text();
    assert!(!log.contains("no .git"), "{log}");
}

#[test]
fn a_git_that_a_build_has_exchanged_is_removed_and_what_it_leads_to_stays() {
    let repo = tagged_repo("");
    let server = Server::start();
    let swapped = json!({ "install": [
        "mkdir -p $STORAGE_DIR/kept/hooks && touch $STORAGE_DIR/kept/file",
        "mv .git other && ln -s $STORAGE_DIR/kept .git",
        "printf '#!/bin/sh\\ntouch %s/ran\\n' $STORAGE_DIR > other/hooks-x; chmod +x other/hooks-x",
    ]});
    server.deploy(&with(document("echo", &repo), swapped));
    let app = server.directory().join("apps/echo");
    assert!(app.join("storage/kept/file").is_file());
    assert!(!app.join("storage/ran").exists());
    assert!(app.join("releases/1/.git").symlink_metadata().is_err());
    server.act("echo", "redeploy").expect(200);
    server.visit("/echo/").expect(200);
}

#[test]
fn a_repository_of_one_commit_without_tags_has_a_git_too() {
    let repo = Repo::new(&web_files("1"));
    let server = Server::start();
    let install = json!({ "install": ["git log --format=%s > VERSION", "! git describe --tags"] });
    server.deploy(&with(document("echo", &repo), install));
    assert_eq!(
        server.visit("/echo/").expect(200).json()["version"],
        "change"
    );
}
