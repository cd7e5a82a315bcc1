//! `GET /routes` and `procserver route`: who would answer agrees with who answers.

use serde_json::{Value, json};

use crate::support::command::{finish, procserver};
use crate::support::fixture::{document, web_repo, with};
use crate::support::http::Request;
use crate::support::server::Server;
use crate::support::wait::{SOON, eventually};

fn server_with_two_apps() -> (Server, u16) {
    let (server, repo) = (Server::start(), web_repo("1"));
    let port = server.spare_port();
    for (name, more) in [
        ("blog", json!({ "domain": ["^blog\\."] })),
        ("wiki", json!({ "domain": ["example"], "port": port })),
    ] {
        server.deploy(&with(document(name, &repo), more));
    }
    (server, port)
}

#[test]
fn what_routes_says_is_what_happens() {
    let (server, port) = server_with_two_apps();
    for (host, target, x_app, app, rule) in [
        ("blog.example", "/a%2Fb?c", None, "blog", "host"),
        ("www.example", "/blog/", None, "wiki", "host"),
        ("other", "/blog/x", None, "blog", "path"),
        ("blog.example", "/", Some("wiki"), "wiki", "x-app"),
    ] {
        let mut query = format!("/routes?url=http://{host}{}", target.replace('%', "%25"));
        let mut request = Request::get(target)
            .header("Host", host)
            .header("X-Request-ID", "a");
        if let Some(x_app) = x_app {
            query.push_str(&format!("&x_app={x_app}"));
            request = request.header("X-App", x_app);
        }
        let told = server.get(&query).expect(200).json();
        assert_eq!((&told["app"], &told["rule"]), (&json!(app), &json!(rule)));
        let echoed = request.send(&server.public()).expect(200).json();
        assert_eq!(echoed["env"]["PROCSERVER_APP"], app, "{query}");
        assert_eq!(told["path"], echoed["path"], "{query}");
        assert_eq!(told["processes"][0]["id"], "web.1");
    }
    let told = server
        .get("/routes?url=http://blog.example/")
        .expect(200)
        .json();
    let others = json!([{"app": "wiki", "rule": "host", "pattern": "example"}]);
    assert_eq!(told["others"], others);
    let told = server
        .get(&format!("/routes?url=http://any:{port}/blog/"))
        .expect(200)
        .json();
    assert_eq!(
        (&told["app"], &told["rule"]),
        (&json!("wiki"), &json!("port"))
    );
}

#[test]
fn all_routes_are_listed_and_nonsense_is_refused() {
    let (server, port) = server_with_two_apps();
    let all = server.get("/routes").expect(200).json();
    let names: Vec<&Value> = all.as_array().unwrap().iter().map(|r| &r["app"]).collect();
    assert_eq!(names, ["blog", "wiki"]);
    assert_eq!(all[1]["port"], port);
    for query in [
        "url=ftp://a/",
        "x_app=blog",
        "uri=http://a/",
        "url=http://a b/",
    ] {
        let target = format!("/routes?{}", query.replace(' ', "%20"));
        server.get(&target).expect(422);
    }
    Request::get("/routes").send(&server.public()).expect(401);
}

#[test]
fn the_command_says_the_same() {
    let (server, _) = server_with_two_apps();
    let route = |arguments: &[&str]| {
        let mut command = procserver();
        command.arg("route").args(arguments);
        command.args(["--server", &server.url(), "--token", &server.token()]);
        finish(&mut command).success()
    };
    let text = route(&["http://blog.example/"]);
    assert!(
        text.starts_with("blog answers, by host ^blog\\.; it is ready\n"),
        "{text}"
    );
    assert!(
        text.contains("wiki matches too, by host example\n"),
        "{text}"
    );
    let told: Value = serde_json::from_str(&route(&["/", "--x-app", "wiki", "--json"])).unwrap();
    assert_eq!(
        (&told["app"], &told["rule"]),
        (&json!("wiki"), &json!("x-app"))
    );
    assert_eq!(route(&[]).lines().count(), 3);
}

#[test]
fn a_port_that_is_taken_is_a_warning_until_it_is_free() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let port = server.spare_port();
    let taken = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    server.deploy(&with(document("echo", &repo), json!({ "port": port })));
    let warnings = || server.status("echo")["warnings"].to_string();
    eventually("it is told", SOON, || {
        warnings().contains(&format!("port {port}: ")).then_some(())
    });
    drop(taken);
    eventually("it is over", SOON, || (warnings() == "[]").then_some(()));
}
