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
fn the_second_of_two_at_once_is_deployed_and_so_is_the_first_that_is_slower() {
    let server = Server::start();
    add(&server, "blog");
    let archive = site("first");
    let mut first = half(&server, "blog", &archive);
    upload(&server, "blog", site("second")).expect(200);
    assert_eq!(server.visit("/blog/").text(), "second");
    first.write_all(&archive[archive.len() / 2..]).unwrap();
    let mut answer = String::new();
    first.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(server.visit("/blog/").text(), "first");
}

#[test]
fn of_too_many_at_once_the_last_is_told_to_come_again() {
    let server = Server::start();
    add(&server, "blog");
    let archive = site("1");
    let _slow: Vec<_> = (0..3).map(|_| half(&server, "blog", &archive)).collect();
    eventually("all three are at work", SOON, || {
        let refused = upload(&server, "blog", b"no archive".to_vec());
        (refused.status == 429 && refused.header("retry-after").is_some()).then_some(())
    });
}

#[test]
fn who_does_not_wait_hears_of_the_end_by_the_status() {
    let server = Server::start();
    add(&server, "blog");
    let at_once = |archive: Vec<u8>| {
        let path = "/applications/blog/source";
        let request = server.request("PUT", path).header("Prefer", "wait=0");
        request.body(archive).send(&server.public()).expect(202)
    };
    // Large enough that nobody has read it before the answer.
    let page = vec![b'x'; 8 << 20];
    let page = String::from_utf8(page).unwrap();
    let whole = gzip(&tar(&[file("public/index.html", &page)]));
    let answer = at_once(whole.clone()).json();
    assert!(answer["deployment"].is_null(), "{answer}");
    eventually("it is deployed", SOON, || {
        (server.visit("/blog/").text().len() == page.len()).then_some(())
    });
    at_once(whole[..whole.len() - 9].to_vec());
    let warnings = || server.status("blog")["warnings"].to_string();
    eventually("its end is told", SOON, || {
        warnings()
            .contains("the last upload was not deployed")
            .then_some(())
    });
    upload(&server, "blog", site("good")).expect(200);
    assert!(!warnings().contains("upload"), "{}", warnings());
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
