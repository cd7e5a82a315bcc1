//! The command line, as a person uses it.

use std::io::{BufRead, BufReader};
use std::process::{ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::command::{Finished, finish, procserver};
use crate::support::fixture::{document, web_repo, with};
use crate::support::server::Server;
use crate::support::setup::world_readable_directory;
use crate::support::wait::eventually;

/// Runs a verb on the server's Unix socket.
#[track_caller]
fn run(server: &Server, arguments: &[&str]) -> Finished {
    let socket = format!("unix:{}", server.socket().display());
    finish(procserver().args(arguments).env("PROCSERVER_URL", socket))
}

/// Checks that `logs echo --follow`, whose `stdout` this is, shows what the app prints at once.
#[track_caller]
pub(crate) fn shows_at_once(server: &Server, stdout: &mut ChildStdout) {
    let mut lines = BufReader::new(stdout).lines();
    for text in ["one", "two"] {
        server
            .visit(&format!("/echo/print?text={text}"))
            .expect(200);
        let line = lines.next().unwrap().unwrap();
        assert!(line.ends_with(&format!("web.1 | {text}")), "{line}");
    }
}

/// Runs `procserver check --json` on a directory with this one file.
#[track_caller]
fn check(file: &str, content: &str) -> Value {
    let directory = world_readable_directory();
    std::fs::write(directory.path().join("Procfile"), "web: true\n").unwrap();
    std::fs::write(directory.path().join(file), content).unwrap();
    let finished = finish(
        procserver()
            .arg("check")
            .arg(directory.path())
            .arg("--json"),
    );
    serde_json::from_str(&finished.stdout)
        .unwrap_or_else(|e| panic!("{e}: {content:?} gives {finished:?}"))
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

    run(&server, &["create", file.to_str().unwrap()]).success();
    server.visit("/echo/").expect(200);
    assert!(run(&server, &["apps"]).success().contains("echo"));
    assert!(run(&server, &["ps", "echo"]).success().contains("web.1"));
    let shown: Value =
        serde_json::from_str(&run(&server, &["show", "echo", "--json"]).success()).unwrap();
    assert_eq!(shown, server.get("/applications/echo").json());
    assert!(
        run(&server, &["logs", "echo", "--install"])
            .success()
            .contains(" | ")
    );

    run(&server, &["stop", "echo"]).success();
    server.visit("/echo/").expect(503);
    run(&server, &["start", "echo"]).success();
    let pid = server.ready_pid("echo", "web.1");
    run(&server, &["restart", "echo"]).success();
    assert_ne!(server.ready_pid("echo", "web.1"), pid);

    repo.commit(&[("VERSION", "2")]);
    run(&server, &["redeploy", "echo"]).success();
    assert_eq!(server.visit("/echo/").expect(200).json()["version"], "2");
    let changed = with(document("echo", &repo), json!({ "env": { "A": "1" } }));
    std::fs::write(&file, changed.to_string()).unwrap();
    run(&server, &["update", file.to_str().unwrap()]).success();
    assert_eq!(server.visit("/echo/").expect(200).json()["env"]["A"], "1");

    run(&server, &["rm", "echo", "--yes"]).success();
    server.get("/applications/echo").expect(404);
}

#[test]
fn an_app_can_be_described_with_flags() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let url = repo.url();
    let arguments = [
        "create",
        "echo",
        "--repo",
        &url,
        "--branch",
        "master",
        "--install",
        "echo built > VERSION",
    ];
    let more = ["--domain", "^echo\\.example$", "--scale", "web=2"];
    run(&server, &[&arguments[..], &more].concat()).success();
    let document = server.get("/applications/echo").expect(200).json();
    assert_eq!(document["repo"], json!({ "url": url, "branch": "master" }));
    assert_eq!(document["domain"], json!(["^echo\\.example$"]));
    assert_eq!(document["scale"], json!({ "web": 2 }));
    assert_eq!(
        server.visit("/echo/").expect(200).json()["version"],
        "built"
    );
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
    let finished = run(&server, &["create", file.to_str().unwrap()]);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    let said = &finished.stderr;
    assert!(
        said.contains("install") && said.contains("it broke here"),
        "{said}"
    );
}

#[test]
fn a_deploy_shows_each_step_once_and_as_json_its_record() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let url = repo.url();
    let create = |name: &'static str, more: &[&str]| {
        let arguments = [&["create", name, "--repo", &url][..], more].concat();
        run(&server, &arguments)
    };
    let shown = create("plain", &[]).success();
    assert_eq!(shown.matches("fetch").count(), 1, "{shown}");
    let commit = repo.commit_id();
    assert!(
        shown.contains(&format!("plain: release 1 at {}", &commit[..8])),
        "{shown}"
    );

    let record: Value = serde_json::from_str(&create("done", &["--json"]).success()).unwrap();
    assert_eq!(
        (&record["state"], &record["commit"]),
        (&json!("succeeded"), &json!(commit))
    );
    let failed = create("failed", &["--json", "--install", "echo last; exit 3"]);
    let record: Value = serde_json::from_str(&failed.stdout).unwrap();
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert_eq!(record["failure"]["log_tail"], json!(["last"]), "{record}");
}

