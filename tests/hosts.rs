//! `hosts` of the document: the names under which an application is reached.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::support::command::{Finished, finish, procserver};
use crate::support::fixture::{document, web_files, web_repo, with};
use crate::support::http::{Request, Response};
use crate::support::repo::Repo;
use crate::support::server::Server;
use crate::support::wait::{SOON, eventually};

fn asked(server: &Server, host: &str) -> Response {
    let request = Request::get("/x").header("Host", host);
    request.send(&server.public())
}

/// The app that answers for `host`.
#[track_caller]
fn answering(server: &Server, host: &str) -> Value {
    let echoed = asked(server, host).expect(200).json();
    echoed["env"]["PROCSERVER_APP"].clone()
}

fn named(app: &str, repo: &Repo, hosts: &[&str]) -> Value {
    with(
        document(app, repo),
        json!({ "hosts": hosts, "path": false }),
    )
}

#[test]
fn a_name_a_wildcard_and_a_pattern_lead_to_their_apps_in_this_order() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let pattern = json!({ "domain": ["example"], "path": false });
    server.deploy(&with(document("pattern", &repo), pattern));
    server.deploy(&named("wildcard", &repo, &["*.example.org"]));
    server.deploy(&named(
        "shop",
        &repo,
        &["Shop.example.org", "bücher.example"],
    ));
    for (host, app) in [
        ("shop.example.org", "shop"),
        ("SHOP.example.org.:8080", "shop"),
        ("xn--bcher-kva.example", "shop"),
        ("XN--Bcher-KVA.example", "shop"),
        ("blog.example.org", "wildcard"),
        ("a.shop.example.org", "pattern"),
        ("example.org", "pattern"),
    ] {
        assert_eq!(answering(&server, host), app, "{host}");
    }
    let kept = json!(["shop.example.org", "xn--bcher-kva.example"]);
    assert_eq!(server.get("/applications/shop").json()["hosts"], kept);
    assert_eq!(server.get("/routes").json()[2]["hosts"], kept);

    let told = server.get("/routes?url=http://shop.example.org/").json();
    assert_eq!((&told["app"], &told["name"]), (&json!("shop"), &kept[0]));
    let others = json!([{"app": "wildcard", "rule": "host", "name": "*.example.org"},
        {"app": "pattern", "rule": "host", "pattern": "example"}]);
    assert_eq!(told["others"], others);

    let pid = server.ready_pid("shop", "web.1");
    let moved = json!({ "hosts": ["new.example.com"] });
    server
        .send_and_wait("PATCH", "/applications/shop", &moved)
        .expect(200);
    assert_eq!(answering(&server, "new.example.com"), "shop");
    assert_eq!(answering(&server, "shop.example.org"), "wildcard");
    assert_eq!(server.ready_pid("shop", "web.1"), pid);
}

/// Fails unless a call is refused because `owner` has `host`.
#[track_caller]
fn belongs_to(answer: Response, host: &str, owner: &str) {
    let detail = answer.expect(409).json()["detail"].to_string();
    let wanted = format!("the host \\\"{host}\\\" belongs to \\\"{owner}\\\"");
    assert!(detail.contains(&wanted), "{detail}");
}

#[test]
fn a_name_belongs_to_one_app_and_to_the_next_once_it_is_free() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&named("first", &repo, &["a.example", "*.example"]));
    server.deploy(&named("second", &repo, &["b.example"]));
    let third = named("third", &repo, &["c.example", "A.example."]);
    let post = |document: &Value| server.send("POST", "/applications", document);
    belongs_to(post(&third), "a.example", "first");
    belongs_to(
        post(&named("third", &repo, &["*.EXAMPLE"])),
        "*.example",
        "first",
    );
    server.get("/applications/third").expect(404);
    let put = named("second", &repo, &["b.example", "a.example"]);
    belongs_to(
        server.send("PUT", "/applications/second", &put),
        "a.example",
        "first",
    );
    let patch = json!({ "hosts": ["a.example"] });
    let patched = || server.send_and_wait("PATCH", "/applications/second", &patch);
    belongs_to(patched(), "a.example", "first");
    assert_eq!(answering(&server, "a.example"), "first");
    assert_eq!(
        server.get("/applications/second").json()["hosts"],
        json!(["b.example"])
    );

    let freed = json!({ "hosts": ["*.example"] });
    server
        .send_and_wait("PATCH", "/applications/first", &freed)
        .expect(200);
    patched().expect(200);
    assert_eq!(answering(&server, "a.example"), "second");
    assert_eq!(answering(&server, "c.example"), "first");
    server
        .send_and_wait("DELETE", "/applications/second", &Value::Null)
        .expect(200);
    server.deploy(&third);
    assert_eq!(answering(&server, "a.example"), "third");
}

