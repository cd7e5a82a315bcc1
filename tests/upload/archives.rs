//! What is in an archive is what runs.

use std::io::Write as _;

use serde_json::json;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::{Entry, add, deployments, file, gzip, site, special, tar, upload};
use crate::support::fixture::{document, web_files, web_repo};
use crate::support::server::Server;

fn zip(entries: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in entries {
        let options = SimpleFileOptions::default().unix_permissions(0o644);
        zip.start_file(*name, options).unwrap();
        zip.write_all(content.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

#[test]
fn each_kind_of_archive_is_deployed_and_replaces_all_that_was_there() {
    let server = Server::start();
    add(&server, "blog");
    let page = |version| [file("public/index.html", version)];
    for (version, archive) in [
        ("tar", tar(&page("tar"))),
        ("tar.gz", gzip(&tar(&page("tar.gz")))),
        (
            "zip",
            zip(&[("public/index.html", "zip"), ("public/only/zip", "x")]),
        ),
        ("again", site("again")),
    ] {
        let answer = upload(&server, "blog", archive).expect(200).json();
        assert_eq!(answer["state"], "running", "{answer}");
        assert_eq!(server.visit("/blog/").text(), version);
        let is_there = server.visit("/blog/only/zip").status == 200;
        assert_eq!(is_there, version == "zip", "{version}");
    }
    let all = deployments(&server, "blog");
    let mut commits: Vec<_> = all.iter().map(|one| one["commit"].to_string()).collect();
    commits.sort();
    commits.dedup();
    assert_eq!(
        (all.len(), commits.len()),
        (4, 4),
        "each is a commit of its own: {all:?}"
    );
}

#[test]
fn modes_links_and_long_names_are_kept() {
    let server = Server::start();
    let document = json!({
        "name": "web", "repo": {"push": true}, "health_check": {"interval": "100ms"},
    });
    server
        .send_and_wait("POST", "/applications", &document)
        .expect(201);
    let files = web_files("packed");
    let (_, source) = files[1];
    let mut entries = vec![
        file("Procfile", "web: exec ./linked\n"),
        file("VERSION", "packed"),
        file("web.py", source),
        special("linked", tar::EntryType::Symlink, "bin/run"),
        special("bin/again", tar::EntryType::Link, "bin/run"),
    ];
    let run = Entry {
        mode: 0o755,
        ..file("bin/run", "#!/bin/sh\nexec python3 web.py\n")
    };
    entries.insert(0, run);
    upload(&server, "web", gzip(&tar(&entries))).expect(200);
    let release = server.directory().join("apps/web/releases/1");
    let read = |name: &str| std::fs::read_to_string(release.join(name)).unwrap();
    assert_eq!(read("bin/again"), read("bin/run"));
    let target = std::fs::read_link(release.join("linked")).unwrap();
    assert_eq!(target.to_str(), Some("bin/run"));
    assert_eq!(server.visit("/web/").status, 200);
}

#[test]
fn a_deploy_that_fails_leaves_what_runs_and_the_branch() {
    let server = Server::start();
    add(&server, "blog");
    upload(&server, "blog", site("1")).expect(200);
    let broken = gzip(&tar(&[
        file("Procfile", "release: exit 3\n"),
        file("public/index.html", "2"),
    ]));
    let refused = upload(&server, "blog", broken).expect(422).json();
    assert_eq!(refused["failure"]["step"], "release", "{refused}");
    assert_eq!(server.visit("/blog/").text(), "1");
    // What is deployed anew is what was good.
    server.act("blog", "redeploy").expect(200);
    assert_eq!(server.visit("/blog/").text(), "1");
}

#[test]
fn an_application_of_a_repository_is_told_what_to_do() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("web", &repo));
    let refused = upload(&server, "web", site("2")).expect(409).text();
    for word in ["repo.url", "redeploy web", "push"] {
        assert!(refused.contains(word), "{word}: {refused}");
    }
    upload(&server, "none", site("2")).expect(404);
}
