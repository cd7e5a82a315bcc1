//! What the API refuses, and how it says so: nothing changes after a refusal.

use serde_json::{Value, json};

use crate::support::fixture::{ORIGINAL_EXAMPLE, document, web_repo, with};
use crate::support::http::{Request, Response};
use crate::support::machine::{is_root, skip};
use crate::support::repo::Repo;
use crate::support::server::Server;
use crate::support::setup::Setup;
use crate::support::wait::{SOON, eventually};

/// Fails unless `answer` is a problem document (RFC 9457) of this status; returns it.
#[track_caller]
fn problem(answer: Response, status: u16) -> Value {
    let answer = answer.expect(status);
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json")
    );
    let problem = answer.json();
    assert_eq!(problem["status"], status, "{problem}");
    for member in ["type", "title", "detail"] {
        assert!(
            problem[member].as_str().is_some_and(|s| !s.is_empty()),
            "{member} in {problem}"
        );
    }
    problem
}

/// Fails unless the server has no application, in memory and on disk.
#[track_caller]
fn assert_nothing_changed(server: &Server) {
    assert_eq!(server.get("/applications").expect(200).json(), json!([]));
    let files = |directory: &str| {
        std::fs::read_dir(server.directory().join(directory)).map_or(0, |entries| entries.count())
    };
    assert_eq!(
        (files("config"), files("apps")),
        (0, 0),
        "files in config and apps"
    );
}

fn post(server: &Server, body: &str) -> Response {
    let request = server
        .request("POST", "/applications")
        .header("Content-Type", "application/json");
    request.body(body).send(&server.public())
}

#[test]
fn the_example_of_the_original_specification_is_accepted_as_printed() {
    if !is_root() {
        return skip(
            "the example of the original",
            "it names www-data, and only root can switch users",
        );
    }
    let server = Server::start();
    post(&server, ORIGINAL_EXAMPLE).expect(202);
    let shown = server.get("/applications/rubynas").expect(200).json();
    assert_eq!(
        shown["repo"],
        json!({ "url": "git://github.com/rubynas/rubynas.git", "branch": "master" })
    );
    assert_eq!(shown["packages"].as_array().map(Vec::len), Some(22));
    assert_eq!(shown["domain"], json!(["^rubynas.*", "^rubynas.local$"]));
    assert_eq!(shown["scale"], json!({ "web": 2 }));
    // Its packages are of 2012. It goes as it came, also in the middle of its deployment.
    server
        .request("DELETE", "/applications/rubynas")
        .send(&server.public())
        .expect(202);
    eventually("the app is unknown", SOON, || {
        (server.get("/applications/rubynas").status == 404).then_some(())
    });
}

#[test]
fn what_is_not_json_is_400_and_names_line_and_column() {
    let server = Server::start();
    let problem = problem(post(&server, "{\n  name: @\n}"), 400);
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.contains("line 2") && detail.contains("column"),
        "{detail}"
    );
    for body in ["", "[", "null", "\"text\"", "[]"] {
        let status = post(&server, body).status;
        assert!(matches!(status, 400 | 422), "{body:?}: {status}");
    }
    assert_nothing_changed(&server);
}

#[test]
fn over_tcp_every_call_but_healthz_needs_the_token() {
    let calls = [
        ("GET", "/applications"),
        ("POST", "/applications"),
        ("GET", "/applications/echo"),
        ("DELETE", "/applications/echo"),
        ("POST", "/applications/echo/stop"),
        ("GET", "/applications/echo/logs/stdout"),
    ];
    let wrong = [
        None,
        Some("Bearer "),
        Some("Bearer wrong"),
        Some("Basic d3Jvbmc6d3Jvbmc="),
    ];
    for authorization in wrong {
        // An address has ten guesses a minute.
        let server = Server::start();
        for (method, target) in calls {
            let mut request = Request::new(method, target);
            if let Some(value) = authorization {
                request = request.header("Authorization", value);
            }
            let answer = request.send(&server.public());
            assert!(
                answer
                    .header("www-authenticate")
                    .is_some_and(|v| v.starts_with("Bearer"))
            );
            problem(answer, 401);
        }
        server.visit("/healthz").expect(200);
        assert_nothing_changed(&server);
    }
}

#[test]
fn what_does_not_exist_is_404() {
    let (server, repo) = (Server::start(), web_repo("1"));
    for target in ["", "/status", "/deployments", "/logs/stdout"] {
        problem(server.get(&format!("/applications/nobody{target}")), 404);
    }
    problem(
        server.send("PUT", "/applications/nobody", &document("nobody", &repo)),
        404,
    );
    problem(
        server
            .request("DELETE", "/applications/nobody")
            .send(&server.public()),
        404,
    );
    problem(server.act("nobody", "restart"), 404);
    assert_nothing_changed(&server);
}