#[test]
fn of_apps_that_come_with_one_name_at_once_one_gets_it() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let create = |app: usize| {
        let document = named(&format!("app{app}"), &repo, &["a.example"]);
        server.send("POST", "/applications", &document).status
    };
    let mut statuses: Vec<u16> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..8).map(|app| scope.spawn(move || create(app))).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    statuses.sort_unstable();
    assert_eq!(statuses, [202, 409, 409, 409, 409, 409, 409, 409]);
    let apps = server.get("/applications").json();
    assert_eq!(apps.as_array().map(Vec::len), Some(1));
    eventually("it answers", SOON, || {
        (asked(&server, "a.example").status == 200).then_some(())
    });
}

#[test]
fn names_move_between_documents_in_the_directory_and_a_second_owner_is_left_out() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&named("first", &repo, &["a.example"]));
    server.deploy(&named("other", &repo, &["b.example"]));
    let write = |app: &str, hosts: &[&str]| {
        let path = server.config_directory().join(format!("{app}.json"));
        std::fs::write(path, named(app, &repo, hosts).to_string()).unwrap();
    };
    write("first", &["a.example", "b.example"]);
    write("other", &["c.example"]);
    eventually("the name has moved", SOON, || {
        let answer = asked(&server, "b.example");
        (answer.status == 200 && answer.json()["env"]["PROCSERVER_APP"] == "first").then_some(())
    });
    write("other", &["a.example"]);
    let warning = eventually("it is told", SOON, || {
        let warnings = server.status("other")["warnings"].to_string();
        warnings.contains("a.example").then_some(warnings)
    });
    assert!(
        warning.contains("belongs to") && warning.contains("last good"),
        "{warning}"
    );
    assert_eq!(answering(&server, "c.example"), "other");
    assert_eq!(answering(&server, "a.example"), "first");
}

#[track_caller]
fn run(server: &Server, arguments: &[&str]) -> Finished {
    let socket = format!("unix:{}", server.socket().display());
    finish(procserver().args(arguments).env("PROCSERVER_URL", socket))
}

#[test]
fn the_command_line_adds_shows_and_takes_names() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let create = [
        "create",
        "hello",
        "--repo",
        &repo.url(),
        "--host",
        "Hello.example.org",
    ];
    run(&server, &create).success();
    assert_eq!(answering(&server, "hello.example.org"), "hello");
    assert!(
        run(&server, &["apps"])
            .success()
            .contains("http://hello.example.org")
    );
    let added = run(
        &server,
        &[
            "domains",
            "add",
            "hello",
            "*.hello.example",
            "bücher.example",
        ],
    );
    assert!(added.success().contains("xn--bcher-kva.example"));
    assert_eq!(answering(&server, "xn--bcher-kva.example"), "hello");
    let shown = run(&server, &["domains", "hello"]).success();
    assert_eq!(shown.lines().count(), 4, "{shown}");
    assert!(shown.contains("wildcard"), "{shown}");
    let told = run(&server, &["route", "http://x.hello.example/"]).success();
    assert!(
        told.starts_with("hello answers, by host *.hello.example; it is ready\n"),
        "{told}"
    );
    run(
        &server,
        &[
            "domains",
            "rm",
            "hello",
            "bücher.example",
            "*.hello.example",
        ],
    )
    .success();
    let json: Value =
        serde_json::from_str(&run(&server, &["domains", "hello", "--json"]).success()).unwrap();
    assert_eq!(json, json!({"hosts": ["hello.example.org"], "domain": []}));
    let missing = run(&server, &["domains", "rm", "hello", "bücher.example"]);
    assert!(
        missing.stderr.contains("has no host xn--bcher-kva.example"),
        "{missing:?}"
    );
    let wrong = run(
        &server,
        &["domains", "add", "hello", "https://hello.example/"],
    );
    assert!(
        wrong.stderr.contains("write \"hello.example\""),
        "{wrong:?}"
    );
    // As users of Heroku and Dokku type it.
    let added = run(&server, &["domains:add", "hello", "www.example.org"]);
    assert!(
        added.stdout.contains("hosts: www.example.org added"),
        "{added:?}"
    );
}

