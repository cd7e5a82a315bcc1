//! The directory of documents: what is in it is deployed, and the API writes there.

use serde_json::{Value, json};

use crate::support::fixture::{document, web_repo, with};
use crate::support::server::Server;
use crate::support::setup::Setup;
use crate::support::wait::{SOON, eventually};

#[test]
fn a_document_found_at_start_is_deployed() {
    let repo = web_repo("1");
    let text = format!(
        "// written by hand\n{{ name: 'echo', repo: {{ url: '{}' }} }}\n",
        repo.url()
    );
    let server = Setup::new().config_file("echo.json", &text).start();
    eventually("the app serves", SOON, || {
        (server.visit("/echo/").status == 200).then_some(())
    });
    let kept = std::fs::read_to_string(server.config_directory().join("echo.json")).unwrap();
    assert_eq!(kept, text, "a file is not rewritten because it was read");
}

#[test]
fn a_bad_document_is_named_in_the_log_and_harms_no_other() {
    let repo = web_repo("1");
    let server = Setup::new()
        .config_file("broken.json", "{ name: ")
        .config_file(
            "invalid.json",
            "{ name: 'invalid', repo: { url: 'ext::sh' } }",
        )
        .config_file("echo.json", &document("echo", &repo).to_string())
        .config_file("README.txt", "not a document at all")
        .start();
    eventually("the app serves", SOON, || {
        (server.visit("/echo/").status == 200).then_some(())
    });
    for named in ["broken.json", "invalid.json"] {
        eventually(named, SOON, || server.log().contains(named).then_some(()));
    }
    let apps = server.get("/applications").expect(200).json();
    let names: Vec<&Value> = apps
        .as_array()
        .unwrap()
        .iter()
        .map(|a| &a["name"])
        .collect();
    assert_eq!(names, ["echo"]);
}

#[test]
fn the_api_writes_there_what_it_accepted_and_removes_what_it_deleted() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let file = server.config_directory().join("echo.json");
    let written = || -> Value { serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap() };
    server.deploy(&document("echo", &repo));
    assert_eq!(written(), server.get("/applications/echo").json());

    let changed = with(document("echo", &repo), json!({ "env": { "A": "1" } }));
    server
        .send_and_wait("PUT", "/applications/echo", &changed)
        .expect(200);
    assert_eq!(written()["env"], json!({ "A": "1" }));

    let delete = server
        .request("DELETE", "/applications/echo")
        .header("Prefer", "wait=50");
    delete.send(&server.public()).expect(200);
    assert!(!file.exists());
}

/// Replaces a file as a careful program does.
fn put(server: &Server, name: &str, text: &str) {
    let (directory, hidden) = (server.config_directory(), format!(".{name}"));
    std::fs::write(directory.join(&hidden), text).unwrap();
    std::fs::rename(directory.join(&hidden), directory.join(name)).unwrap();
}

#[test]
fn a_file_that_comes_changes_or_goes_is_followed() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let text = document("echo", &repo);
    put(&server, "echo.json", &text.to_string());
    eventually("the app has come", SOON, || {
        (server.visit("/echo/").status == 200).then_some(())
    });
    let pid = server.ready_pid("echo", "web.1");

    let scaled = with(text, json!({ "scale": { "web": 2 } }));
    put(&server, "echo.json", &scaled.to_string());
    eventually("a second process has come", SOON, || {
        let processes = server.status("echo")["processes"].as_array()?.len();
        (processes == 2).then_some(())
    });
    assert_eq!(server.ready_pid("echo", "web.1"), pid);

    std::fs::remove_file(server.config_directory().join("echo.json")).unwrap();
    eventually("the app has gone", SOON, || {
        (server.get("/applications/echo").status == 404).then_some(())
    });
    assert!(server.directory().join("apps/echo/storage").is_dir());
}

#[test]
fn a_file_that_is_damaged_is_named_and_the_last_good_one_runs_on() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("echo", &repo));
    let (pid, file) = (
        server.ready_pid("echo", "web.1"),
        server.config_directory().join("echo.json"),
    );
    let good = std::fs::read_to_string(&file).unwrap();
    let has_warning = |wanted: bool| {
        eventually("a warning that names the file", SOON, || {
            let warnings = server.status("echo")["warnings"].to_string();
            (warnings.contains("echo.json") == wanted).then_some(())
        });
    };
    std::fs::write(&file, &good[..good.len() / 2]).unwrap();
    has_warning(true);
    assert!(server.log().contains("echo.json"));
    std::fs::write(&file, &good).unwrap();
    has_warning(false);
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    has_warning(true);
    std::fs::remove_dir(&file).unwrap();
    std::fs::write(&file, &good).unwrap();
    has_warning(false);
    assert_eq!(server.ready_pid("echo", "web.1"), pid);
    let deployments = server.get("/applications/echo/deployments").json();
    assert_eq!(deployments.as_array().unwrap().len(), 1);
}
