//! An application from its creation to its removal.

use serde_json::{Value, json};

use crate::support::fixture::{document, web_files, web_repo, with};
use crate::support::http::{Peer, Request};
use crate::support::machine::{is_alive, processes_of};
use crate::support::server::Server;
use crate::support::wait::{SOON, eventually};

#[test]
fn creating_is_accepted_at_once_and_the_location_tells_how_it_ends() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let answer = server
        .send("POST", "/applications", &document("echo", &repo))
        .expect(202);
    let location = answer
        .header("location")
        .expect("a 202 has a Location")
        .to_owned();
    assert!(
        location.starts_with("/applications/echo/deployments/"),
        "{location}"
    );
    let record = eventually("the deployment is over", SOON, || {
        let record = server.get(&location).expect(200).json();
        record["finished"].is_string().then_some(record)
    });
    assert_eq!(record["state"], "succeeded", "{record}");
    assert_eq!(record["commit"], repo.commit_id(), "{record}");
    let steps: Vec<&Value> = record["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| &s["step"])
        .collect();
    assert!(
        steps.contains(&&json!("fetch")) && steps.contains(&&json!("start")),
        "{record}"
    );
    assert_eq!(server.visit("/echo/").expect(200).json()["version"], "1");
}

#[test]
fn an_app_is_reached_by_path_by_name_by_host_and_on_ports_of_its_own() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let own_port = server.spare_port();
    let changes = json!({ "domain": ["^echo\\.example$"], "port": own_port });
    server.deploy(&with(document("echo", &repo), changes));
    let at = |port: u16| Peer::Tcp(([127, 0, 0, 1], port).into());

    let by_path = server.visit("/echo/a%2Fb?x=1").expect(200).json();
    assert_eq!(by_path["path"], "/a%2Fb?x=1");
    assert_eq!(by_path["headers"]["x-forwarded-prefix"], "/echo");

    let by_name = Request::get("/a")
        .header("X-App", "echo")
        .send(&server.public())
        .expect(200)
        .json();
    assert_eq!(by_name["path"], "/a");
    assert_eq!(
        by_name["headers"].get("x-app"),
        None,
        "X-App is for the proxy"
    );

    let by_host = Request::get("/a")
        .header("Host", "Echo.Example:80")
        .send(&server.public());
    let by_host = by_host.expect(200).json();
    assert_eq!(by_host["path"], "/a");
    assert_eq!(
        by_host["headers"]["host"], "Echo.Example:80",
        "Host is kept"
    );

    // The name is no prefix on the app's own ports.
    let by_port = Request::get("/echo/a")
        .send(&at(own_port))
        .expect(200)
        .json();
    assert_eq!(by_port["path"], "/echo/a");
    let direct = server.process("echo", "web.1")["port"]
        .as_u64()
        .expect("a web process has a port");
    let directly = Request::get("/echo/a")
        .send(&at(u16::try_from(direct).unwrap()))
        .expect(200)
        .json();
    assert_eq!(directly["path"], "/echo/a");
    assert_eq!(
        directly["headers"].get("x-forwarded-for"),
        None,
        "nothing is between"
    );
}

#[test]
fn a_request_for_no_app_is_404() {
    let server = Server::start();
    server.visit("/nobody/").expect(404);
    Request::get("/")
        .header("X-App", "nobody")
        .send(&server.public())
        .expect(404);
}

#[test]
fn a_request_body_reaches_the_app_and_its_answer_comes_back() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("echo", &repo));
    let answer = Request::new("POST", "/echo/form")
        .body("hello app")
        .send(&server.public());
    let answer = answer.expect(200).json();
    assert_eq!(answer["method"], "POST");
    assert_eq!(answer["body"], "hello app");
}

#[test]
fn get_returns_what_put_takes() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let given = with(
        document("echo", &repo),
        json!({ "env": { "A": "1" }, "scale": { "web": 2 } }),
    );
    server.deploy(&given);
    let shown = server.get("/applications/echo").expect(200).json();
    for (field, value) in given.as_object().unwrap() {
        assert_eq!(&shown[field], value, "{field}");
    }
    server
        .send_and_wait("PUT", "/applications/echo", &shown)
        .expect(200);
    assert_eq!(server.get("/applications/echo").expect(200).json(), shown);
}

#[test]
fn the_list_names_every_app_and_its_state() {
    let (server, repo) = (Server::start(), web_repo("1"));
    assert_eq!(server.get("/applications").expect(200).json(), json!([]));
    server.deploy(&document("one", &repo));
    server.deploy(&document("two", &repo));
    server.act("two", "stop").expect(200);
    let list = server.get("/applications").expect(200).json();
    let seen: Vec<_> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|a| (&a["name"], &a["state"]))
        .collect();
    assert_eq!(
        seen,
        [
            (&json!("one"), &json!("running")),
            (&json!("two"), &json!("stopped"))
        ]
    );
}

#[test]
fn put_replaces_the_configuration_and_installs_again() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&with(
        document("echo", &repo),
        json!({ "env": { "COLOUR": "red" } }),
    ));
    let before = server.status("echo")["release"]
        .as_u64()
        .expect("a running app has a release");
    repo.commit(&[("VERSION", "2")]);
    let changed = with(document("echo", &repo), json!({ "scale": { "web": 2 } }));
    server
        .send_and_wait("PUT", "/applications/echo", &changed)
        .expect(200);

    let answer = server.visit("/echo/").expect(200).json();
    assert_eq!(answer["version"], "2");
    assert_eq!(answer["env"].get("COLOUR"), None, "replaced, not merged");
    assert!(server.status("echo")["release"].as_u64() > Some(before));
    server.ready_pid("echo", "web.1");
    server.ready_pid("echo", "web.2");
}

