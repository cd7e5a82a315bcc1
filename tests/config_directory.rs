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