#[test]
fn a_method_that_a_resource_lacks_is_405_with_allow() {
    let server = Server::start();
    let answer = server
        .request("DELETE", "/applications")
        .send(&server.public());
    let allow = answer.header("allow").expect("405 has Allow").to_owned();
    problem(answer, 405);
    assert!(allow.contains("GET") && allow.contains("POST"), "{allow}");
}

#[test]
fn a_name_that_is_taken_is_409_and_the_app_stays_as_it_was() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("echo", &repo));
    let before = server.get("/applications/echo").json();
    let pid = server.ready_pid("echo", "web.1");
    let second = with(document("echo", &repo), json!({ "env": { "A": "1" } }));
    problem(server.send("POST", "/applications", &second), 409);
    assert_eq!(server.get("/applications/echo").json(), before);
    assert_eq!(server.ready_pid("echo", "web.1"), pid);
}

#[test]
fn a_document_that_is_too_large_is_413() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let large = json!({ "env": { "A": "a".repeat(1_200_000) } });
    problem(
        server.send(
            "POST",
            "/applications",
            &with(document("echo", &repo), large),
        ),
        413,
    );
    assert_nothing_changed(&server);
}

#[test]
fn what_does_not_claim_to_be_json_is_415() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let request = server
        .request("POST", "/applications")
        .header("Content-Type", "image/png");
    let answer = request
        .body(document("echo", &repo).to_string())
        .send(&server.public());
    problem(answer, 415);
    assert_nothing_changed(&server);
}

/// Changes to a good document, each with the pointer that the refusal must give.
fn invalid_documents() -> Vec<(Value, &'static str)> {
    let repository = |url: &str| (json!({ "repo": { "url": url } }), "/repo/url");
    vec![
        (json!({ "colour": "red" }), "/colour"),
        (
            json!({ "repo": { "url": "https://example.org/a.git", "brunch": "main" } }),
            "/repo/brunch",
        ),
        (json!({ "name": "Not A Name" }), "/name"),
        (json!({ "name": "../../etc" }), "/name"),
        (json!({ "name": "healthz" }), "/name"),
        (json!({ "name": 7 }), "/name"),
        repository(""),
        repository("--upload-pack=touch /tmp/procserver-was-here"),
        repository("-oProxyCommand=touch /tmp/procserver-was-here"),
        repository("ext::sh -c 'touch /tmp/procserver-was-here'"),
        repository("ssh://-oProxyCommand=touch/a"),
        repository("gopher://example.org/a"),
        (
            json!({ "repo": { "url": "https://example.org/a.git", "branch": "--force" } }),
            "/repo/branch",
        ),
        (
            json!({ "repo": { "url": "https://example.org/a.git", "commit": "HEAD; rm" } }),
            "/repo/commit",
        ),
        (
            json!({ "packages": ["--allow-unauthenticated"] }),
            "/packages/0",
        ),
        (
            json!({ "packages": ["hello", "hello world"] }),
            "/packages/1",
        ),
        (json!({ "user": "root" }), "/user"),
        (json!({ "domain": ["^fine$", "(unclosed"] }), "/domain/1"),
        (json!({ "domain": ["((a{100}){100}){100}"] }), "/domain/0"),
        (json!({ "domain": ["a".repeat(257)] }), "/domain/0"),
        (json!({ "domain": vec!["a"; 65] }), "/domain"),
        (json!({ "install": "make" }), "/install"),
        (json!({ "scale": { "web": -1 } }), "/scale/web"),
        (json!({ "scale": { "web": 101 } }), "/scale/web"),
        (json!({ "env": { "A": ["list"] } }), "/env/A"),
        (json!({ "port": 70000 }), "/port"),
        (
            json!({ "health_check": { "interval": "soon" } }),
            "/health_check/interval",
        ),
        (
            json!({ "stop": { "signal": "SIGNOTHING" } }),
            "/stop/signal",
        ),
        (json!({ "strategy": "hope" }), "/strategy"),
        (json!({ "keep_releases": 0 }), "/keep_releases"),
    ]
}

