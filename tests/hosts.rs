//! `hosts` of the document: the names under which an application is reached.

use serde_json::{Value, json};

use crate::support::fixture::{document, web_repo, with};
use crate::support::http::{Request, Response};
use crate::support::repo::Repo;
use crate::support::server::Server;

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
