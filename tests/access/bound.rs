//! A token for some applications sees these, and of others not even that they are there.

use serde_json::{Value, json};

use super::{get, request, send, token};
use crate::support::fixture::{document, web_repo, with};
use crate::support::server::Server;

/// A server with the applications `mine` and `other`.
fn two_apps() -> (Server, crate::support::repo::Repo) {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("mine", &repo));
    let hosts = json!({"hosts": ["other.example"], "domain": ["^mine"]});
    server.deploy(&with(document("other", &repo), hosts));
    (server, repo)
}

/// The names in a list of applications or routes.
fn names(list: &Value) -> Vec<&str> {
    let name = |item: &'_ Value| item.get("name").or(item.get("app")).cloned();
    assert!(
        list.as_array()
            .unwrap()
            .iter()
            .all(|item| name(item).is_some())
    );
    let items = list.as_array().unwrap().iter();
    let named = items.map(|item| item["name"].as_str().or(item["app"].as_str()));
    named.map(|name| name.expect("a name")).collect()
}

#[test]
fn lists_routes_and_events_leave_others_out() {
    let (server, _repo) = two_apps();
    let token = token(
        &server,
        &json!({"name": "a", "scope": "read", "apps": ["mine"]}),
    );
    let read = |target: &str| get(&server, &token, target).expect(200);
    assert_eq!(names(&read("/applications").json()), ["mine"]);
    assert_eq!(names(&read("/routes").json()), ["mine"]);
    for target in [
        "/routes?url=http://other.example/",
        "/routes?url=http://mine.example/mine/",
    ] {
        let text = read(target).text();
        assert!(!text.contains("\"other\""), "{target}: {text}");
        let all = server.get(target).text();
        assert!(all.contains("\"other\""), "{target}: {all}");
    }
    let events = request(&token, "GET", "/events").header("Last-Event-ID", "0");
    let mut events = events.open(&server.public()).unwrap();
    server.act("other", "restart").expect(200);
    server.act("mine", "stop").expect(200);
    let mut told = Vec::new();
    while !told
        .last()
        .is_some_and(|line: &String| line.contains("process.stopped"))
    {
        told.push(events.next_line());
    }
    assert!(
        told.iter().any(|line| line.contains("\"mine\"")),
        "{told:?}"
    );
    assert!(
        !told.iter().any(|line| line.contains("\"other\"")),
        "{told:?}"
    );
}

#[test]
fn nothing_tells_an_application_of_others_from_one_that_is_not_there() {
    let (server, repo) = two_apps();
    let token = token(
        &server,
        &json!({"name": "a", "scope": "admin", "apps": ["mine", "new"]}),
    );
    for (method, path) in [
        ("GET", ""),
        ("GET", "/status"),
        ("DELETE", ""),
        ("PATCH", ""),
        ("POST", "/stop"),
    ] {
        let answer = |app: &str| {
            let target = format!("/applications/{app}{path}");
            let answer = send(&server, &token, method, &target, &json!({"env": {}}));
            (answer.status, answer.text().replace(app, "APP"))
        };
        assert_eq!(answer("other"), answer("none"), "{method} {path}");
        assert_eq!(answer("none").0, 404);
    }
    let create = |app: &str| {
        send(
            &server,
            &token,
            "POST",
            "/applications",
            &document(app, &repo),
        )
    };
    assert_eq!(create("other").status, 403);
    assert_eq!(create("none").status, 403);
    create("new").expect(201);

    let hosts = |host: &str| {
        let change = json!({"hosts": [host]});
        send(&server, &token, "PATCH", "/applications/mine", &change)
    };
    let taken = hosts("other.example").expect(409).text();
    assert!(
        taken.contains("is taken") && !taken.contains("\"other\\\""),
        "{taken}"
    );
    let also = hosts("mine.example").expect(200).text();
    assert!(
        !also.contains("other"),
        "its pattern matches, which is not told: {also}"
    );
    send(&server, &token, "DELETE", "/applications/mine", &json!({})).expect(200);
    server.get("/applications/other").expect(200);
}

#[test]
fn a_token_for_some_applications_chooses_no_account_of_the_machine_and_no_name_of_others() {
    let (server, repo) = two_apps();
    let wish = json!({"name": "a", "scope": "admin", "apps": ["mine", "new"]});
    let token = token(&server, &wish);
    for change in [
        json!({"user": "daemon"}),
        json!({"group": "shadow"}),
        json!({"packages": ["cowsay"]}),
        json!({"domain": [".*"]}),
    ] {
        let refused = |method: &str, app: &str, document: &Value| {
            let target = match method {
                "POST" => "/applications".to_owned(),
                _ => format!("/applications/{app}"),
            };
            let answer = send(&server, &token, method, &target, document);
            assert_eq!(answer.status, 403, "{method} {change}: {}", answer.text());
            assert!(answer.text().contains("whole machine"));
        };
        refused("PATCH", "mine", &change);
        let whole = |app| with(document(app, &repo), change.clone());
        refused("PUT", "mine", &whole("mine"));
        refused("POST", "new", &whole("new"));
    }
    server.get("/applications/new").expect(404);
    // What somebody else has written stays, and the rest may be changed beside it.
    let named = json!({"domain": ["^mine[.]"]});
    server
        .send_and_wait("PATCH", "/applications/mine", &named)
        .expect(200);
    let env = json!({"env": {"A": "1"}});
    send(&server, &token, "PATCH", "/applications/mine", &env).expect(200);
    let present = get(&server, &token, "/applications/mine").json();
    send(&server, &token, "PUT", "/applications/mine", &present).expect(200);
}
