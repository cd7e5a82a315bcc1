//! The command line where it asks for secrets, is interrupted, or is given words of other tools.

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::support::command::{Finished, finish, procserver};
use crate::support::fixture::{document, web_repo, with};
use crate::support::server::Server;
use crate::support::setup::world_readable_directory;
use crate::support::wait::eventually;

fn socket(server: &Server) -> String {
    format!("unix:{}", server.socket().display())
}

#[track_caller]
fn run(server: &Server, arguments: &[&str]) -> Finished {
    finish(
        procserver()
            .args(arguments)
            .env("PROCSERVER_URL", socket(server)),
    )
}

/// Runs a verb with `input` as its standard input.
#[track_caller]
fn fed(server: &Server, arguments: &[&str], input: &str) -> Finished {
    let file = world_readable_directory();
    let path = file.path().join("input");
    std::fs::File::create(&path)
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let mut command = procserver();
    command
        .args(arguments)
        .env("PROCSERVER_URL", socket(server));
    finish(command.stdin(std::fs::File::open(path).unwrap()))
}

#[test]
fn bash_completes_the_names_of_applications() {
    let (server, repo) = (Server::start(), web_repo("1"));
    run(&server, &["create", "echo", "--repo", &repo.url()]).success();
    let complete = |words: &str, last: &str| {
        let script = format!(
            "source <(procserver completions bash); COMP_WORDS=({words}); COMP_CWORD=2
             _procserver_with_applications procserver '{last}' logs; echo ${{COMPREPLY[@]}}"
        );
        let program = procserver();
        let directory = std::path::Path::new(program.get_program())
            .parent()
            .unwrap();
        let mut bash = std::process::Command::new("bash");
        bash.args(["-c", &script]);
        bash.env("PROCSERVER_URL", socket(&server));
        bash.env("PATH", format!("{}:/usr/bin:/bin", directory.display()));
        finish(&mut bash).success()
    };
    assert_eq!(complete("procserver logs e", "e"), "echo\n");
    assert_eq!(complete("procserver logs x", "x"), "\n");
    assert_eq!(complete("procserver log ''", ""), "echo\n");
    assert!(complete("procserver logs --f", "--f").contains("--follow"));
    assert!(!complete("procserver route e", "e").contains("echo"));
}

#[test]
fn bash_completes_what_the_server_has_and_is_silent_without_one() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&with(
        document("echo", &repo),
        json!({ "env": { "KEY": "secret" } }),
    ));
    run(&server, &["token", "create", "ci", "--scope", "read"]).success();
    let complete = |url: &str, words: &[&str]| {
        let script = r#"source <(procserver completions bash); COMP_WORDS=(procserver "$@"); COMP_CWORD=$#
            _procserver_with_applications procserver "${!#}" x; printf '%s\n' "${COMPREPLY[@]}""#;
        let program = procserver();
        let directory = std::path::Path::new(program.get_program()).parent();
        let mut bash = std::process::Command::new("bash");
        bash.args(["-c", script, "bash"]).args(words);
        bash.env("PROCSERVER_URL", url);
        bash.env(
            "PATH",
            format!("{}:/usr/bin:/bin", directory.unwrap().display()),
        );
        finish(&mut bash)
    };
    for (words, expected) in [
        (&["logs", "echo", "-p", "w"][..], "web\nweb.1\n"),
        (&["logs", "echo", "--process", "=", "web."], "web.1\n"),
        (&["config", ":", "get", "echo", ""], "KEY\n"),
        (&["scale", "echo", ""], "web=1\n"),
        (&["token", "revoke", "c"], "ci\n"),
        (&["rollback", "echo", ""], "1\n"),
        (&["audit", "--app", "e"], "echo\n"),
    ] {
        let found = complete(&socket(&server), words);
        assert_eq!(
            (found.stdout.as_str(), found.stderr.as_str()),
            (expected, ""),
            "{words:?}"
        );
    }
    let nobody = complete("unix:/nowhere/x.sock", &["logs", "e"]);
    assert_eq!((nobody.stdout.trim(), nobody.stderr.as_str()), ("", ""));
}

