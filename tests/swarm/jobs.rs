//! What runs once on a swarm: commands that people run, and jobs at set times. It is as on this machine.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::echo::{LONG, app, done, ready, repo, server};
use super::engines::Engines;
use super::kept_base;
use crate::support::command::{Finished, finish};
use crate::support::fixture::with;
use crate::support::runs::{self, is_over, verb};
use crate::support::server::Server;
use crate::support::wait::eventually;

/// Runs a command of the application to its end.
#[track_caller]
fn run(server: &Server, words: &[&str]) -> Finished {
    finish(verb(server, &[&["run", "echo"], words].concat()).stdin(Stdio::null()))
}

/// Starts a detached command, and returns its id.
#[track_caller]
fn detached(server: &Server, words: &[&str]) -> String {
    let printed = run(server, &[&["-d"], words].concat()).success();
    printed.trim().to_owned()
}

/// A run as it is listed, once it is as wanted.
#[track_caller]
fn listed(server: &Server, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    runs::listed(server, id, LONG, wanted)
}

/// Waits until no job is left on the swarm.
#[track_caller]
fn nothing_is_left(engines: &Engines) {
    eventually("no job is left on the swarm", LONG, || {
        let format = "{{.Name}}";
        let names = engines.docker(1, &["service", "ls", "--format", format]);
        (!names.lines().any(|name| name.starts_with("job-"))).then_some(())
    });
}

/// The application with one web process.
fn deploy(server: &Server, repo: &crate::support::repo::Repo, extra: Value) {
    let one = with(app(repo), json!({ "scale": { "web": 1, "worker": 0 } }));
    done(server, "POST", "/applications", Some(&with(one, extra)));
    kept_base::keep(server.directory());
    ready(server, &["web.1"]);
}

/// What a run has printed to the log, by the lines of one stream.
fn logged(server: &Server, id: &str) -> Vec<String> {
    let place = format!("/applications/echo/logs/stdout?process={id}&tail=all");
    let log = server.get(&place).expect(200).text();
    let text = |line: &str| Some(line.split_once(" | ")?.1.to_owned());
    log.lines().filter_map(text).collect()
}

/// Feeds `input` to a command and returns how it ended.
fn fed(mut program: Command, input: &[u8]) -> (Option<i32>, String) {
    let program = program.stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = program.stderr(Stdio::piped()).spawn().unwrap();
    // It may have ended without reading it.
    let _closed = child.stdin.take().unwrap().write_all(input);
    let ended = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&ended.stderr).into_owned();
    (ended.status.code(), told)
}

#[test]
fn a_command_runs_once_on_a_swarm_as_on_this_machine() {
    let Some(engines) = Engines::start(2, "a command runs once on a swarm") else {
        return;
    };
    let mut server = server(&engines);
    let repo = repo("1");
    let env = json!({ "LISTEN": "0.0.0.0", "BRACES": "{{.Node.ID}}" });
    deploy(&server, &repo, json!({ "env": env, "shared": ["log"] }));
    who_is_attached_has_its_output_and_its_code(&server);
    who_cannot_be_served_is_told_why(&server);
    one_is_ended(&server);
    the_next_server_goes_on_with_what_is_detached(&engines, &mut server);
    nothing_is_left(&engines);
}

fn who_is_attached_has_its_output_and_its_code(server: &Server) {
    let printed = run(server, &["echo out; printf err >&2; exit 7"]);
    assert_eq!(printed.code, Some(7), "{printed:?}\n{}", server.log());
    let both = (printed.stdout.as_str(), printed.stderr.as_str());
    assert_eq!(both, ("out\n", "err"));
    // More than any pipe on the way holds, and a line that no log has in one piece.
    let much = "echo $PS ${PORT-none} $BRACES $PROCSERVER_RELEASE; seq 60000; head -c 50000 /dev/zero | tr '\\0' x";
    let printed = run(server, &[much]).success();
    let (first, rest) = printed.split_once('\n').unwrap();
    assert!(
        first.starts_with("run.") && first.ends_with(" none {{.Node.ID}} 1"),
        "{first}"
    );
    let mut wanted: String = (1..=60_000).map(|n| format!("{n}\n")).collect();
    wanted.push_str(&"x".repeat(50_000));
    assert!(rest == wanted, "{} of {} bytes", rest.len(), wanted.len());
    let own = "touch \"$TMPDIR/a\" && grep NoNewPrivs /proc/self/status";
    assert_eq!(run(server, &[own]).success(), "NoNewPrivs:\t1\n");
    let killed = run(server, &["kill -9 $$"]);
    assert_eq!(killed.code, Some(137), "{killed:?}");
    let missing = run(server, &["nosuchprogram"]);
    assert_eq!(missing.code, Some(127), "{missing:?}");
    // Not what its shell does for the shared directories before it.
    let told = "command not found: nosuchprogram";
    assert!(missing.stderr.contains(told), "{missing:?}");
    let late = run(server, &["--timeout", "2s", "--", "sleep", "600"]);
    assert!(
        late.code != Some(0) && late.stderr.contains("its timeout was over"),
        "{late:?}"
    );
}

