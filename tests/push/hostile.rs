//! What strangers send in place of a push.

use std::io::Write;
use std::process::Stdio;

use super::{branch, create, git, is_at, page, push, pushed, run, site};
use crate::support::server::Server;

#[test]
fn rubbish_changes_nothing_and_the_next_push_works() {
    let server = Server::start();
    create(&server, &site("site"));
    let path = "/git/site.git/git-receive-pack";
    let zeros = "0".repeat(40);
    let wish = format!("{zeros} {} refs/heads/main", "a".repeat(40));
    let wish = format!("{:04x}{wish}\0 report-status0000", wish.len() + 4 + 15);
    for (body, encoding) in [
        (b"0000".to_vec(), "identity"),
        (vec![0xff; 100_000], "identity"),
        (b"fff".to_vec(), "identity"),
        (wish.clone().into_bytes(), "identity"),
        (
            [wish.as_bytes(), b"PACK\0\0\0\x02\xff\xff\xff\xff"].concat(),
            "identity",
        ),
        (b"no gzip".to_vec(), "gzip"),
    ] {
        let request = server
            .request("POST", path)
            .header("content-encoding", encoding);
        request.body(body).send(&server.public()).expect(200);
    }
    assert_eq!(branch(&server, "site"), None);
    assert_eq!(server.status("site")["state"], "empty");
    let repo = page("one");
    pushed(&server, "site", &repo);
    is_at(&server, "site", &repo.commit_id());
    let left = server.directory().join("apps/site/repo.git/objects");
    let left = std::fs::read_dir(left).unwrap().flatten();
    let left: Vec<_> = left.map(|e| e.file_name().into_string().unwrap()).collect();
    assert!(
        !left.iter().any(|name| name.contains("incoming")),
        "{left:?}"
    );
}

#[test]
fn who_still_sends_when_git_has_given_up_is_told_why() {
    let server = Server::start();
    create(&server, &site("site"));
    let zeros = "0".repeat(40);
    let wish = format!("{zeros} {} refs/heads/main", "a".repeat(40));
    let wish = format!(
        "{:04x}{wish}\0 report-status side-band-64k0000",
        wish.len() + 4 + 29
    );
    // Objects of a type that there is not; more than fits into any buffer on the way.
    let pack = [b"PACK\0\0\0\x02\0\0\0\xff", &[0; 64 << 20][..]].concat();
    let request = server.request("POST", "/git/site.git/git-receive-pack");
    let request = request.body([wish.as_bytes(), &pack].concat());
    let told = request.send(&server.public()).expect(200).text();
    assert!(told.contains("unpack "), "{told}");
}

#[test]
fn a_tree_with_a_git_directory_in_it_is_refused() {
    let server = Server::start();
    create(&server, &site("site"));
    let repo = page("one");
    let blob = run(repo.path(), &["rev-parse", "HEAD:index.html"]);
    let blob = String::from_utf8(blob.stdout).unwrap();
    let mut make = git(repo.path(), &["mktree"]);
    let mut make = make
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let entry = format!("100644 blob {}\t.git\n", blob.trim());
    make.stdin
        .take()
        .unwrap()
        .write_all(entry.as_bytes())
        .unwrap();
    let tree = String::from_utf8(make.wait_with_output().unwrap().stdout).unwrap();
    let commit = run(repo.path(), &["commit-tree", "-m", "bad", tree.trim()]);
    let commit = String::from_utf8(commit.stdout).unwrap();
    let (worked, shown) = push(
        &server,
        "site",
        &repo,
        &format!("{}:refs/heads/main", commit.trim()),
    );
    assert!(!worked && shown.contains("hasDotgit"), "{shown}");
    assert_eq!(branch(&server, "site"), None);
    assert_eq!(server.status("site")["state"], "empty");
}
