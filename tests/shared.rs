//! `shared`: directories of the application that are kept over releases, and may be written to.

use std::path::PathBuf;

use serde_json::json;

use crate::support::fixture::{document, web_files, with};
use crate::support::repo::Repo;
use crate::support::server::Server;

/// An application that has something in `log`, `tmp` and `storage/framework`.
fn framework(version: &str) -> Repo {
    let mut files = web_files(version).to_vec();
    files.extend([
        ("log/.keep", ""),
        ("storage/framework/seed.txt", "from the repository"),
        ("public/page.txt", "page"),
    ]);
    Repo::new(&files)
}

/// Whether the application could write the file.
#[track_caller]
fn write(server: &Server, file: &str) -> String {
    let answer = server.visit(&format!("/echo/write?file={file}"));
    answer.expect(200).json()["error"].to_string()
}

fn storage(server: &Server, name: &str) -> PathBuf {
    server.directory().join("apps/echo/storage").join(name)
}

#[test]
fn shared_directories_are_writable_and_kept_and_what_is_there_is_not_overwritten() {
    let (server, repo) = (Server::start(), framework("1"));
    let shared = json!({
        "shared": ["log", "tmp", "storage", "public/uploads"],
        "install": ["test -L log", "echo built > tmp/built", "git diff --quiet HEAD"],
    });
    server.deploy(&with(document("echo", &repo), shared));
    for file in [
        "log/production.log",
        "tmp/pid",
        "public/uploads/a.png",
        "storage/framework/seed.txt",
    ] {
        assert_eq!(write(&server, file), "null", "{file}");
    }
    assert_eq!(write(&server, "public/page.txt"), "\"EACCES\"");
    let read = |name: &str| std::fs::read_to_string(storage(&server, name)).unwrap();
    assert_eq!(read("public/uploads/a.png"), "written");
    assert_eq!(read("tmp/built"), "built\n");

    repo.commit(&[("storage/framework/new.txt", "new"), ("VERSION", "2")]);
    server.act("echo", "redeploy").expect(200);
    assert_eq!(server.visit("/echo/").expect(200).json()["version"], "2");
    assert_eq!(read("storage/framework/seed.txt"), "written");
    assert_eq!(read("storage/framework/new.txt"), "new");
    assert_eq!(write(&server, "log/production.log"), "null");
}

#[test]
fn shared_directories_need_neither_install_commands_nor_the_root_of_the_repository() {
    let [_, (_, web), _] = web_files("1");
    let repo = Repo::new(&[
        ("apps/web/Procfile", "web: exec python3 web.py\n"),
        ("apps/web/web.py", web),
        ("apps/web/VERSION", "1"),
        ("apps/web/log/old", "old"),
    ]);
    let server = Server::start();
    let app =
        json!({ "repo": { "url": repo.url(), "dir": "apps/web" }, "shared": ["log", "var/run"] });
    server.deploy(&with(document("echo", &repo), app));
    assert_eq!(write(&server, "log/new"), "null");
    assert_eq!(write(&server, "var/run/pid"), "null");
    for name in ["log/old", "log/new", "var/run/pid"] {
        assert!(storage(&server, name).is_file(), "{name}");
    }
    // The link is the release's, and what it leads to is not.
    server.act("echo", "redeploy").expect(200);
    assert_eq!(write(&server, "log/newer"), "null");
    let release = server.directory().join("apps/echo/releases");
    let link = std::fs::read_link(release.join("2/apps/web/log")).unwrap();
    assert_eq!(link, PathBuf::from("../../../../storage/log"));
}

#[test]
fn what_an_application_plants_in_its_storage_leads_root_nowhere() {
    let (server, repo) = (Server::start(), framework("1"));
    let victim = server.directory().join("victim");
    std::fs::create_dir(&victim).unwrap();
    let plain = document("echo", &repo);
    server.deploy(&plain);
    // It could do that by itself.
    for name in ["storage", "log"] {
        std::os::unix::fs::symlink(&victim, storage(&server, name)).unwrap();
    }
    let patch = json!({ "shared": ["storage", "log"] });
    let answer = server.send_and_wait("PATCH", "/applications/echo", &patch);
    if crate::support::machine::is_root() {
        let failure = answer.expect(422).json()["failure"].clone();
        assert_eq!(failure["step"], "checkout", "{failure}");
        let told = failure.to_string();
        assert!(
            told.contains("cannot be a directory of the storage"),
            "{told}"
        );
        assert_eq!(std::fs::read_dir(&victim).unwrap().count(), 0);
    }
    assert_eq!(server.visit("/echo/").expect(200).json()["version"], "1");
}

#[test]
fn a_file_in_the_place_of_a_shared_directory_and_names_that_are_none_are_refused() {
    let (server, repo) = (Server::start(), framework("1"));
    let shared =
        |names: serde_json::Value| with(document("echo", &repo), json!({ "shared": names }));
    let refused = server.send_and_wait("POST", "/applications", &shared(json!(["VERSION"])));
    let failure = refused.expect(422).json()["failure"].clone();
    assert!(
        failure
            .to_string()
            .contains("VERSION is a file of the repository"),
        "{failure}"
    );
    for (names, pointer) in [
        (json!(["../other"]), "/shared/0"),
        (json!(["/var/log"]), "/shared/0"),
        (json!(["."]), "/shared/0"),
        (json!(["tmp", "tmp/cache"]), "/shared/1"),
        (json!(["log", "./log/"]), "/shared/1"),
        (json!("log"), "/shared"),
    ] {
        let refused = server.send("PUT", "/applications/echo", &shared(names.clone()));
        let errors = refused.expect(422).json()["errors"].clone();
        assert_eq!(errors[0]["pointer"], pointer, "{names}: {errors}");
    }
}
