//! Events are kept: who had what done, and when; over restarts, and for who may see it.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::access::token_of;
use crate::support::command::{finish, procserver};
use crate::support::fixture::{document, web_repo, with};
use crate::support::http::{Request, Stream};
use crate::support::machine::send_signal;
use crate::support::server::Server;
use crate::support::wait::{SOON, eventually};

const SECRET: &str = "open-sesame-4711";

/// The events that `target` gives, once the last of them is `has`: they are written soon after they happen.
#[track_caller]
fn once(server: &Server, target: &str, has: impl Fn(&Value) -> bool) -> Vec<Value> {
    eventually("the events are kept", SOON, || {
        let events = server.get(target).expect(200).json();
        let events = events.as_array().expect("an array").clone();
        events.iter().any(&has).then_some(events)
    })
}

#[track_caller]
fn of<'a>(events: &'a [Value], name: &str) -> &'a Value {
    let found = events.iter().find(|event| event["event"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {events:#?}"))
}

fn is(name: &'static str) -> impl Fn(&Value) -> bool {
    move |event| event["event"] == name
}

#[test]
fn who_had_what_done_is_told_after_a_restart_too() {
    let mut server = Server::start();
    let repo = web_repo("1");
    let secret = json!({"env": {"KEY": SECRET}});
    server.deploy(&with(document("echo", &repo), secret));
    server
        .send_and_wait("PATCH", "/applications/echo", &json!({"scale": {"web": 2}}))
        .expect(200);
    let changed = json!({"env": {"KEY": format!("{SECRET}-new")}});
    server
        .send_and_wait("PATCH", "/applications/echo", &changed)
        .expect(200);
    server.act("echo", "restart").expect(200);
    let is_restart = |event: &Value| event["change"] == "restarted";
    let events = once(&server, "/events?tail=1000&app=echo", is_restart);
    let by = of(&events, "application.changed")["by"].clone();
    assert!(by.as_str().unwrap().starts_with("token "), "{by}");
    assert_eq!(of(&events, "application.changed")["change"], "created");
    assert_eq!(of(&events, "deployment.started")["by"], by);
    let finished = of(&events, "deployment.finished");
    assert_eq!((&finished["release"], &finished["by"]), (&1.into(), &by));
    assert_eq!(finished["commit"].as_str().unwrap().len(), 40);
    let details: Vec<_> = events.iter().filter_map(|e| e["detail"].as_str()).collect();
    assert!(
        details[0].starts_with("scale web ") && details[0].ends_with("→2"),
        "{details:?}"
    );
    assert_eq!(details[1..], ["env"]);
    let record = server.get("/applications/echo/deployments/1").json();
    assert_eq!(record["by"], by);

    send_signal(server.ready_pid("echo", "web.1"), Signal::SIGKILL);
    let exits = once(&server, "/events?tail=5&type=process.exited", |event| {
        event["exit"]["signal"] == 9
    });
    assert!(exits.iter().all(is("process.exited")));
    assert!(server.terminate().success());
    let path = server.directory().join("logs/events.log");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains(SECRET), "{text}");
    server.start_again();
    let again = once(
        &server,
        "/events?since=1h&type=application,deployment",
        is_restart,
    );
    assert_eq!(
        of(&again, "deployment.started"),
        of(&events, "deployment.started")
    );
    assert!(
        again.is_sorted_by_key(|event| event["id"].as_u64()),
        "{again:#?}"
    );
    let last = server
        .get("/events?tail=1&app=echo&type=application")
        .json();
    assert_eq!(last[0]["change"], "restarted");

    // Those that are kept come first, then what happens.
    let target = "/events?tail=1&type=application&follow=true";
    let mut stream = server
        .request("GET", target)
        .open(&server.public())
        .unwrap();
    let mut next = || loop {
        if let Some(data) = stream.next_line().strip_prefix("data: ") {
            return serde_json::from_str::<Value>(data).unwrap();
        }
    };
    assert_eq!(next()["change"], "restarted");
    server.act("echo", "stop").expect(200);
    assert_eq!(next()["change"], "stopped");

    let mut command = procserver();
    let socket = format!("unix:{}", server.socket().display());
    let shown = finish(command.args([
        "events",
        "echo",
        "-n",
        "20",
        "--type",
        "application",
        "--server",
        &socket,
    ]));
    assert!(
        shown.stdout.contains("echo application.changed by=token "),
        "{shown:?}"
    );
    assert!(shown.stdout.contains(" change=restarted\n"), "{shown:?}");
}

#[test]
fn who_sees_some_applications_is_told_of_these_alone() {
    let server = Server::start();
    let repo = web_repo("1");
    server.deploy(&document("echo", &repo));
    server.deploy(&document("other", &repo));
    once(
        &server,
        "/events?tail=100&app=other",
        is("deployment.finished"),
    );
    let wish = json!({"name": "one", "scope": "deploy", "apps": ["echo"]});
    let made = server.send("POST", "/tokens", &wish).expect(201).json();
    let call = |method: &str, target: &str| {
        let token = made["token"].as_str().unwrap();
        Request::new(method, target)
            .header("Authorization", &format!("Bearer {token}"))
            .send(&server.public())
    };
    call("POST", "/applications/echo/restart").expect(202);
    let seen = eventually("its own restart is told", SOON, || {
        let seen = call("GET", "/events?tail=100").expect(200).json();
        let seen = seen.as_array().unwrap().clone();
        seen.iter()
            .any(|event| event["by"] == "token one")
            .then_some(seen)
    });
    assert!(seen.iter().all(|event| event["app"] == "echo"), "{seen:#?}");
    call("GET", "/events?tail=100&app=other").expect(404);
    for target in [
        "/events?tail=x",
        "/events?tail=10001",
        "/events?type=A",
        "/events?since=never",
    ] {
        assert_eq!(call("GET", target).status, 422, "{target}");
    }
}

#[test]
fn what_became_of_another_application_of_the_name_is_not_told_to_who_sees_this_one() {
    let server = Server::start();
    let repo = web_repo("1");
    let wish = json!({"name": "one", "scope": "read", "apps": ["echo"]});
    let made = server.send("POST", "/tokens", &wish).expect(201).json();
    let seen = || {
        let seen = Request::get("/events?tail=1000&app=echo")
            .header(
                "Authorization",
                &format!("Bearer {}", made["token"].as_str().unwrap()),
            )
            .send(&server.public());
        seen.expect(200).json().as_array().unwrap().clone()
    };
    server.deploy(&document("echo", &repo));
    eventually("it is told", SOON, || {
        seen().iter().any(is("deployment.finished")).then_some(())
    });
    server.send_and_wait("DELETE", "/applications/echo", &Value::Null);
    let removed = |event: &Value| event["change"] == "removed";
    let all = once(&server, "/events?tail=1000&app=echo", removed);
    let last = all.last().unwrap()["id"].as_u64();
    server.deploy(&document("echo", &repo));
    let ofs = eventually("the new one's are told", SOON, || {
        let seen = seen();
        seen.iter().any(is("deployment.finished")).then_some(seen)
    });
    assert!(
        ofs.iter().all(|event| event["id"].as_u64() > last),
        "{ofs:#?}"
    );
}

#[test]
fn a_secret_that_an_application_had_once_is_not_told_with_what_happened_then() {
    let server = Server::start();
    let repo = web_repo("1");
    let fails = json!({"env": {"KEY": SECRET}, "install": [format!("false {SECRET}")]});
    let document = with(document("echo", &repo), fails);
    server.send_and_wait("POST", "/applications", &document);
    let target = "/events?tail=100&app=echo&type=deployment.finished";
    let all = once(&server, target, is("deployment.finished"));
    let reason = of(&all, "deployment.finished")["reason"].as_str().unwrap();
    assert!(reason.contains(SECRET), "{reason}");
    let read = token_of(&server, "read");
    let seen = || {
        let seen = Request::get(target)
            .header("Authorization", &format!("Bearer {read}"))
            .send(&server.public());
        let seen = seen.expect(200).json();
        of(seen.as_array().unwrap(), "deployment.finished")["reason"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(seen(), reason.replace(SECRET, "••••"));
    let other = json!({"env": {"KEY": "another-4712"}, "install": []});
    server.send_and_wait("PATCH", "/applications/echo", &other);
    assert_eq!(seen(), "••••");
}

#[test]
fn who_follows_on_from_what_is_kept_is_told_nothing_twice_and_nothing_old() {
    let server = Server::start();
    let repo = web_repo("1");
    server.deploy(&document("echo", &repo));
    let finished = once(&server, "/events?tail=100", is("deployment.finished"));
    let follow = |target: &str, last: Option<&Value>| {
        let mut request = server.request("GET", target);
        if let Some(id) = last {
            request = request.header("Last-Event-ID", &id.to_string());
        }
        let mut stream = request.open(&server.public()).unwrap();
        assert_eq!(stream.next_line(), ": following");
        stream
    };
    let next = |stream: &mut Stream| loop {
        if let Some(data) = stream.next_line().strip_prefix("data: ") {
            return serde_json::from_str::<Value>(data).unwrap();
        }
    };
    // Nothing that is kept is as new, or of this kind; what was reported before lies in memory still.
    let mut none = follow("/events?tail=0&type=application&follow=true", None);
    let mut of_kind = follow("/events?tail=9&type=route&follow=true", None);
    let last = &of(&finished, "application.changed")["id"];
    let mut back = follow("/events?tail=100&type=application&follow=true", Some(last));
    server.act("echo", "stop").expect(200);
    assert_eq!(next(&mut none)["change"], "stopped");
    assert_eq!(next(&mut back)["change"], "stopped");
    let routed = next(&mut of_kind);
    let before = of(&finished, "deployment.finished")["id"].as_u64();
    assert!(routed["id"].as_u64() > before, "{routed}");
}
