//! `procserver deploy`.

use std::path::Path;

use super::deployments;
use crate::support::command::{Finished, finish, procserver};
use crate::support::fixture::{document, web_repo};
use crate::support::server::Server;

fn write(directory: &Path, files: &[(&str, &str)]) {
    for (name, content) in files {
        let path = directory.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}

fn deploy(server: &Server, directory: &Path, arguments: &[&str]) -> Finished {
    let socket = format!("unix:{}", server.socket().display());
    let mut command = procserver();
    command
        .current_dir(directory)
        .args(["deploy", "--server", &socket]);
    finish(command.args(arguments))
}

const PROCFILE: &str = "web: exec python3 -m http.server --bind 127.0.0.1 $PORT\n";

#[test]
fn a_directory_is_created_and_deployed_and_what_is_ignored_stays() {
    let server = Server::start();
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("blog");
    write(
        &directory,
        &[
            ("Procfile", PROCFILE),
            ("index.html", "one"),
            ("secret.env", "x"),
            ("docs/manual.html", "x"),
            (".gitignore", "*.env\n"),
            (".slugignore", "/docs\n"),
        ],
    );
    let first = deploy(&server, &directory, &[]);
    assert!(first.stderr.contains("created"), "{first:?}");
    let told = first.success();
    assert!(
        told.contains("release 1 at") && told.contains("files"),
        "{told}"
    );
    assert_eq!(server.visit("/blog/index.html").text(), "one");
    assert_eq!(server.visit("/blog/secret.env").status, 404);
    assert_eq!(server.visit("/blog/docs/manual.html").status, 404);
    write(&directory, &[("index.html", "two")]);
    deploy(&server, home.path(), &["blog", "blog"]).success();
    assert_eq!(server.visit("/blog/index.html").text(), "two");
    write(&directory, &[("Procfile", "web: exit 3\n")]);
    let failed = deploy(&server, &directory, &["."]);
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert_eq!(server.visit("/blog/index.html").text(), "two");
    assert_eq!(deployments(&server, "blog").len(), 3);
}

#[test]
fn what_cannot_be_deployed_is_said_before_anything_is_sent() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("web", &repo));
    let home = tempfile::tempdir().unwrap();
    write(home.path(), &[("Procfile", PROCFILE)]);
    // The directory around it would be sent under its name.
    write(home.path(), &[("part/Procfile", PROCFILE)]);
    let mistaken = deploy(&server, home.path(), &["part"]);
    assert!(
        mistaken.code == Some(2) && mistaken.stderr.contains("procserver deploy ./part"),
        "{mistaken:?}"
    );
    server.get("/applications/part").expect(404);
    let refused = deploy(&server, home.path(), &["web"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.stderr.contains("redeploy web"),
        "{}",
        refused.stderr
    );
    let wrong = deploy(&server, home.path(), &["web", "nothing-here"]);
    assert_eq!(wrong.code, Some(1), "{wrong:?}");
    let wrong = deploy(&server, home.path(), &["NOT A NAME"]);
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
}
