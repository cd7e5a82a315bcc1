//! Archives that nobody means well with: each is refused by name, and changes nothing.

use tar::EntryType;

use super::{add, deployments, file, gzip, names, site, special, tar, upload};
use crate::support::server::Server;
use crate::support::wait::{SOON, eventually};

#[test]
fn what_cannot_be_deployed_is_refused_by_name_and_changes_nothing() {
    let server = Server::start();
    add(&server, "blog");
    upload(&server, "blog", site("1")).expect(200);
    let before = names(&server, "blog");
    let page = || file("public/index.html", "2");
    let good = gzip(&tar(&[page()]));
    let mut huge = tar(&[page()]);
    let head: &mut [u8; 512] = huge.first_chunk_mut().unwrap();
    head[124..136].copy_from_slice(b"77777777777\0");
    head[148..156].fill(b' ');
    let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
    head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    for (archive, word) in [
        (vec![], "no archive"),
        (b"hello".to_vec(), "no archive"),
        (b"PK\x03\x04 and nothing more".to_vec(), "damaged"),
        (good[..good.len() - 9].to_vec(), "damaged"),
        (gzip(b"no tar at all, but text"), "damaged"),
        (tar(&[page()])[..700].to_vec(), "damaged"),
        (tar(&[]), "no file"),
        (gzip(&huge), "MiB"),
        (tar(&[page(), file("/etc/cron.d/x", "x")]), "/etc/cron.d/x"),
        (tar(&[page(), file("../x", "x")]), "../x"),
        (tar(&[page(), file("a/../../x", "x")]), "a/../../x"),
        (
            tar(&[page(), special("fifo", EntryType::Fifo, "")]),
            "fifo is a FIFO",
        ),
        (
            tar(&[page(), special("null", EntryType::Char, "")]),
            "null is a device",
        ),
        (
            tar(&[page(), special("disk", EntryType::Block, "")]),
            "disk is a device",
        ),
        (
            tar(&[page(), special("l", EntryType::Symlink, "/etc/passwd")]),
            "leads out",
        ),
        (
            tar(&[page(), special("l", EntryType::Symlink, "../../x")]),
            "leads out",
        ),
        (
            tar(&[
                page(),
                special("l", EntryType::Symlink, "public"),
                file("l/x", "x"),
            ]),
            "l/x is below l",
        ),
        (
            tar(&[page(), special("h", EntryType::Link, "/etc/passwd")]),
            "/etc/passwd",
        ),
        (
            tar(&[page(), special("h", EntryType::Link, "none")]),
            "h is a hard link",
        ),
        (tar(&[page(), page()]), "twice"),
        (
            tar(&[page(), special("s", EntryType::GNUSparse, "")]),
            "sparse",
        ),
    ] {
        let refused = upload(&server, "blog", archive).expect(422).text();
        assert!(refused.contains(word), "{word}: {refused}");
    }
    assert_eq!(deployments(&server, "blog").len(), 1);
    eventually("nothing is left", SOON, || {
        (names(&server, "blog") == before).then_some(())
    });
    assert_eq!(server.visit("/blog/").text(), "1");
}

#[test]
fn what_is_too_large_or_encoded_is_refused_unread() {
    let server = Server::start();
    add(&server, "blog");
    let send = |name: &str, value: &str| {
        let request = server
            .request("PUT", "/applications/blog/source")
            .header(name, value);
        request.send(&server.public())
    };
    let refused = send("Content-Length", &((512 << 20) + 1).to_string())
        .expect(413)
        .text();
    assert!(refused.contains("512 MiB"), "{refused}");
    send("Content-Encoding", "gzip").expect(415);
    assert_eq!(deployments(&server, "blog").len(), 0);
}

#[test]
fn what_belongs_to_git_is_left_out() {
    let server = Server::start();
    add(&server, "blog");
    let archive = tar(&[
        file("public/index.html", "1"),
        file(".git/config", "[core]\n\tfsmonitor = touch /tmp/x\n"),
        file("public/.GIT/hooks/x", "x"),
    ]);
    upload(&server, "blog", archive).expect(200);
    let release = server.directory().join("apps/blog/releases/1");
    assert!(!release.join(".git").exists() && !release.join("public/.GIT").exists());
}
