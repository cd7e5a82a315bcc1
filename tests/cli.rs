//! The command line, as a person uses it.

use std::process::Output;

use serde_json::{Value, json};

use crate::support::fixture::{document, web_repo, with};
use crate::support::server::Server;
use crate::support::setup::{procserver, world_readable_directory};

/// Runs a verb on the server's Unix socket.
fn run(server: &Server, arguments: &[&str]) -> Output {
    let socket = format!("unix:{}", server.socket().display());
    procserver()
        .args(arguments)
        .env("PROCSERVER_URL", socket)
        .output()
        .unwrap()
}

#[track_caller]
fn stdout_of(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs `procserver check --json` on a directory with this one file.
#[track_caller]
fn check(file: &str, content: &str) -> Value {
    let directory = world_readable_directory();
    std::fs::write(directory.path().join("Procfile"), "web: true\n").unwrap();
    std::fs::write(directory.path().join(file), content).unwrap();
    let output = procserver()
        .arg("check")
        .arg(directory.path())
        .arg("--json")
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {content:?} gives {output:?}"))
}

/// The recorded cases in which foreman and procserver agree, as `(name, input, expect)`.
fn cases(text: &str) -> Vec<(String, String, Value)> {
    let cases: Vec<Value> = serde_json::from_str(text).unwrap();
    let agreeing = cases
        .into_iter()
        .filter(|c| c["deviation"].is_null() && c["expect_error"].is_null());
    let field = |case: &Value, name: &str| case[name].as_str().map(str::to_owned);
    agreeing
        .filter_map(|case| {
            Some((
                field(&case, "name")?,
                field(&case, "input")?,
                case["expect"].clone(),
            ))
        })
        .collect()
}

#[test]
fn check_reads_procfiles_as_foreman_does() {
    let cases = cases(include_str!("conformance/procfile_cases.json"));
    assert!(cases.len() > 90, "{}", cases.len());
    for (name, input, expect) in cases {
        let seen = check("Procfile", &input);
        let processes = seen["processes"].as_array().unwrap();
        let pairs: Vec<Value> = processes
            .iter()
            .map(|p| json!([p["name"], p["command"]]))
            .collect();
        assert_eq!(Value::from(pairs), expect, "{name}: {input:?}");
    }
}

#[test]
fn check_reads_dotenv_files_as_foreman_does() {
    let cases = cases(include_str!("conformance/dotenv_cases.json"));
    assert!(cases.len() > 90, "{}", cases.len());
    for (name, input, expect) in cases {
        let seen = check(".env", &input);
        // Compared as maps: the order of variables means nothing.
        let map = |v: &Value| -> std::collections::BTreeMap<String, Value> {
            serde_json::from_value(v.clone()).unwrap()
        };
        assert_eq!(map(&seen["env"]), map(&expect), "{name}: {input:?}");
    }
}

#[test]
fn an_app_is_created_shown_stopped_started_and_removed() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let file = repo.path().join("echo.json");
    std::fs::write(&file, document("echo", &repo).to_string()).unwrap();

    stdout_of(run(&server, &["create", file.to_str().unwrap()]));
    server.visit("/echo/").expect(200);
    assert!(stdout_of(run(&server, &["apps"])).contains("echo"));
    assert!(stdout_of(run(&server, &["ps", "echo"])).contains("web.1"));
    let shown: Value =
        serde_json::from_str(&stdout_of(run(&server, &["show", "echo", "--json"]))).unwrap();
    assert_eq!(shown, server.get("/applications/echo").json());
    assert!(stdout_of(run(&server, &["logs", "echo", "--install"])).contains(" | "));

    stdout_of(run(&server, &["stop", "echo"]));
    server.visit("/echo/").expect(503);
    stdout_of(run(&server, &["start", "echo"]));
    let pid = server.ready_pid("echo", "web.1");
    stdout_of(run(&server, &["restart", "echo"]));
    assert_ne!(server.ready_pid("echo", "web.1"), pid);

    repo.commit(&[("VERSION", "2")]);
    stdout_of(run(&server, &["redeploy", "echo"]));
    assert_eq!(server.visit("/echo/").expect(200).json()["version"], "2");
    let changed = with(document("echo", &repo), json!({ "env": { "A": "1" } }));
    std::fs::write(&file, changed.to_string()).unwrap();
    stdout_of(run(&server, &["update", file.to_str().unwrap()]));
    assert_eq!(server.visit("/echo/").expect(200).json()["env"]["A"], "1");

    stdout_of(run(&server, &["rm", "echo"]));
    server.get("/applications/echo").expect(404);
}

#[test]
fn a_failed_deploy_exits_1_with_the_reason_and_the_last_lines() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let file = repo.path().join("echo.json");
    let failing = with(
        document("echo", &repo),
        json!({ "install": ["echo it broke here; exit 7"] }),
    );
    std::fs::write(&file, failing.to_string()).unwrap();
    let output = run(&server, &["create", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("install") && said.contains("it broke here"),
        "{said}"
    );
}

#[test]
fn what_the_api_refuses_exits_1_and_wrong_usage_2() {
    let server = Server::start();
    let unknown = run(&server, &["ps", "nobody"]);
    assert_eq!(unknown.status.code(), Some(1), "{unknown:?}");
    assert!(
        String::from_utf8_lossy(&unknown.stderr).contains("nobody"),
        "{unknown:?}"
    );
    for usage in [&["no-such-verb"][..], &["ps"], &["serve", "--no-such-flag"]] {
        let output = run(&server, usage);
        assert_eq!(output.status.code(), Some(2), "{usage:?}: {output:?}");
    }
}

#[test]
fn over_tcp_the_token_opens_the_api_and_nothing_else_does() {
    let server = Server::start();
    let apps = |token: &str| {
        let mut command = procserver();
        command
            .args(["apps", "--json"])
            .env("PROCSERVER_URL", server.url())
            .env("PROCSERVER_TOKEN", token);
        command.output().unwrap()
    };
    assert_eq!(stdout_of(apps(&server.token())).trim(), "[]");
    assert_eq!(apps("wrong").status.code(), Some(1));
}

#[test]
fn a_setting_that_is_wrong_stops_the_start_and_names_itself() {
    let directory = world_readable_directory();
    let mut command = procserver();
    command
        .arg("serve")
        .arg("--data-dir")
        .arg(directory.path())
        .args(["--ports", "9000-8000"]);
    let output = command.output().unwrap();
    assert!(!output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("ports") && said.contains("9000-8000"),
        "{said}"
    );
}
