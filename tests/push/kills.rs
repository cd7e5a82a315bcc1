//! The server is killed while a push is at work: the branch and what runs agree afterwards.

use super::{branch, create, is_at, page, push, pushed, site};
use crate::support::server::Server;
use crate::support::wait::{SOON, eventually};

/// Pushes to a server that kills itself at `failpoint`, and starts it again. Returns the commits before and of that push.
fn killed_at(server: &mut Server, failpoint: &str) -> [String; 2] {
    create(server, &site("site"));
    let repo = page("one");
    pushed(server, "site", &repo);
    let before = repo.commit_id();
    let commit = repo.commit(&[("index.html", "two")]);
    server.arm_kill(failpoint);
    let (worked, shown) = push(server, "site", &repo, "main");
    assert!(!worked, "{shown}");
    server.wait_for_death();
    server.start_again();
    eventually("it runs again", 3 * SOON, || {
        (server.status("site")["state"] == "running").then_some(())
    });
    [before, commit]
}

#[test]
fn a_server_that_is_killed_during_the_deploy_leaves_the_branch_where_it_was() {
    let mut server = Server::start();
    let [before, _] = killed_at(&mut server, "after checkout");
    is_at(&server, "site", &before);
    assert_eq!(server.visit("/site/").expect(200).text(), "one");
}

#[test]
fn a_server_that_is_killed_before_the_branch_moved_moves_it_when_it_starts() {
    let mut server = Server::start();
    let [_, commit] = killed_at(&mut server, "before the branch moves");
    is_at(&server, "site", &commit);
    assert_eq!(server.visit("/site/").expect(200).text(), "two");
    assert!(branch(&server, "site").is_some());
}