#[test]
fn stop_and_start_do_what_they_say_and_are_200_when_it_is_so_already() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("echo", &repo));
    let pid = server.ready_pid("echo", "web.1");
    let at_once = |action: &str| {
        server
            .request("POST", &format!("/applications/echo/{action}"))
            .send(&server.public())
    };

    at_once("start").expect(200);
    server.act("echo", "stop").expect(200);
    assert_eq!(server.status("echo")["state"], "stopped");
    assert!(!is_alive(pid));
    server.visit("/echo/").expect(503);
    at_once("stop").expect(200);

    server.act("echo", "start").expect(200);
    assert_eq!(server.status("echo")["state"], "running");
    server.visit("/echo/").expect(200);
}

#[test]
fn restart_gives_new_processes_of_the_same_release() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("echo", &repo));
    let (pid, release) = (
        server.ready_pid("echo", "web.1"),
        server.status("echo")["release"].clone(),
    );
    repo.commit(&[("VERSION", "2")]);
    server.act("echo", "restart").expect(200);
    assert_ne!(server.ready_pid("echo", "web.1"), pid);
    eventually("the old process is gone", SOON, || {
        (!is_alive(pid)).then_some(())
    });
    assert_eq!(server.status("echo")["release"], release);
    assert_eq!(server.visit("/echo/").expect(200).json()["version"], "1");
}

#[test]
fn redeploy_brings_the_newest_code() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("echo", &repo));
    let commit = repo.commit(&[("VERSION", "2")]);
    server.act("echo", "redeploy").expect(200);
    assert_eq!(server.visit("/echo/").expect(200).json()["version"], "2");
    assert_eq!(server.status("echo")["commit"], commit);
}

#[test]
fn the_strategy_recreate_redeploys_as_the_original_describes() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&with(
        document("echo", &repo),
        json!({ "strategy": "recreate" }),
    ));
    let pid = server.ready_pid("echo", "web.1");
    repo.commit(&web_files("2"));
    server.act("echo", "redeploy").expect(200);
    assert!(!is_alive(pid));
    assert_eq!(server.visit("/echo/").expect(200).json()["version"], "2");
}

#[test]
fn where_two_apps_match_a_host_the_one_created_first_answers() {
    let (server, first, second) = (Server::start(), web_repo("first"), web_repo("second"));
    let domain = json!({ "domain": ["^shared\\.example$"] });
    // Named so that the order of the alphabet is the other one.
    server.deploy(&with(document("zebra", &first), domain.clone()));
    server.deploy(&with(document("ape", &second), domain));
    let visit = || {
        Request::get("/")
            .header("Host", "shared.example")
            .send(&server.public())
    };
    assert_eq!(visit().expect(200).json()["version"], "first");
    let delete = server
        .request("DELETE", "/applications/zebra")
        .header("Prefer", "wait=50");
    delete.send(&server.public()).expect(200);
    assert_eq!(visit().expect(200).json()["version"], "second");
}

#[test]
fn a_request_for_an_app_that_is_starting_is_held_until_it_is_ready() {
    let (server, repo) = (Server::start(), web_repo("1"));
    repo.commit(&[("Procfile", "web: sleep 1; exec python3 web.py\n")]);
    server.deploy(&document("echo", &repo));
    server.act("echo", "stop").expect(200);
    let start = server.request("POST", "/applications/echo/start");
    start.send(&server.public()).expect(202);
    server.visit("/echo/").expect(200);
}

#[test]
fn a_path_prefix_can_be_kept_or_switched_off() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&with(
        document("kept", &repo),
        json!({ "strip_path": false }),
    ));
    assert_eq!(
        server.visit("/kept/a").expect(200).json()["path"],
        "/kept/a"
    );
    server.deploy(&with(document("hidden", &repo), json!({ "path": false })));
    server.visit("/hidden/a").expect(404);
}

#[test]
fn delete_leaves_no_process_and_no_file() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("echo", &repo));
    let pid = server.ready_pid("echo", "web.1");
    server
        .request("DELETE", "/applications/echo")
        .send(&server.public())
        .expect(202);
    eventually("the app is unknown", SOON, || {
        (server.get("/applications/echo").status == 404).then_some(())
    });
    server.visit("/echo/").expect(404);
    assert!(!is_alive(pid));
    assert_eq!(
        processes_of(server.directory()).len(),
        1,
        "only the server itself"
    );
    for gone in ["apps/echo", "run/apps/echo", "config/echo.json"] {
        assert!(
            !server.directory().join(gone).exists(),
            "{gone} is still there"
        );
    }
    // The name is free again.
    server.deploy(&document("echo", &repo));
}

#[test]
fn delete_can_keep_what_the_app_has_stored() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("echo", &repo));
    server
        .visit("/echo/write?file=$STORAGE_DIR/file")
        .expect(200);
    let delete = server
        .request("DELETE", "/applications/echo?keep=storage")
        .header("Prefer", "wait=50");
    delete.send(&server.public()).expect(200);
    let storage = server.directory().join("apps/echo/storage/file");
    assert_eq!(std::fs::read_to_string(storage).unwrap(), "written");
    assert!(!server.directory().join("apps/echo/releases").exists());
}