fn who_cannot_be_served_is_told_why(server: &Server) {
    let wish = json!({ "command": "sh", "tty": true });
    let refused = server.send("POST", "/applications/echo/run", &wish);
    let told = refused.expect(422).text();
    assert!(
        told.contains("no terminal") && told.contains("run -T"),
        "{told}"
    );
    let (code, told) = fed(verb(server, &["run", "echo", "sleep 600"]), b"typed");
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("a swarm gives a command no input"), "{told}");
    assert!(!told.contains("before the command did"), "{told}");
}

fn one_is_ended(server: &Server) {
    let id = detached(server, &["echo printed; exec sleep 600"]);
    let one = listed(server, &id, |one| one["state"] == "ready");
    assert!(one["node"].is_string() && one["task"].is_string(), "{one}");
    eventually("its output is in the log", LONG, || {
        (logged(server, &id) == ["printed"]).then_some(())
    });
    let process = server.process("echo", &id);
    assert_eq!(process["state"], "ready");
    assert_eq!(
        [&process["node"], &process["task"]],
        [&one["node"], &one["task"]]
    );
    let on = format!("on {}", one["node"].as_str().unwrap());
    let shown = finish(&mut verb(server, &["ps", "echo"])).success();
    let row = shown.lines().find(|line| line.contains(&id));
    assert!(row.is_some_and(|row| row.contains(&on)), "{shown}");
    finish(&mut verb(server, &["stop", "echo", "-p", &id])).success();
    let over = listed(server, &id, is_over);
    assert_eq!(over["node"], one["node"], "its volumes are there");
    let shown = run(server, &[]).success();
    let row = shown.lines().find(|line| line.contains(&id));
    assert!(row.is_some_and(|row| row.contains(&on[3..])), "{shown}");
}