#[test]
fn words_of_other_tools_are_understood() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&with(
        document("echo", &repo),
        json!({ "env": { "A": "1", "B": "2" } }),
    ));
    run(&server, &["config:unset", "A", "-a", "echo"]).success();
    run(&server, &["domains:add", "echo", "echo.example.org"]).success();
    let document = server.get("/applications/echo").expect(200).json();
    assert_eq!(document["env"], json!({ "B": "2" }));
    let url = run(&server, &["open", "echo"]).success();
    assert!(url.starts_with("http://echo.example.org"), "{url}");
    assert_eq!(run(&server, &["open"]).success(), url);
    for (typed, tip) in [
        (&["app", "exec"][..], "procserver run NAME"),
        (&["git:remote", "-a", "echo"], "git remote add"),
    ] {
        let refused = run(&server, typed);
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert!(refused.stderr.contains(tip), "{refused:?}");
    }
}

#[test]
fn secrets_come_from_standard_input_and_files_and_are_noted_on_the_command_line() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let create = ["create", "echo", "--repo-file", "-", "--env", "A=1"];
    fed(&server, &create, &format!("{}\n", repo.url())).success();
    let set = fed(&server, &["env", "echo", "API_TOKEN=-"], "hunter22\n");
    assert!(!set.stderr.contains("note:"), "{set:?}");
    assert!(set.success().contains("env: API_TOKEN set"));
    let file = repo.path().join("more.env");
    std::fs::write(&file, "B='two words'\n").unwrap();
    run(&server, &["env", "echo", "--file", file.to_str().unwrap()]).success();
    let expected = json!({"A": "1", "API_TOKEN": "hunter22", "B": "two words"});
    assert_eq!(server.get("/applications/echo").json()["env"], expected);
    let shown = run(&server, &["config:get", "echo", "API_TOKEN"]).success();
    assert_eq!(shown, "hunter22\n");

    let typed = run(&server, &["env", "echo", "API_TOKEN=in-the-open"]);
    assert!(typed.stderr.contains("note: ") && typed.stderr.contains("NAME=-"));
    assert!(!typed.stderr.contains("in-the-open"), "{typed:?}");
    let url = "http://tok3n@127.0.0.1:1/x.git";
    let set = run(
        &server,
        &["set", "echo", &format!("repo.url={url}"), "--no-wait"],
    );
    assert!(set.stderr.contains("repo.url=- < FILE"), "{set:?}");
    fed(
        &server,
        &["set", "echo", "repo.url=-", "--no-wait"],
        &repo.url(),
    )
    .success();
    assert_eq!(
        server.get("/applications/echo").json()["repo"]["url"],
        repo.url()
    );
}

#[test]
fn a_token_may_be_in_a_file() {
    let server = Server::start();
    let directory = world_readable_directory();
    let file = directory.path().join("token");
    std::fs::write(&file, server.token() + "\n").unwrap();
    let mut command = procserver();
    command
        .args(["apps", "--server", &server.url(), "--token-file"])
        .arg(&file);
    let finished = finish(&mut command);
    assert_eq!(finished.stderr, "", "{finished:?}");
    finished.success();
    let mut command = procserver();
    command.args([
        "apps",
        "--server",
        &server.url(),
        "--token",
        &server.token(),
    ]);
    let finished = finish(&mut command);
    assert!(finished.stderr.contains("--token-file"), "{finished:?}");
    finished.success();
}

