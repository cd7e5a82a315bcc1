//! From a repository to running processes, and every way in which that fails.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::support::fixture::{document, web_files, web_repo, with};
use crate::support::repo::Repo;
use crate::support::server::Server;

/// Creates the app, which must fail, and returns its `failure`.
#[track_caller]
fn failure_of(server: &Server, document: &Value) -> Value {
    let answer = server
        .send_and_wait("POST", "/applications", document)
        .expect(422);
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json")
    );
    let failure = answer.json()["failure"].clone();
    assert!(
        failure["reason"].as_str().is_some_and(|r| !r.is_empty()),
        "{failure}"
    );
    failure
}

#[test]
fn a_repository_without_a_procfile_is_told_to_add_one() {
    let (server, repo) = (Server::start(), Repo::new(&[("README", "nothing to run")]));
    let failure = failure_of(&server, &document("empty", &repo));
    assert!(
        failure["reason"]
            .as_str()
            .unwrap()
            .contains("has no Procfile"),
        "{failure}"
    );
    let status = server.status("empty");
    assert_eq!(status["state"], "failed");
    let told = status["warnings"].to_string();
    assert!(
        told.contains("deployment 1 failed") && told.contains("has no Procfile"),
        "{status}"
    );
}

#[test]
fn a_failed_install_command_gives_step_exit_code_last_lines_and_a_hint() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let install =
        json!({ "install": ["echo first", "echo the reason >&2; exit 42", "echo never"] });
    let failure = failure_of(&server, &with(document("echo", &repo), install));
    assert_eq!(failure["step"], "install", "{failure}");
    assert_eq!(failure["exit_code"], 42, "{failure}");
    let tail = failure["log_tail"].as_array().unwrap();
    assert!(tail.iter().any(|line| line == "the reason"), "{failure}");
    assert!(
        failure["hint"].as_str().is_some_and(|h| !h.is_empty()),
        "{failure}"
    );

    let record = server
        .get("/applications/echo/deployments/1")
        .expect(200)
        .json();
    assert_eq!(record["state"], "failed", "{record}");
    assert_eq!(
        record["failure"], failure,
        "the record and the answer say the same"
    );
    let log = server
        .get("/applications/echo/logs/install")
        .expect(200)
        .text();
    assert!(
        log.contains("first") && log.contains("the reason") && !log.contains("| never"),
        "{log}"
    );
}

#[test]
fn an_install_command_ended_by_a_signal_names_the_signal() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let failure = failure_of(
        &server,
        &with(
            document("echo", &repo),
            json!({ "install": ["kill -9 $$"] }),
        ),
    );
    assert_eq!(failure["signal"], 9, "{failure}");
}

#[test]
fn branch_tag_and_commit_are_checked_out_as_named() {
    let (server, repo) = (Server::start(), web_repo("on master"));
    let first = repo.commit_id();
    repo.tag("v1");
    repo.branch("feature");
    let feature = repo.commit(&[("VERSION", "on feature")]);
    repo.checkout("master");
    let newest = repo.commit(&[("VERSION", "newest")]);
    let named = |reference: Value| {
        let repository = with(json!({ "url": repo.url() }), reference);
        with(document("echo", &repo), json!({ "repo": repository }))
    };

    server.deploy(&named(json!({})));
    assert_eq!(server.status("echo")["commit"], newest);
    let cases = [
        (json!({ "branch": "feature" }), "on feature", &feature),
        (json!({ "tag": "v1" }), "on master", &first),
        (json!({ "commit": feature }), "on feature", &feature),
        (json!({ "commit": first[..10] }), "on master", &first),
        (json!({ "branch": "master" }), "newest", &newest),
    ];
    for (reference, version, commit) in cases {
        server
            .send_and_wait("PUT", "/applications/echo", &named(reference.clone()))
            .expect(200);
        assert_eq!(
            server.visit("/echo/").expect(200).json()["version"],
            version,
            "{reference}"
        );
        assert_eq!(&server.status("echo")["commit"], commit, "{reference}");
    }
}

#[test]
fn without_a_branch_master_is_taken_and_else_the_head_of_the_repository() {
    let server = Server::start();
    let repo = Repo::on_branch("trunk", &web_files("on trunk"));
    server.deploy(&document("echo", &repo));
    assert_eq!(
        server.visit("/echo/").expect(200).json()["version"],
        "on trunk"
    );
}

#[test]
fn a_branch_or_repository_that_does_not_exist_is_named() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let branch = json!({ "repo": { "url": repo.url(), "branch": "no-such-branch" } });
    let failure = failure_of(&server, &with(document("one", &repo), branch));
    assert!(failure.to_string().contains("no-such-branch"), "{failure}");

    let url = json!({ "repo": { "url": "file:///nonexistent/repository" } });
    let failure = failure_of(&server, &with(document("two", &repo), url));
    assert_eq!(failure["step"], "fetch", "{failure}");
    assert!(
        failure.to_string().contains("/nonexistent/repository"),
        "{failure}"
    );
}

