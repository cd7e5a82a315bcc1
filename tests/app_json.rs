//! `app.json`: what is read of it where the document says nothing.

use serde_json::{Value, json};

use crate::support::fixture::web_files;
use crate::support::repo::Repo;
use crate::support::server::Server;
use crate::support::wait::{SOON, eventually};

const PROCFILE: &str = "web: exec python3 web.py\nrelease: echo release >> $STORAGE_DIR/ran\n";

fn repo(app_json: &Value) -> Repo {
    let text = app_json.to_string();
    let mut files = web_files("1").to_vec();
    files[0].1 = PROCFILE;
    files.push(("app.json", &text));
    Repo::new(&files)
}

fn document(repo: &Repo) -> Value {
    json!({ "name": "echo", "repo": { "url": repo.url() } })
}

fn ran(server: &Server) -> String {
    std::fs::read_to_string(server.directory().join("apps/echo/storage/ran")).unwrap()
}

#[test]
fn postdeploy_runs_once_behind_the_release_command_of_the_first_deploy() {
    let script = "echo $PS $PROCSERVER_RELEASE >> $STORAGE_DIR/ran; test -e $STORAGE_DIR/may";
    let repo = repo(&json!({ "scripts": { "postdeploy": script } }));
    let server = Server::start();
    let refused = server.send_and_wait("POST", "/applications", &document(&repo));
    let failure = refused.expect(422).json()["failure"].clone();
    assert_eq!(failure["step"], "release", "{failure}");
    let first = "release\npostdeploy.1 1\n";
    assert_eq!(ran(&server), first);
    // It did not succeed, so it is still to be done.
    std::fs::write(server.directory().join("apps/echo/storage/may"), "").unwrap();
    server.act("echo", "redeploy").expect(200);
    let second = format!("{first}release\npostdeploy.1 2\n");
    assert_eq!(ran(&server), second);
    server.act("echo", "redeploy").expect(200);
    assert_eq!(ran(&server), format!("{second}release\n"));
}

#[test]
fn an_application_whose_storage_was_kept_is_none_that_is_new() {
    let repo = repo(&json!({ "scripts": { "postdeploy": "echo postdeploy >> $STORAGE_DIR/ran" } }));
    let server = Server::start();
    server.deploy(&document(&repo));
    assert_eq!(ran(&server), "release\npostdeploy\n");
    server
        .send_and_wait("DELETE", "/applications/echo?keep=storage", &Value::Null)
        .expect(200);
    server.deploy(&document(&repo));
    assert_eq!(ran(&server), "release\npostdeploy\nrelease\n");
}

#[test]
fn health_checks_stand_where_the_document_has_none_and_what_is_ignored_is_told() {
    // The application notes that it was asked for this.
    let path = "/write?file=$STORAGE_DIR/asked";
    let checks = json!({ "web": [{ "type": "startup", "path": path }] });
    let repo = repo(&json!({ "formation": { "web": { "quantity": 2 } }, "healthchecks": checks }));
    let server = Server::start();
    server.deploy(&document(&repo));
    let asked = server.directory().join("apps/echo/storage/asked");
    assert!(asked.is_file());
    let own = json!({ "health_check": { "path": "/", "interval": "100ms" } });
    let patch = server.send_and_wait("PATCH", "/applications/echo", &own);
    patch.expect(200);
    eventually("the processes that are asked for it are gone", SOON, || {
        let status = server.status("echo");
        (status["processes"].as_array()?.len() == 1).then_some(())
    });
    std::fs::remove_file(&asked).unwrap();
    server.act("echo", "restart").expect(200);
    assert!(!asked.exists());
    let warnings = server.status("echo")["warnings"].to_string();
    assert!(warnings.contains("formation is ignored"), "{warnings}");
    assert!(
        warnings.contains("healthchecks is ignored, since the document has health_check"),
        "{warnings}"
    );
    repo.commit(&[("app.json", "{ not json")]);
    server.act("echo", "redeploy").expect(200);
    let warnings = server.status("echo")["warnings"].to_string();
    assert!(warnings.contains("app.json is no JSON"), "{warnings}");
}

#[test]
fn jobs_are_those_of_the_release_where_the_document_has_none() {
    let jobs = json!([
        { "command": "echo job >> $STORAGE_DIR/ran", "schedule": "@yearly" },
        { "command": "true", "schedule": "never" },
    ]);
    let repo = repo(&json!({ "cron": jobs }));
    let server = Server::start();
    server.deploy(&document(&repo));
    let names = || {
        let jobs = server.get("/applications/echo/cron").expect(200).json();
        let names = jobs.as_array().unwrap().iter();
        names.map(|job| job["name"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(), ["job-1"]);
    let warnings = server.status("echo")["warnings"].to_string();
    assert!(
        warnings.contains("entry 2 of cron is ignored"),
        "{warnings}"
    );
    let call = server.request("POST", "/applications/echo/cron/job-1/run");
    call.send(&server.public()).expect(201);
    eventually("it has run", SOON, || {
        ran(&server).ends_with("release\njob\n").then_some(())
    });
    let none = server.send_and_wait("PATCH", "/applications/echo", &json!({ "cron": [] }));
    none.expect(200);
    assert_eq!(names(), [""; 0]);
    // What a release brings along is told of when it is loaded.
    server.act("echo", "redeploy").expect(200);
    let warnings = server.status("echo")["warnings"].to_string();
    assert!(
        warnings.contains("since the document has cron"),
        "{warnings}"
    );
}
