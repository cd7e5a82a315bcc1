//! A backup has what is nowhere else: the code that was pushed or uploaded.

use std::path::Path;

use serde_json::json;

use super::{create, is_at, page, pushed, run, site, url};
use crate::support::command::{Finished, finish, procserver};
use crate::support::server::Server;
use crate::support::wait::{SOON, eventually};

fn cli(server: &Server, words: &[&str]) -> Finished {
    let url = format!("unix:{}", server.socket().display());
    finish(procserver().args(words).args(["--server", &url]))
}

#[test]
fn another_server_serves_what_was_pushed_to_one_or_uploaded_and_takes_the_next_push() {
    let old = Server::start();
    create(&old, &site("site"));
    create(&old, &site("empty"));
    let repo = page("one");
    pushed(&old, "site", &repo);
    repo.tag("v1");
    run(repo.path(), &["push", &url(&old, "site"), "v1"]);
    let commit = repo.commit(&[("index.html", "two")]);
    pushed(&old, "site", &repo);
    let upload = tempfile::tempdir().unwrap();
    std::fs::write(upload.path().join("index.html"), "uploaded").unwrap();
    create(&old, &site("up"));
    let directory = upload.path().display().to_string();
    cli(&old, &["deploy", "up", &directory]).success();
    let secret = old.get("/applications/site/hook").expect(200).json()["secret"].clone();
    let keys = json!({"version": 1, "keys": [{"id": "k1", "name": "ann", "created": "2026-11-30T00:00:00Z",
        "key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"}]});
    std::fs::write(old.directory().join("ssh_keys.json"), keys.to_string()).unwrap();
    let file = upload.path().join("backup.tar.gz").display().to_string();
    let taken = cli(&old, &["backup", &file]);
    assert!(
        taken.code == Some(0) && !taken.stdout.contains("code is not"),
        "{taken:?}"
    );
    let uploaded = old.status("up")["commit"].as_str().unwrap().to_owned();
    drop(old);

    let mut new = Server::start();
    let restored = cli(&new, &["restore", &file]);
    assert_eq!(restored.code, Some(0), "{restored:?}");
    for (app, text, commit) in [("site", "two", &commit), ("up", "uploaded", &uploaded)] {
        eventually("it is deployed", SOON, || {
            (new.status(app)["state"] == "running").then_some(())
        });
        assert_eq!(new.visit(&format!("/{app}/")).expect(200).text(), text);
        is_at(&new, app, commit);
        assert!(
            !new.directory()
                .join("apps")
                .join(app)
                .join("code.bundle")
                .exists()
        );
    }
    assert_eq!(new.status("empty")["state"], "empty");
    assert_eq!(
        new.get("/applications/site/hook").expect(200).json()["secret"],
        secret
    );
    let tags = run(Path::new("/"), &["ls-remote", &url(&new, "site")]).stdout;
    assert!(String::from_utf8_lossy(&tags).contains("refs/tags/v1"));
    // It follows on what was pushed to the old one.
    let next = repo.commit(&[("index.html", "three")]);
    pushed(&new, "site", &repo);
    is_at(&new, "site", &next);
    // As the token, ssh keys count from the next start on.
    new.terminate();
    new.start_again();
    assert_eq!(new.get("/-/ssh-keys").expect(200).json()[0]["name"], "ann");
    is_at(&new, "site", &next);
}

#[test]
fn code_of_a_backup_that_git_cannot_read_is_put_aside_and_can_be_pushed_again() {
    let mut server = Server::start();
    create(&server, &site("site"));
    server.terminate();
    let app = server.directory().join("apps/site");
    std::fs::write(app.join("code.bundle"), "rubbish").unwrap();
    server.start_again();
    eventually("it is put aside", SOON, || {
        app.join("code.damaged").exists().then_some(())
    });
    assert!(!app.join("code.bundle").exists());
    let repo = page("one");
    pushed(&server, "site", &repo);
    is_at(&server, "site", &repo.commit_id());
}