#[test]
fn a_failed_deployment_is_listed_shown_and_does_not_tell_the_secrets_of_its_environment() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let secrets = json!({"env": {"API_TOKEN": "hunter22", "RAILS_ENV": "production"},
        "install": ["echo with $API_TOKEN in $RAILS_ENV; exit 3"]});
    let file = repo.path().join("echo.json");
    std::fs::write(&file, with(document("echo", &repo), secrets).to_string()).unwrap();
    let failed = run(&server, &["create", file.to_str().unwrap()]);
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(
        failed.stderr.contains("| with *** in production"),
        "{failed:?}"
    );
    let listed = run(&server, &["deployments", "echo"]).success();
    assert!(
        listed.contains("failed") && listed.contains("exit code 3"),
        "{listed}"
    );
    let shown = run(&server, &["deployment", "echo"]).success();
    assert!(
        shown.contains("deployment 1 failed") && shown.contains("with ***"),
        "{shown}"
    );
    let record: Value =
        serde_json::from_str(&run(&server, &["deployment", "echo", "1", "--json"]).success())
            .unwrap();
    assert_eq!(record["failure"]["exit_code"], 3);
    let log = run(&server, &["logs", "echo", "--install"]).success();
    assert!(
        log.contains("with ***") && !log.contains("hunter22"),
        "{log}"
    );

    let again = run(&server, &["create", file.to_str().unwrap()]);
    assert_eq!(again.code, Some(1), "{again:?}");
    for part in ["set echo repo.url=", "procserver update"] {
        assert!(again.stderr.contains(part), "{part}: {again:?}");
    }
}

#[test]
fn what_has_changed_is_told_and_a_scale_alone_is_shown() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("echo", &repo));
    let said = run(&server, &["env", "echo", "A=1"]).success();
    for part in [
        "start",
        "echo: release 2 at",
        "(was release 1)",
        "env: A set",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let said = run(&server, &["scale", "echo", "web=2"]).success();
    assert!(said.contains("scale.web: (default) -> 2"), "{said}");
    let said = run(&server, &["ps:scale", "echo"]).success();
    assert!(said.contains("web=2 (2 ready)"), "{said}");
    let said = run(&server, &["rollback", "echo"]).success();
    assert!(
        said.contains("echo: release 1 at") && said.contains("(was release 2)"),
        "{said}"
    );
    let said = run(&server, &["set", "echo", "keep_releases=3"]).success();
    assert!(said.contains("keep_releases: (default) -> 3"), "{said}");
}

#[test]
fn an_application_is_named_as_heroku_names_it_and_ps_alone_shows_all() {
    let (server, repo) = (Server::start(), web_repo("1"));
    for name in ["one", "two"] {
        let created = run(&server, &["create", name, "--repo", &repo.url()]).success();
        let url = format!("/{name}/");
        let last = created.lines().last().unwrap_or_default();
        assert!(
            last.starts_with("  http://") && last.ends_with(&url),
            "{created}"
        );
    }
    run(&server, &["config:set", "A=1", "-a", "one"]).success();
    assert_eq!(run(&server, &["env", "--app", "one", "A"]).success(), "1\n");
    let said = run(&server, &["env", "one", "B", "-A"]);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(
        said.stderr.contains("\"B\" neither sets nor removes"),
        "{said:?}"
    );
    run(&server, &["stop", "-a", "two"]).success();
    let all = run(&server, &["ps"]).success();
    let shows = |words: &[&str]| {
        all.lines().any(|line| {
            line.split_whitespace()
                .take(words.len())
                .eq(words.iter().copied())
        })
    };
    assert!(
        shows(&["one", "web.1", "ready"]) && shows(&["two", "-", "stopped"]),
        "{all}"
    );
}

#[test]
fn after_a_rollback_it_is_told_which_release_has_the_newest_document() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("echo", &repo));
    run(&server, &["env", "echo", "A=1"]).success();
    assert_eq!(run(&server, &["env", "echo"]).stderr, "");
    run(&server, &["rollback", "echo"]).success();
    for told in [
        run(&server, &["ps", "echo"]).success(),
        run(&server, &["env", "echo"]).stderr,
    ] {
        assert!(
            told.contains("it is that of release 2, and a rollback"),
            "{told}"
        );
        assert!(told.contains("procserver rollback echo 2"), "{told}");
    }
    run(&server, &["rollback", "echo", "2"]).success();
    assert_eq!(run(&server, &["env", "echo"]).stderr, "");
    // A scale back and forth makes no other release the newest.
    run(&server, &["redeploy", "echo"]).success();
    run(&server, &["scale", "echo", "web=2"]).success();
    assert_eq!(run(&server, &["env", "echo"]).stderr, "");
}