#[test]
fn while_a_redeploy_goes_well_or_badly_every_request_is_answered() {
    let (server, repo) = (Server::start(), web_repo("1"));
    repo.commit(&[("build", "")]);
    server.deploy(&with(
        document("echo", &repo),
        json!({ "install": ["sh ./build"] }),
    ));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let visitor = scope.spawn(|| {
            let mut versions = Vec::new();
            // Once more after the last deploy is done: that one must see it.
            for last in std::iter::repeat_with(|| over.load(Ordering::SeqCst)) {
                versions.push(server.visit("/echo/").expect(200).json()["version"].clone());
                if last {
                    break;
                }
            }
            versions.dedup();
            versions
        });
        let steps = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            repo.commit(&[("VERSION", "2"), ("build", "exit 1")]);
            server.act("echo", "redeploy").expect(422);
            repo.commit(&[("VERSION", "3"), ("build", "")]);
            server.act("echo", "redeploy").expect(200);
        }));
        over.store(true, Ordering::SeqCst);
        assert_eq!(
            visitor.join().unwrap(),
            [json!("1"), json!("3")],
            "the versions seen, in order"
        );
        steps.unwrap();
    });
}

#[test]
fn a_release_that_never_gets_ready_fails_and_the_old_one_goes_on() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let impatient = json!({ "health_check": { "interval": "100ms", "boot_timeout": "2s" } });
    server.deploy(&with(document("echo", &repo), impatient));
    let pid = server.ready_pid("echo", "web.1");
    repo.commit(&[
        ("VERSION", "2"),
        ("Procfile", "web: echo not listening; exec sleep 600\n"),
    ]);
    let failure = server.act("echo", "redeploy").expect(422).json()["failure"].clone();
    assert_eq!(failure["step"], "start", "{failure}");
    assert_eq!(server.visit("/echo/").expect(200).json()["version"], "1");
    assert_eq!(
        server.ready_pid("echo", "web.1"),
        pid,
        "it was never restarted"
    );
}

#[test]
fn the_checkout_is_writable_for_install_and_read_only_for_the_app() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&with(
        document("echo", &repo),
        json!({ "install": ["echo built > built"] }),
    ));
    for file in ["new", "built", "VERSION", "web.py"] {
        let answer = server
            .visit(&format!("/echo/write?file={file}"))
            .expect(200)
            .json();
        assert!(
            matches!(answer["error"].as_str(), Some("EACCES" | "EROFS")),
            "{file}: {answer}"
        );
    }
    for file in ["$TMPDIR/file", "$STORAGE_DIR/file"] {
        let answer = server
            .visit(&format!("/echo/write?file={file}"))
            .expect(200)
            .json();
        assert_eq!(answer["error"], Value::Null, "{file}");
    }
    let storage = server.visit("/echo/").json()["env"]["STORAGE_DIR"].clone();
    server.act("echo", "redeploy").expect(200);
    let file = format!("{}/file", storage.as_str().unwrap());
    assert_eq!(
        std::fs::read_to_string(file).unwrap(),
        "written",
        "kept across releases"
    );
}

#[test]
fn later_layers_of_the_environment_win_and_the_daemons_own_stays_out() {
    let (server, repo) = (Server::start(), web_repo("1"));
    repo.commit(&[(
        ".env",
        "LANG=dotenv\nA=dotenv\nB=dotenv\nPORT=1\nPS=dotenv\n",
    )]);
    let env = json!({ "env": { "B": "document", "C": "document", "PORT": "2" } });
    server.deploy(&with(document("echo", &repo), env));
    let seen = server.visit("/echo/").expect(200).json()["env"].clone();
    let port = server.process("echo", "web.1")["port"].to_string();
    let expected = [
        ("LANG", "dotenv"),
        ("A", "dotenv"),
        ("B", "document"),
        ("C", "document"),
        ("PS", "web.1"),
        ("PORT", port.as_str()),
    ];
    for (name, value) in expected {
        assert_eq!(seen[name], value, "{name}");
    }
    for name in ["PATH", "HOME", "USER", "SHELL", "TMPDIR", "STORAGE_DIR"] {
        assert!(seen[name].as_str().is_some_and(|v| !v.is_empty()), "{name}");
    }
    assert_eq!(seen.get("DAEMON_SECRET"), None);
    assert_eq!(seen.get("CARGO_MANIFEST_DIR"), None);
}

#[test]
fn install_commands_have_the_environment_of_the_app() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let changes = json!({ "env": { "COLOUR": "red" }, "install": ["echo $COLOUR > VERSION"] });
    server.deploy(&with(document("echo", &repo), changes));
    assert_eq!(server.visit("/echo/").expect(200).json()["version"], "red");
}

#[test]
fn every_deployment_has_a_record_also_after_a_restart_of_the_daemon() {
    let (mut server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("echo", &repo));
    repo.commit(&[("Procfile", "")]);
    server.act("echo", "redeploy").expect(422);
    let records = server
        .get("/applications/echo/deployments")
        .expect(200)
        .json();
    let seen: Vec<_> = records
        .as_array()
        .unwrap()
        .iter()
        .map(|r| (&r["id"], &r["state"]))
        .collect();
    assert_eq!(
        seen,
        [
            (&json!(1), &json!("succeeded")),
            (&json!(2), &json!("failed"))
        ]
    );
    for record in records.as_array().unwrap() {
        assert!(
            record["started"].is_string() && record["finished"].is_string(),
            "{record}"
        );
    }
    server.terminate();
    server.start_again();
    assert_eq!(
        server
            .get("/applications/echo/deployments")
            .expect(200)
            .json(),
        records
    );
    server.get("/applications/echo/deployments/3").expect(404);
}
