//! The server is killed while a push is at work: the branch and what runs agree afterwards.

use std::io::Write;
use std::net::TcpStream;

use super::{branch, create, is_at, page, push, pushed, run, site};
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

/// A push of which only a part of the objects has come.
fn half(server: &Server) -> TcpStream {
    let repo = page("one");
    // Nothing that git could make small.
    let mut noise = 7_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        noise = noise
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        noise.to_be_bytes()[0]
    })
    .take(6 << 20)
    .collect();
    std::fs::write(repo.path().join("noise"), noise).unwrap();
    assert!(run(repo.path(), &["add", "."]).status.success());
    assert!(
        run(repo.path(), &["commit", "-qm", "noise"])
            .status
            .success()
    );
    let pack = run(repo.path(), &["pack-objects", "--stdout", "--all", "-q"]).stdout;
    let wish = format!("{} {} refs/heads/main", "0".repeat(40), repo.commit_id());
    let wish = format!("{:04x}{wish}\0 report-status0000", wish.len() + 4 + 15);
    let head = format!(
        "POST /git/site.git/git-receive-pack HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {}\r\n\
         Content-Length: {}\r\n\r\n{wish}",
        server.token(),
        wish.len() + pack.len()
    );
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&pack[..5 << 20]).unwrap();
    stream
}

#[test]
fn what_half_a_push_has_left_is_gone_when_a_killed_server_was_started_again() {
    let mut server = Server::start();
    create(&server, &site("site"));
    let objects = server.directory().join("apps/site/repo.git/objects");
    let has_half = || {
        // It is made when somebody comes.
        let names = std::fs::read_dir(&objects);
        names.is_ok_and(|names| {
            let mut names = names.flatten();
            names.any(|entry| entry.file_name().to_string_lossy().contains("incoming"))
        })
    };
    assert!(!has_half());
    let half = half(&server);
    eventually("git receives it", SOON, || has_half().then_some(()));
    server.kill();
    drop(half);
    server.start_again();
    eventually("nothing is left of it", SOON, || {
        (!has_half()).then_some(())
    });
    pushed(&server, "site", &page("two"));
}