const PROCFILE: &str =
    "web: exec python3 web.py\ncable: exec python3 web.py\nworker: exec sleep 1000\n";

fn process_repo(version: &str) -> Repo {
    let [_, program, version] = web_files(version);
    Repo::new(&[("Procfile", PROCFILE), program, version])
}

fn with_cable(repo: &Repo, cables: u32) -> Value {
    let hosts = json!(["a.example", {"name": "ws.example", "process": "cable"}]);
    let scale = json!({ "cable": cables });
    let check = json!({ "interval": "100ms", "boot_timeout": "10s" });
    let changes = json!({ "hosts": hosts, "scale": scale, "health_check": check });
    with(document("app", repo), changes)
}

/// The process that answers for `host`.
#[track_caller]
fn process(server: &Server, host: &str) -> String {
    let echoed = asked(server, host).expect(200).json();
    echoed["env"]["PS"].as_str().unwrap().to_owned()
}

#[test]
fn a_name_leads_to_the_process_type_that_it_is_for() {
    let (server, repo) = (Server::start(), process_repo("1"));
    server.deploy(&with_cable(&repo, 2));
    assert_eq!(process(&server, "a.example"), "web.1");
    let by_path = Request::get("/app/")
        .send(&server.public())
        .expect(200)
        .json();
    assert_eq!(by_path["env"]["PS"], "web.1");
    let answering: BTreeSet<_> = (0..40).map(|_| process(&server, "ws.example")).collect();
    assert_eq!(
        answering,
        ["cable.1".to_owned(), "cable.2".to_owned()].into()
    );

    let told = server.get("/routes?url=http://ws.example/").json();
    assert_eq!(
        (&told["app"], &told["name"]),
        (&json!("app"), &json!("ws.example"))
    );
    let ids: Vec<_> = told["processes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| &p["id"])
        .collect();
    assert_eq!(ids, ["cable.1", "cable.2"]);
    let kept = &server.get("/applications/app").json()["hosts"][1];
    assert_eq!(*kept, json!({"name": "ws.example", "process": "cable"}));

    let pid = server.ready_pid("app", "web.1");
    let scaled = run(&server, &["scale", "app", "cable=0"]);
    scaled.success();
    let refused = asked(&server, "ws.example").expect(503).text();
    assert!(refused.contains("runs no cable process"), "{refused}");
    assert_eq!(process(&server, "a.example"), "web.1");
    run(&server, &["scale", "app", "cable=1"]).success();
    assert_eq!(process(&server, "ws.example"), "cable.1");
    assert_eq!(server.ready_pid("app", "web.1"), pid);

    let added = run(
        &server,
        &[
            "domains",
            "add",
            "app",
            "ws2.example=cable",
            "w.example=worker",
        ],
    );
    assert_eq!(added.code, Some(1), "{added:?}");
    assert!(added.stderr.contains("worker.1"), "{added:?}");
    assert_eq!(process(&server, "ws.example"), "cable.1");
    let patch = json!({ "hosts": ["a.example"] });
    server
        .send_and_wait("PATCH", "/applications/app", &patch)
        .expect(200);
    asked(&server, "ws.example").expect(404);
    assert_eq!(process(&server, "a.example"), "web.1");
}

#[test]
fn another_process_type_is_replaced_without_a_failed_request() {
    let (server, repo) = (Server::start(), process_repo("1"));
    server.deploy(&with_cable(&repo, 1));
    let is_over = AtomicBool::new(false);
    let answers = std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut answers = Vec::new();
            while !is_over.load(Ordering::SeqCst) {
                let answer = asked(&server, "ws.example");
                answers.push((answer.status, answer.json()["version"].clone()));
            }
            answers
        });
        repo.commit(&[("VERSION", "2")]);
        server.act("app", "redeploy").expect(200);
        server.act("app", "restart").expect(200);
        is_over.store(true, Ordering::SeqCst);
        load.join().unwrap()
    });
    assert!(
        answers.iter().all(|(status, _)| *status == 200),
        "{answers:?}"
    );
    assert_eq!(answers.first().map(|a| &a.1), Some(&json!("1")));
    assert_eq!(asked(&server, "ws.example").json()["version"], "2");
}

