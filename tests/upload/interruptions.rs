//! Uploads that are cut off, and such as come at the same time.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::json;

use super::{add, deployments, file, gzip, names, request, site, tar, upload};
use crate::support::server::Server;
use crate::support::wait::{SOON, eventually};

/// Sends the head of an upload and the first half of its body.
fn half(server: &Server, name: &str, archive: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let head = format!(
        "PUT /applications/{name}/source HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {}\r\n\
         Content-Length: {}\r\nPrefer: wait=50\r\nConnection: close\r\n\r\n",
        server.token(),
        archive.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&archive[..archive.len() / 2]).unwrap();
    stream
}

#[test]
fn a_client_that_goes_away_changes_nothing_and_leaves_nothing() {
    let server = Server::start();
    add(&server, "blog");
    upload(&server, "blog", site("1")).expect(200);
    let before = names(&server, "blog");
    drop(half(&server, "blog", &site("2")));
    // Its turn ends with it.
    eventually("another can upload", SOON, || {
        (upload(&server, "blog", site("3")).status == 200).then_some(())
    });
    assert_eq!(deployments(&server, "blog").len(), 2);
    assert_eq!(server.visit("/blog/").text(), "3");
    eventually("nothing is left", SOON, || {
        (names(&server, "blog") == before).then_some(())
    });
}

#[test]
fn the_second_of_two_at_once_is_told_to_wait_and_the_first_goes_on() {
    let server = Server::start();
    add(&server, "blog");
    let archive = site("first");
    // Which of the two comes first is chance: the other one is refused, and has no deployment.
    let refused = eventually("the first has its turn", SOON * 3, || {
        let mut first = half(&server, "blog", &archive);
        let second = upload(&server, "blog", b"no archive".to_vec());
        let _written = first.write_all(&archive[archive.len() / 2..]);
        let mut answer = String::new();
        let read = first.read_to_string(&mut answer);
        let is_done = read.is_ok() && answer.starts_with("HTTP/1.1 200");
        (second.status == 409 && is_done).then(|| second.text())
    });
    assert!(refused.contains("Another upload"), "{refused}");
    assert_eq!(server.visit("/blog/").text(), "first");
}

#[test]
fn the_newest_of_several_is_what_runs_in_the_end() {
    let server = Server::start();
    let document = json!({
        "name": "blog", "repo": {"push": true}, "static": {"dir": "public"}, "install": ["sleep 1"],
    });
    server
        .send_and_wait("POST", "/applications", &document)
        .expect(201);
    let peer = server.public();
    for version in ["1", "2", "3"] {
        let page = [file("public/index.html", version)];
        let upload = server
            .request("PUT", "/applications/blog/source")
            .body(gzip(&tar(&page)));
        let accepted = upload.send(&peer).expect(202);
        assert!(
            accepted
                .header("location")
                .unwrap()
                .contains("/deployments/"),
            "{accepted:?}"
        );
    }
    eventually("the last one runs", SOON, || {
        (server.visit("/blog/").text() == "3").then_some(())
    });
    upload(&server, "blog", site("4")).expect(200);
    assert_eq!(server.visit("/blog/").text(), "4");
}

#[test]
fn a_server_that_is_killed_meanwhile_leaves_nothing() {
    let mut server = Server::start();
    add(&server, "blog");
    upload(&server, "blog", site("1")).expect(200);
    let before = names(&server, "blog");
    let half = half(&server, "blog", &site("2"));
    // Whether the half has come to the disk or not.
    server.kill();
    drop(half);
    server.start_again();
    // What the server writes just now has a name of its own until it is whole.
    eventually("nothing is left", SOON, || {
        (names(&server, "blog") == before).then_some(())
    });
    server.arm_kill("before checkout");
    // The server dies before it answers.
    let _gone = request(&server, "blog", site("3")).try_send(&server.public());
    server.wait_for_death();
    server.start_again();
    eventually("it serves again", SOON, || {
        (server.try_visit("/blog/") == Some(200)).then_some(())
    });
    upload(&server, "blog", site("4")).expect(200);
    assert_eq!(server.visit("/blog/").text(), "4");
    eventually("nothing is left again", SOON, || {
        (names(&server, "blog") == before).then_some(())
    });
}
