//! What a person is told at once: in the answer to a change, in the list of applications, in their status.

use serde_json::{Value, json};

use crate::support::fixture::{document, web_repo, with};
use crate::support::repo::Repo;
use crate::support::server::Server;
use crate::support::wait::{SOON, eventually};

#[track_caller]
fn listed(server: &Server, name: &str) -> Value {
    let list = server.get("/applications").expect(200).json();
    let found = list.as_array().unwrap().iter().find(|a| a["name"] == name);
    found
        .unwrap_or_else(|| panic!("no {name} in {list}"))
        .clone()
}

#[test]
fn a_change_that_does_not_do_what_it_looks_like_is_warned_of_in_its_answer() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("echo", &repo));
    for (patch, word) in [
        (json!({ "scale": { "wbe": 2 } }), "\\\"wbe\\\""),
        (json!({ "env": { "PORT": "99" } }), "env.PORT has no effect"),
        (json!({ "domain": ["example.com"] }), "notexample.com"),
        (json!({ "static": { "dir": "nowhere" } }), "static.dir"),
    ] {
        let answer = server.send_and_wait("PATCH", "/applications/echo", &patch);
        let answer = answer.expect(200).json();
        let told = answer["warnings"].to_string();
        assert!(told.contains(word), "{patch}: {answer}");
        let status = server.status("echo")["warnings"].to_string();
        assert!(status.contains(word), "{patch}: {status}");
    }
    for (env, pointer) in [
        (json!({ "PROCSERVER_X": "1" }), "/env/PROCSERVER_X"),
        (json!({ "PATH": "$HOME/bin:$PATH" }), "/env/PATH"),
    ] {
        let patch = json!({ "env": env });
        let refused = server.send("PATCH", "/applications/echo", &patch);
        assert_eq!(refused.expect(422).json()["errors"][0]["pointer"], pointer);
    }
    let env = &server.visit("/echo/").expect(200).json()["env"];
    assert_eq!(env["PYTHONUNBUFFERED"], "1");
}

#[test]
fn a_committed_env_and_a_type_that_is_named_twice_are_warned_of() {
    let (server, repo) = (Server::start(), web_repo("1"));
    repo.commit(&[
        (".env", "A=1\n"),
        ("Procfile", "web: exit 1\nweb: exec python3 web.py\n"),
    ]);
    server.deploy(&document("echo", &repo));
    let told = server.status("echo")["warnings"].to_string();
    assert!(told.contains(".env is committed"), "{told}");
    assert!(told.contains("named again on line 2"), "{told}");
}

#[test]
fn a_failed_deploy_is_told_by_list_and_status_until_the_next_good_one() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("echo", &repo));
    let app = listed(&server, "echo");
    assert_eq!(app["commit"], repo.commit_id());
    assert_eq!(app["url"], "http://127.0.0.1/echo/");
    assert!(app["memory_bytes"].as_u64().unwrap() > 0, "{app}");
    assert!(app["last_failure"].is_null(), "{app}");
    let install = json!({ "install": ["echo broken; exit 3"] });
    let put = with(document("echo", &repo), install);
    server
        .send_and_wait("PUT", "/applications/echo", &put)
        .expect(422);
    for shown in [listed(&server, "echo"), server.status("echo")] {
        assert_eq!(shown["state"], "running", "{shown}");
        assert_eq!(shown["last_failure"]["deployment"], 2, "{shown}");
        assert_eq!(shown["last_failure"]["step"], "install", "{shown}");
    }
    let told = server.status("echo")["warnings"].to_string();
    assert!(told.contains("deployment 2 failed"), "{told}");
    let good = document("echo", &repo);
    server
        .send_and_wait("PUT", "/applications/echo", &good)
        .expect(200);
    assert!(listed(&server, "echo")["last_failure"].is_null());
}

#[test]
fn an_app_of_which_a_worker_waits_for_its_restart_is_degraded() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let worker = "web: exec python3 web.py\nworker: until [ -e $STORAGE_DIR/down ]; do sleep 0.1; done; exit 1\n";
    repo.commit(&[("Procfile", worker)]);
    server.deploy(&document("echo", &repo));
    assert_eq!(listed(&server, "echo")["state"], "running");
    std::fs::write(server.directory().join("apps/echo/storage/down"), "").unwrap();
    eventually("it is degraded", SOON, || {
        (listed(&server, "echo")["state"] == "degraded").then_some(())
    });
    server.visit("/echo/").expect(200);
}

#[test]
fn an_app_that_was_never_deployed_points_to_its_install_log() {
    let server = Server::start();
    let repo = Repo::new(&[("Procfile", "web: exec true\n")]);
    let install = json!({ "install": ["exit 3"] });
    let document = with(document("echo", &repo), install);
    server
        .send_and_wait("POST", "/applications", &document)
        .expect(422);
    let answer = server.visit("/echo/").expect(503).text();
    assert!(
        answer.contains("procserver logs echo --install"),
        "{answer}"
    );
    let app = listed(&server, "echo");
    assert_eq!(
        (&app["state"], &app["last_failure"]["step"]),
        (&json!("failed"), &json!("install"))
    );
}

#[test]
fn what_is_left_of_an_app_without_a_document_is_listed_and_removed_by_a_call() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("echo", &repo));
    let orphans = || server.get("/applications?orphans=true").expect(200).json();
    assert_eq!(orphans(), json!([]));
    server
        .send("DELETE", "/applications/echo?orphan=true", &Value::Null)
        .expect(409);
    server
        .send("DELETE", "/applications/none?orphan=true", &Value::Null)
        .expect(404);
    let storage = server.directory().join("apps/echo/storage");
    std::fs::write(storage.join("kept"), "").unwrap();
    server
        .send_and_wait("DELETE", "/applications/echo?keep=storage", &Value::Null)
        .expect(200);
    assert_eq!(orphans()[0]["name"], "echo");
    assert!(storage.join("kept").exists());
    server
        .send("DELETE", "/applications/echo?orphan=true", &Value::Null)
        .expect(200);
    assert!(!server.directory().join("apps/echo").exists());
    assert_eq!(orphans(), json!([]));
}

#[test]
fn what_has_a_document_that_is_not_taken_is_no_orphan() {
    let mut server = Server::start();
    server.kill();
    let kept = server.directory().join("apps/echo/storage/kept");
    std::fs::create_dir_all(kept.parent().unwrap()).unwrap();
    std::fs::write(&kept, "").unwrap();
    let file = server.directory().join("config/echo.json");
    std::fs::write(&file, "{ name: 'echo', engine: 'swarm' }").unwrap();
    server.start_again();
    let listed = server.get("/applications?orphans=true").expect(200).json();
    assert_eq!(listed, json!([]));
    let refused = server.send("DELETE", "/applications/echo?orphan=true", &Value::Null);
    let told = refused.expect(409).text();
    assert!(told.contains(&*file.to_string_lossy()), "{told}");
    assert!(kept.exists());
}