#[test]
fn a_type_that_the_procfile_lacks_is_a_warning_and_release_is_refused() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let named = |process: &str| {
        let hosts = json!([{"name": "ws.example", "process": process}]);
        with(document("app", &repo), json!({ "hosts": hosts }))
    };
    let refused = server.send("POST", "/applications", &named("release"));
    let errors = refused.expect(422).json()["errors"].clone();
    assert_eq!(errors[0]["pointer"], "/hosts/0/process");
    server.deploy(&named("cable"));
    let warnings = server.status("app")["warnings"].to_string();
    assert!(warnings.contains("hosts names \\\"cable\\\""), "{warnings}");
    asked(&server, "ws.example").expect(503);
}

#[test]
fn who_takes_a_name_out_of_a_pattern_is_told_so() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let pattern = json!({ "domain": ["example"], "path": false });
    server.deploy(&with(document("all", &repo), pattern));
    let url = repo.url();
    let create = ["create", "shop", "--repo", &url, "--host", "shop.example"];
    let created = run(&server, &create);
    let wanted = "shop.example also matches the domain of \"all\"";
    assert!(created.stderr.contains(wanted), "{created:?}");
    let restarted = run(&server, &["restart", "shop"]);
    assert!(!restarted.stderr.contains(wanted), "{restarted:?}");
    let same = json!({ "hosts": ["SHOP.example"] });
    let patched = server.send_and_wait("PATCH", "/applications/shop", &same);
    assert_eq!(patched.expect(200).json()["changed"], false);
    let widened = run(&server, &["set", "all", "domain=[\"ample\"]"]);
    assert!(
        widened.stderr.contains("stays with \"shop\""),
        "{widened:?}"
    );
    assert_eq!(answering(&server, "shop.example"), "shop");
}

#[test]
fn of_many_names_that_are_added_at_once_none_is_lost() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("hello", &repo));
    std::thread::scope(|scope| {
        for person in 0..4 {
            let server = &server;
            scope.spawn(move || {
                for number in 0..5 {
                    let name = format!("n{person}-{number}.example");
                    run(server, &["domains", "add", "hello", &name]).success();
                }
            });
        }
    });
    let document = server.get("/applications/hello").expect(200).json();
    assert_eq!(
        document["hosts"].as_array().unwrap().len(),
        20,
        "{document}"
    );
}

#[test]
fn a_change_of_another_state_than_was_seen_is_refused() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("hello", &repo));
    let seen = server.get("/applications/hello").expect(200);
    let tag = seen.header("ETag").unwrap().to_owned();
    assert!(tag.starts_with('"'), "{tag}");
    let change = |method: &str, tag: &str, document: &Value| {
        let request = server.request(method, "/applications/hello");
        let request = request.header("If-Match", tag).header("Prefer", "wait=50");
        let request = request.header("Content-Type", "application/json");
        request.body(document.to_string()).send(&server.public())
    };
    change("PATCH", &tag, &json!({ "hosts": ["a.example"] })).expect(200);
    let stale = change("PATCH", &tag, &json!({ "hosts": ["b.example"] })).expect(412);
    assert!(stale.text().contains("has changed"), "{}", stale.text());
    let mut whole = seen.json();
    whole["hosts"] = json!(["c.example"]);
    change("PUT", &tag, &whole).expect(412);
    let seen = server.get("/applications/hello").expect(200);
    assert_eq!(seen.json()["hosts"], json!(["a.example"]));
    let tag = seen.header("ETag").unwrap();
    change("PUT", &format!("\"other\", {tag}"), &whole).expect(200);
    change("PATCH", "*", &json!({ "hosts": ["d.example"] })).expect(200);
    change("PATCH", "rubbish", &json!({ "hosts": ["e.example"] })).expect(412);
    let document = server.get("/applications/hello").expect(200).json();
    assert_eq!(document["hosts"], json!(["d.example"]));
    let remove = |tag: &str| {
        let request = server.request("DELETE", "/applications/hello");
        let request = request.header("If-Match", tag).header("Prefer", "wait=50");
        request.send(&server.public())
    };
    remove(tag).expect(412);
    let seen = server.get("/applications/hello").expect(200);
    remove(seen.header("ETag").unwrap()).expect(200);
    server.get("/applications/hello").expect(404);
}