#[test]
fn every_invalid_field_is_422_with_its_pointer_and_changes_nothing() {
    let (server, repo) = (Server::start(), web_repo("1"));
    for (changes, pointer) in invalid_documents() {
        let answer = server.send(
            "POST",
            "/applications",
            &with(document("echo", &repo), changes.clone()),
        );
        assert_eq!(answer.status, 422, "{changes}: {}", answer.text());
        let problem = problem(answer, 422);
        let errors = problem["errors"]
            .as_array()
            .expect("a 422 lists its errors");
        let found = errors.iter().find(|e| e["pointer"] == pointer);
        let detail = found.and_then(|e| e["detail"].as_str());
        assert!(
            detail.is_some_and(|d| d.len() > 10),
            "{changes} needs {pointer}: {problem}"
        );
    }
    assert_nothing_changed(&server);
    assert!(
        !std::path::Path::new("/tmp/procserver-was-here").exists(),
        "a URL was run"
    );
}

#[test]
fn a_user_and_a_group_must_exist() {
    if !is_root() {
        return skip(
            "a user and a group must exist",
            "only root can switch to them",
        );
    }
    let (server, repo) = (Server::start(), web_repo("1"));
    for field in ["user", "group"] {
        let changes = json!({ field: "no-such-account" });
        let answer = server.send(
            "POST",
            "/applications",
            &with(document("echo", &repo), changes),
        );
        let problem = problem(answer, 422);
        assert_eq!(
            problem["errors"][0]["pointer"],
            format!("/{field}"),
            "{problem}"
        );
        assert!(problem.to_string().contains("no-such-account"), "{problem}");
    }
    assert_nothing_changed(&server);
}

#[test]
fn all_that_is_wrong_is_said_at_once_and_missing_fields_too() {
    let server = Server::start();
    let answer = server.send(
        "POST",
        "/applications",
        &json!({ "port": "x", "keep_releases": 0 }),
    );
    let problem = problem(answer, 422);
    let errors = problem["errors"].as_array().unwrap();
    for pointer in ["/name", "/repo", "/port", "/keep_releases"] {
        let named = |e: &Value| {
            e["pointer"]
                .as_str()
                .is_some_and(|p| p.starts_with(pointer))
        };
        assert!(errors.iter().any(named), "{pointer} in {problem}");
    }
    assert_nothing_changed(&server);
}

#[test]
fn a_put_that_is_refused_leaves_the_app_running_as_it_was() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("echo", &repo));
    let (before, pid) = (
        server.get("/applications/echo").json(),
        server.ready_pid("echo", "web.1"),
    );
    for (changes, _) in invalid_documents() {
        let answer = server.send(
            "PUT",
            "/applications/echo",
            &with(document("echo", &repo), changes),
        );
        problem(answer, 422);
    }
    assert_eq!(server.get("/applications/echo").json(), before);
    assert_eq!(server.ready_pid("echo", "web.1"), pid);
}

#[test]
fn repositories_on_the_servers_own_disk_need_the_servers_leave() {
    let server = Setup::new().flag("--allow-file-repos", "false").start();
    let repo = Repo::new(&[("Procfile", "web: true\n")]);
    for url in [repo.url(), repo.path().display().to_string()] {
        let answer = server.send(
            "POST",
            "/applications",
            &json!({ "name": "a", "repo": { "url": url } }),
        );
        let problem = problem(answer, 422);
        assert_eq!(problem["errors"][0]["pointer"], "/repo/url", "{problem}");
    }
    assert_nothing_changed(&server);
}

#[test]
fn comments_unquoted_keys_and_trailing_commas_are_fine() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let text = format!(
        "{{ // JSON5\n name: 'echo', repo: {{ url: \"{}\", }}, }}",
        repo.url()
    );
    post(&server, &text).expect(202);
    eventually("the app serves", SOON, || {
        (server.visit("/echo/").status == 200).then_some(())
    });
}

#[test]
fn a_document_that_would_not_be_read_back_is_refused_and_changes_nothing() {
    let server = Server::start();
    let repo = web_repo("1");
    server.deploy(&document("echo", &repo));
    let patch = |name: &str| {
        let variables = (0..10).map(|n| (format!("{name}{n}"), "x".repeat(60 << 10).into()));
        let change = json!({ "env": variables.collect::<serde_json::Map<_, _>>() });
        let request = server
            .request("PATCH", "/applications/echo")
            .header("Content-Type", "application/merge-patch+json");
        request.body(change.to_string()).send(&server.public())
    };
    patch("A").expect(202);
    let told = problem(patch("B"), 413);
    assert!(
        told["detail"]
            .as_str()
            .unwrap()
            .contains("nothing is changed"),
        "{told}"
    );
    let shown = server.get("/applications/echo").expect(200).json();
    assert_eq!(shown["env"].as_object().map(|env| env.len()), Some(10));
    let file = server.directory().join("config/echo.json");
    assert!(file.metadata().unwrap().len() <= 1 << 20);
}
