//! Pushes that meet others, and deploys.

use std::path::Path;

use super::{begin_push, branch, create, held_site, is_at, let_go, page};
use crate::support::server::Server;
use crate::support::wait::{SOON, eventually};

fn shows(file: &Path, text: &str) -> Option<()> {
    let shown = std::fs::read_to_string(file).unwrap_or_default();
    shown.contains(text).then_some(())
}

/// Waits until the deploy of a held site is at work.
fn wait_for_install(server: &Server, app: &str) {
    eventually("it installs", 3 * SOON, || {
        let path = format!("/applications/{app}/deployments");
        let all = server.get(&path).expect(200).text();
        all.contains("\"install\"").then_some(())
    });
}

#[test]
fn of_two_pushes_at_once_the_second_waits_and_is_refused_where_the_branch_has_moved() {
    let server = Server::start();
    create(&server, &held_site("site"));
    let (first, second) = (page("first"), page("second"));
    let place = tempfile::tempdir().unwrap();
    let shown = ["first", "second"].map(|name| place.path().join(name));
    let mut one = begin_push(&server, "site", &first, &shown[0]);
    wait_for_install(&server, "site");
    let mut two = begin_push(&server, "site", &second, &shown[1]);
    eventually("it is told to wait", 3 * SOON, || {
        shows(
            &shown[1],
            "another push is being deployed: this one waits for it",
        )
    });
    let_go(&server, "site");
    assert!(one.wait().unwrap().success());
    assert!(!two.wait().unwrap().success());
    assert!(shows(&shown[1], "the branch has moved meanwhile").is_some());
    is_at(&server, "site", &first.commit_id());
}

#[test]
fn a_push_during_a_deploy_waits_for_it() {
    let server = Server::start();
    create(&server, &held_site("site"));
    let repo = page("one");
    let place = tempfile::tempdir().unwrap();
    let mut first = begin_push(&server, "site", &repo, &place.path().join("first"));
    wait_for_install(&server, "site");
    let_go(&server, "site");
    assert!(first.wait().unwrap().success());
    let held = server.directory().join("apps/site/storage/go");
    std::fs::remove_file(held).unwrap();
    server
        .request("POST", "/applications/site/redeploy")
        .send(&server.public())
        .expect(202);
    let commit = repo.commit(&[("index.html", "two")]);
    let shown = place.path().join("shown");
    let mut push = begin_push(&server, "site", &repo, &shown);
    eventually("it is told to wait", 3 * SOON, || {
        shows(&shown, "a deployment is at work: this one waits for it")
    });
    let_go(&server, "site");
    assert!(push.wait().unwrap().success());
    is_at(&server, "site", &commit);
}

#[test]
fn a_deploy_goes_on_without_who_pushed_it_and_the_branch_moves_all_the_same() {
    let server = Server::start();
    create(&server, &held_site("site"));
    let repo = page("one");
    let place = tempfile::tempdir().unwrap();
    let mut push = begin_push(&server, "site", &repo, &place.path().join("shown"));
    wait_for_install(&server, "site");
    // git push itself, which has children that end with it.
    push.kill().unwrap();
    push.wait().unwrap();
    let_go(&server, "site");
    let commit = repo.commit_id();
    eventually("it is deployed", 3 * SOON, || {
        (server.status("site")["commit"] == commit.as_str()).then_some(())
    });
    eventually("the branch has moved", 3 * SOON, || {
        (branch(&server, "site").as_deref() == Some(commit.as_str())).then_some(())
    });
}
