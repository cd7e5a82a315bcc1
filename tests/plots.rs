//! `GET /-/history`: what was counted is kept for plots, over restarts too, and told to who may see it.

use serde_json::{Value, json};

use crate::access::token_of;
use crate::support::fixture::{document, web_repo};
use crate::support::http::Request;
use crate::support::server::Server;
use crate::support::wait::{SOON, eventually};

/// The sum of `field` over all points of the server or an application.
fn sum(history: &Value, field: &str) -> u64 {
    let points = history["points"].as_array().expect("points");
    points
        .iter()
        .filter_map(|point| point[field].as_u64())
        .sum()
}

/// The history of the application once it has so many requests: a reading may be some seconds old.
#[track_caller]
fn once_it_has(server: &Server, requests: u64) -> Value {
    eventually("the requests are in the history", SOON, || {
        let history = server.get("/applications/echo/history").expect(200).json();
        (sum(&history, "requests") == requests).then_some(history)
    })
}

#[test]
fn what_was_done_is_kept_over_a_restart_and_goes_with_its_application() {
    let mut server = Server::start();
    let repo = web_repo("1");
    server.deploy(&document("echo", &repo));
    once_it_has(&server, 0);
    for _ in 0..3 {
        server.visit("/echo/x").expect(200);
    }
    server.visit("/echo/exit?code=3").expect(502);
    let history = once_it_has(&server, 4);
    assert_eq!(sum(&history, "status_5xx"), 1);
    let last = history["points"].as_array().unwrap().last().unwrap();
    assert_eq!(history["step_seconds"], 300);
    assert!(last["p50_seconds"].as_f64().unwrap() > 0.0, "{last}");
    assert!(last["memory_bytes"].as_u64().unwrap() > 100_000, "{last}");
    let fine = server.get("/applications/echo/history?since=30m").json();
    assert_eq!(
        (&fine["step_seconds"], sum(&fine, "requests")),
        (&60.into(), 4)
    );
    let all = server.get("/-/history").expect(200).json();
    assert!(sum(&all["server"], "requests") >= 4, "{all}");
    assert_eq!(all["applications"]["echo"]["requests"], 4, "{all}");
    assert!(server.terminate().success());
    server.start_again();
    once_it_has(&server, 4);
    eventually("it serves again", SOON, || {
        (server.try_visit("/echo/x")? == 200).then_some(())
    });
    assert!(server.terminate().success());
    // Whatever lies there keeps no server from starting.
    std::fs::write(
        server.directory().join("history"),
        "{\"version\":1}\n{rubbish",
    )
    .unwrap();
    server.start_again();
    assert!(
        server.log().contains("the history begins anew"),
        "{}",
        server.log()
    );
    once_it_has(&server, 0);
    let is_told = || {
        let all = server.get("/-/history").expect(200).json();
        all["applications"]["echo"].is_object()
    };
    eventually("it is in the history", SOON, || is_told().then_some(()));
    server.send_and_wait("DELETE", "/applications/echo", &Value::Null);
    server.get("/applications/echo/history").expect(404);
    // A reading may be some seconds old.
    eventually("it is gone", SOON, || (!is_told()).then_some(()));
}

#[test]
fn who_sees_some_applications_sees_nothing_of_others_or_of_the_server() {
    let server = Server::start();
    let repo = web_repo("1");
    server.deploy(&document("echo", &repo));
    server.deploy(&document("other", &repo));
    let wish = json!({"name": "one", "scope": "read", "apps": ["echo"]});
    let made = server.send("POST", "/tokens", &wish).expect(201).json();
    let get = |token: &str, target: &str| {
        Request::get(target)
            .header("Authorization", &format!("Bearer {token}"))
            .send(&server.public())
    };
    let one = made["token"].as_str().unwrap();
    let seen = eventually("it is in the history", SOON, || {
        let seen = get(one, "/-/history").expect(200).json();
        seen["applications"]["echo"].is_object().then_some(seen)
    });
    assert_eq!(seen["applications"].as_object().unwrap().len(), 1, "{seen}");
    assert_eq!(seen.get("server"), None);
    get(one, "/applications/echo/history").expect(200);
    get(one, "/applications/other/history").expect(404);
    let read = token_of(&server, "read");
    assert!(get(&read, "/-/history").expect(200).json()["server"].is_object());
    for target in [
        "/-/history?since=never",
        "/-/history?sinse=1h",
        "/applications/echo/history?since=",
    ] {
        assert_eq!(get(&read, target).status, 422, "{target}");
    }
}