#[test]
fn without_waiting_a_deploy_goes_on_alone() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let url = repo.url();
    let slow = ["--install", "sleep 1", "--no-wait"];
    let said = run(
        &server,
        &[&["create", "echo", "--repo", &url][..], &slow].concat(),
    )
    .success();
    assert!(said.contains("under way"), "{said}");
    assert_eq!(
        server.get("/applications/echo/status").json()["state"],
        "deploying"
    );
    eventually("it serves", Duration::from_secs(20), || {
        (server.visit("/echo/").status == 200).then_some(())
    });
}

#[test]
fn a_refused_document_is_told_field_by_field() {
    let server = Server::start();
    let refused = run(
        &server,
        &["create", "echo", "--repo", "ext::sh -c id", "--domain", "("],
    );
    assert_eq!(refused.code, Some(1), "{refused:?}");
    for pointer in ["/repo/url: ", "/domain/0: "] {
        assert!(refused.stderr.contains(pointer), "{refused:?}");
    }
}

#[test]
fn a_followed_log_shows_new_lines_at_once() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("echo", &repo));
    let socket = format!("unix:{}", server.socket().display());
    let mut follower = procserver()
        .args(["logs", "echo", "-f"])
        .env("PROCSERVER_URL", socket)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    shows_at_once(&server, follower.stdout.as_mut().unwrap());
    follower.kill().unwrap();
    follower.wait().unwrap();
}

#[test]
fn on_a_terminal_an_app_can_neither_move_the_cursor_nor_type_but_colours_are_shown() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("echo", &repo));
    server
        .visit("/echo/print?text=%1b[31mred%1b[0m%1b]0;title%07")
        .expect(200);
    eventually("it is logged", Duration::from_secs(10), || {
        let log = run(&server, &["logs", "echo"]).success();
        // No terminal: byte for byte.
        log.contains("web.1 | \x1b[31mred\x1b[0m\x1b]0;title\x07\n")
            .then_some(())
    });
    let mut on_terminal = Command::new("python3");
    on_terminal
        .args(["-c", "import pty, sys; pty.spawn(sys.argv[1:])"])
        .arg(procserver().get_program())
        .args(["logs", "echo", "--color=always"])
        .env(
            "PROCSERVER_URL",
            format!("unix:{}", server.socket().display()),
        )
        .stdin(Stdio::null());
    let shown = finish(&mut on_terminal).success();
    let expected = "web.1 | \x1b[0m\x1b[31mred\x1b[0m\\x1b]0;title\\x07\x1b[0m\r\n";
    assert!(shown.contains(expected), "{shown:?}");
}

#[test]
fn what_the_api_refuses_exits_1_and_wrong_usage_2() {
    let server = Server::start();
    let unknown = run(&server, &["ps", "nobody"]);
    assert_eq!(unknown.code, Some(1), "{unknown:?}");
    assert!(unknown.stderr.contains("nobody"), "{unknown:?}");
    for usage in [
        &["no-such-verb"][..],
        &["show"],
        &["serve", "--no-such-flag"],
    ] {
        let finished = run(&server, usage);
        assert_eq!(finished.code, Some(2), "{usage:?}: {finished:?}");
    }
    let no_url = finish(procserver().args(["apps", "--server", "127.0.0.1:80"]));
    assert_eq!(no_url.code, Some(2), "{no_url:?}");
    assert!(no_url.stderr.contains("http://HOST:PORT"), "{no_url:?}");
}

#[test]
fn over_tcp_the_token_opens_the_api_and_nothing_else_does() {
    let server = Server::start();
    let apps = |token: &str| {
        let mut command = procserver();
        command
            .args(["apps", "--json"])
            .env("PROCSERVER_URL", server.url());
        finish(command.env("PROCSERVER_TOKEN", token))
    };
    assert_eq!(apps(&server.token()).success().trim(), "[]");
    assert_eq!(apps("wrong").code, Some(1));
}

#[test]
fn a_setting_that_is_wrong_stops_the_start_and_names_itself() {
    let directory = world_readable_directory();
    let mut serve = procserver();
    serve
        .arg("serve")
        .arg("--data-dir")
        .arg(directory.path())
        .args(["--ports", "9000-8000"]);
    let finished = finish(&mut serve);
    assert_ne!(finished.code, Some(0), "{finished:?}");
    let said = &finished.stderr;
    assert!(
        said.contains("ports") && said.contains("9000-8000"),
        "{said}"
    );
}