#[test]
fn a_change_that_takes_comments_of_a_document_away_says_so() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("echo", &repo));
    let file = server.config_directory().join("echo.json");
    let by_hand = format!(
        "// mine\n{{ name: 'echo', repo: {{ url: '{}' }}, env: {{ A: '1' }} }}\n",
        repo.url()
    );
    let edit = || {
        std::fs::write(&file, &by_hand).unwrap();
        eventually("it is read", Duration::from_secs(60), || {
            let env = &server.get("/applications/echo").json()["env"];
            (*env == json!({"A": "1"})).then_some(())
        });
    };
    let lost = format!("the comments in {} are gone", file.display());
    for change in [&["env", "echo", "A=2"][..], &["scale", "echo", "web=2"]] {
        edit();
        let changed = run(&server, change);
        assert_eq!(changed.stderr.matches(&lost).count(), 1, "{changed:?}");
        changed.success();
        let again = run(&server, &["env", "echo", "A=3"]);
        assert_eq!(again.stderr, "", "{again:?}");
    }
    edit();
    let same = server.request("PATCH", "/applications/echo");
    let same = same
        .body("{env: {A: \"1\"}}")
        .send(&server.public())
        .expect(200);
    assert!(!same.text().contains("comments"), "nothing is written");
    let failing = with(document("echo", &repo), json!({"install": ["false"]}));
    let refused = server.send_and_wait("PUT", "/applications/echo", &failing);
    assert_eq!(refused.status, 422);
    assert!(refused.text().contains(&lost), "{}", refused.text());
}

#[test]
fn a_warning_of_the_deploy_before_is_not_told_of_one_that_succeeded() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let url = repo.url();
    let created = ["create", "echo", "--repo", &url, "--install", "false"];
    assert_eq!(run(&server, &created).code, Some(1));
    run(&server, &["set", "echo", "install=[]"]).success();
    run(
        &server,
        &["set", "echo", "install=[\"false\"]", "--no-wait"],
    )
    .success();
    eventually("it has failed", Duration::from_secs(60), || {
        let status = server.get("/applications/echo/status").json();
        status["last_failure"].is_object().then_some(())
    });
    let set = run(&server, &["set", "echo", "install=[\"true\"]"]);
    assert!(!set.stderr.contains("failed"), "{set:?}");
    set.success();
}

#[test]
fn ctrl_c_leaves_the_deploy_at_work_and_cancel_ends_it() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let slow = with(document("echo", &repo), json!({"install": ["sleep 600"]}));
    let file = repo.path().join("echo.json");
    std::fs::write(&file, slow.to_string()).unwrap();
    let waiting = procserver()
        .args(["create", file.to_str().unwrap()])
        .env("PROCSERVER_URL", socket(&server))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let record = || server.get("/applications/echo/deployments/1");
    eventually("it installs", Duration::from_secs(60), || {
        let steps = record().json()["steps"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        steps
            .iter()
            .any(|step| step["step"] == "install")
            .then_some(())
    });
    kill(Pid::from_raw(waiting.id().cast_signed()), Signal::SIGINT).unwrap();
    let left = waiting.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&left.stderr);
    assert_eq!(left.status.code(), Some(130), "{told}");
    assert!(
        told.contains("goes on") && told.contains("procserver cancel echo 1"),
        "{told}"
    );
    assert_eq!(record().json()["state"], "running");

    let said = run(&server, &["cancel", "echo"]).success();
    assert!(said.contains("deployment 1 was cancelled"), "{said}");
    assert_eq!(record().json()["state"], "cancelled");
    let again = run(&server, &["cancel", "echo", "1"]);
    assert!(
        again.code == Some(1) && again.stderr.contains("over already"),
        "{again:?}"
    );
}

#[test]
fn words_of_other_tools_are_understood_or_answered_with_the_word_here() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("echo", &repo));
    assert!(run(&server, &["ls"]).success().contains("echo"));
    run(&server, &["destroy", "echo", "--yes"]).success();
    let unknown = run(&server, &["unset", "echo", "A"]);
    assert_eq!(unknown.code, Some(2), "{unknown:?}");
    assert!(
        unknown.stderr.contains("procserver env echo -VARIABLE"),
        "{unknown:?}"
    );
}