fn the_next_server_goes_on_with_what_is_detached(engines: &Engines, server: &mut Server) {
    let id = detached(server, &["echo one; sleep 20; echo two; exit 3"]);
    let quick = detached(server, &["sleep 5; exit 4"]);
    let attached = verb(server, &["run", "echo", "sleep 600"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let runs = |server: &Server| {
        let all = server.get("/applications/echo/run").expect(200).json();
        let of = |one: &&Value| one["attached"] == true && one["state"] == "ready";
        Some(all.as_array()?.iter().find(of)?["id"].as_str()?.to_owned())
    };
    let taken = eventually("the attached one runs", LONG, || runs(server));
    eventually("its output is in the log", LONG, || {
        (logged(server, &id) == ["one"]).then_some(())
    });
    server.kill();
    attached.unwrap().wait().unwrap();
    let note = server.directory().join("swarm/jobs/job-late.json");
    let late = json!({ "name": "job-late", "app": "echo", "number": 99, "process": "run.99" });
    std::fs::write(note, late.to_string()).unwrap();
    server.start_again();
    // As if the engine had carried out now what the server before has called for.
    let create = [
        "service",
        "create",
        "--detach",
        "--no-resolve-image",
        "--name",
        "job-late",
    ];
    engines.docker(1, &[&create[..], &["nosuch"]].concat());
    let over = listed(server, &id, is_over);
    assert_eq!(over["last_exit"]["code"], 3, "{over}");
    assert_eq!(logged(server, &id), ["one", "two"]);
    // One that ended while there was no server has its code, too.
    let over = listed(server, &quick, is_over);
    assert_eq!(over["last_exit"]["code"], 4, "{over}");
    let over = listed(server, &taken, is_over);
    assert!(over["last_exit"]["code"].is_null(), "{over}");
}

#[test]
fn jobs_run_on_a_swarm_at_their_times_and_the_release_phase_before_anything_starts() {
    let Some(engines) = Engines::start(2, "jobs run on a swarm at their times") else {
        return;
    };
    let server = server(&engines);
    let repo = repo("1");
    let procfile = |release: &str| format!("web: exec python3 web.py\nrelease: {release}\n");
    repo.commit(&[(
        "Procfile",
        &procfile("echo $PS migrates; echo $SECRET_KEY; touch $STORAGE_DIR/done"),
    )]);
    let job = |name: &str, schedule: &str, command: &str| json!({ "name": name, "schedule": schedule, "command": command });
    let jobs = json!([
        job("often", "*/5 * * * * *", "echo at work"),
        job("yearly", "@yearly", "echo yearly; sleep 30; exit 5"),
    ]);
    let env = json!({ "LISTEN": "0.0.0.0", "SECRET_KEY": "swordfish" });
    deploy(
        &server,
        &repo,
        json!({ "scale": { "web": 1 }, "cron": jobs, "env": env, "stop": { "timeout": "30s" } }),
    );
    let log = server
        .get("/applications/echo/logs/install?tail=all")
        .expect(200)
        .text();
    assert!(log.contains("release.1 migrates"), "{log}");
    assert!(!log.contains("swordfish"), "{log}");
    let place = |text: &str| log.find(text).unwrap_or_else(|| panic!("{text}: {log}"));
    assert!(place("=== image done") < place("=== release\n"), "{log}");
    assert!(place("release.1 migrates") < place("=== start"), "{log}");
    jobs_run(&server);
    a_release_phase_that_fails_fails_the_deploy(&server, &repo, &procfile("echo told; exit 9"));
    let ends = "trap 'sleep 15; rm $STORAGE_DIR/busy; exit 1' TERM";
    let long =
        format!("{ends}; touch $STORAGE_DIR/busy; echo be''gun; while :; do sleep 0.1; done");
    let phases = [&long, "! test -e $STORAGE_DIR/busy"].map(procfile);
    engines.docker(1, &["node", "update", "--availability", "pause", "node2"]);
    a_release_phase_that_is_cancelled_has_ended_before_the_next(&server, &repo, phases);
    nothing_is_left_but_jobs_at_work(&engines);
}

fn job_of(server: &Server, name: &str) -> Value {
    let all = server.get("/applications/echo/cron").expect(200).json();
    let found = all
        .as_array()
        .unwrap()
        .iter()
        .find(|job| job["name"] == name);
    found.unwrap().clone()
}

fn jobs_run(server: &Server) {
    let ended = |name: &str| {
        let job = job_of(server, name);
        let mut runs = job["runs"].as_array().unwrap().clone().into_iter();
        runs.find(|run| !run["last_exit"].is_null())
    };
    let first = eventually("a job has run at its time", LONG, || ended("often"));
    assert_eq!(first["last_exit"]["code"], 0, "{first}");
    assert!(logged(server, "cron.often").contains(&"at work".to_owned()));
    let start = || {
        let call = server.request("POST", "/applications/echo/cron/yearly/run");
        call.deadline(LONG).send(&server.public())
    };
    start().expect(201);
    let told = start().expect(409).text();
    assert!(told.contains("is at work"), "{told}");
    let over = eventually("it is over", LONG, || ended("yearly"));
    assert_eq!(over["last_exit"]["code"], 5, "{over}");
}

fn a_release_phase_that_fails_fails_the_deploy(
    server: &Server,
    repo: &crate::support::repo::Repo,
    procfile: &str,
) {
    repo.commit(&[("Procfile", procfile), ("VERSION", "2")]);
    let answer = server
        .request("POST", "/applications/echo/redeploy")
        .header("Prefer", "wait=600")
        .deadline(LONG)
        .send(&server.public());
    let told = answer.expect(422).text();
    assert!(
        told.contains("exit code 9") && told.contains("told"),
        "{told}"
    );
    ready(server, &["web.1"]);
    assert_eq!(super::echo::version(server), "1");
    let releases = server.directory().join("apps/echo/releases/2");
    eventually("its files are gone", LONG, || {
        (!releases.exists()).then_some(())
    });
}

fn a_release_phase_that_is_cancelled_has_ended_before_the_next(
    server: &Server,
    repo: &crate::support::repo::Repo,
    [long, next]: [String; 2],
) {
    repo.commit(&[("Procfile", &long)]);
    let redeploy = server.request("POST", "/applications/echo/redeploy");
    let accepted = redeploy.deadline(LONG).send(&server.public()).expect(202);
    let deployment = accepted.header("location").unwrap().to_owned();
    eventually("the release phase runs", LONG, || {
        let log = server.get("/applications/echo/logs/install?tail=all");
        log.expect(200).text().contains("begun").then_some(())
    });
    let cancel = server.request("POST", &format!("{deployment}/cancel"));
    cancel.send(&server.public()).expect(202);
    repo.commit(&[("Procfile", &next)]);
    done(server, "POST", "/applications/echo/redeploy", None);
}

/// But for the job that runs every five seconds.
fn nothing_is_left_but_jobs_at_work(engines: &Engines) {
    let names = engines.docker(1, &["service", "ls", "--format", "{{.Name}}"]);
    let left = names.lines().filter(|name| name.starts_with("job-"));
    let left: Vec<_> = left.filter(|name| !name.contains("-cron-")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_command_that_a_swarm_cannot_run_or_loses_is_told_of() {
    let Some(mut engines) = Engines::start(2, "a command that a swarm loses") else {
        return;
    };
    let server = server(&engines);
    let repo = repo("1");
    deploy(&server, &repo, json!({}));
    let availability = |node: &str, wanted: &str| {
        engines.docker(1, &["node", "update", "--availability", wanted, node]);
    };
    availability("node1", "pause");
    let id = detached(&server, &["sleep 600"]);
    let one = listed(&server, &id, |one| one["state"] == "ready");
    assert_eq!(one["node"], "node2");
    availability("node2", "pause");
    let placeless = run(&server, &["true"]);
    assert!(
        placeless.stderr.contains("no suitable node"),
        "{placeless:?}"
    );
    availability("node2", "active");
    engines.kill(2);
    let over = listed(&server, &id, is_over);
    assert!(over["last_exit"]["code"].is_null(), "{over}");
    let told = over["last_exit"]["reason"].as_str().unwrap();
    assert!(told.contains("its machine node2 is gone"), "{over}");
    engines.docker(1, &["node", "update", "--availability", "active", "node1"]);
    // The engine that is left is the one that answers.
    assert_eq!(run(&server, &["exit 6"]).code, Some(6));
    nothing_is_left(&engines);
}
