//! Jobs run, are shown, stopped and bounded.

use nix::sys::signal::Signal;
use serde_json::json;

use super::{count, deploy, each_second, ended, listed, live, start, yearly};
use crate::support::command::finish;
use crate::support::machine::{is_alive, send_signal};
use crate::support::runs;
use crate::support::server::Server;
use crate::support::wait::{SOON, eventually};

fn verb(server: &Server, words: &[&str]) -> crate::support::command::Finished {
    finish(&mut runs::verb(server, words))
}

#[test]
fn a_job_runs_at_its_times_is_logged_and_shown_and_one_that_is_taken_away_runs_no_more() {
    let server = Server::start();
    let _repo = deploy(&server, json!([each_second("tick", "echo ticked")]));
    let pid = server.ready_pid("echo", "web.1");
    let job = listed(&server, "tick", |job| ended(job).len() >= 2);
    let runs = ended(&job);
    assert!(
        runs.iter().all(|run| run["last_exit"]["code"] == 0),
        "{job}"
    );
    let dues: std::collections::BTreeSet<_> =
        runs.iter().map(|run| run["due"].to_string()).collect();
    assert_eq!(dues.len(), runs.len(), "each time once: {job}");
    assert!(
        job["next"].is_string() && runs[0]["seconds"].is_number(),
        "{job}"
    );
    let log = verb(&server, &["logs", "echo", "-p", "cron.tick"]).success();
    assert!(log.contains("cron.tick | ticked"), "{log}");
    // The newest run may be at work.
    let shown = verb(&server, &["cron", "echo"]).success();
    assert!(shown.contains("* * * * * *"), "{shown}");
    let without = json!({ "cron": null });
    server
        .send_and_wait("PATCH", "/applications/echo", &without)
        .expect(200);
    assert_eq!(
        server.get("/applications/echo/cron").expect(200).json(),
        json!([])
    );
    assert_eq!(server.ready_pid("echo", "web.1"), pid, "no process notices");
}

#[test]
fn one_that_is_at_work_is_left_alone_unless_its_runs_may_overlap() {
    let server = Server::start();
    let mut several = each_second("several", "exec sleep 600");
    several["overlap"] = "allow".into();
    let jobs = json!([each_second("one", "exec sleep 600"), several]);
    let _repo = deploy(&server, jobs);
    listed(&server, "several", |job| live(job).len() >= 3);
    let one = listed(&server, "one", |job| live(job).len() == 1);
    assert_eq!(one["runs"].as_array().unwrap().len(), 1, "{one}");
    let refused = start(&server, "one").expect(409).json();
    assert!(
        refused["detail"].as_str().unwrap().contains("at work"),
        "{refused}"
    );
    start(&server, "none").expect(404);
    // A stopped application runs none, and a start makes up for none.
    server.act("echo", "stop").expect(200);
    for name in ["one", "several"] {
        let job = listed(&server, name, |job| live(job).is_empty());
        assert!(job["next"].is_null(), "{job}");
    }
}

#[test]
fn a_job_that_never_ends_is_ended_with_all_that_it_started_and_one_that_is_asked_for_runs() {
    let server = Server::start();
    let mut endless = yearly(
        "endless",
        "setsid sleep 600 & echo $! > $STORAGE_DIR/child; sleep 600",
    );
    endless["timeout"] = "1s".into();
    let _repo = deploy(
        &server,
        json!([
            endless,
            yearly("asked", "echo once >> $STORAGE_DIR/asked; exit 3")
        ]),
    );
    start(&server, "endless").expect(201);
    let job = listed(&server, "endless", |job| ended(job).len() == 1);
    assert_eq!(
        ended(&job)[0]["last_exit"]["reason"],
        "its timeout was over",
        "{job}"
    );
    let child =
        std::fs::read_to_string(server.directory().join("apps/echo/storage/child")).unwrap();
    let child: i32 = child.trim().parse().unwrap();
    eventually("its child is ended", SOON, || {
        (!is_alive(child)).then_some(())
    });
    let told = verb(&server, &["cron", "run", "echo", "asked"]).success();
    assert!(told.contains("cron.asked"), "{told}");
    let job = listed(&server, "asked", |job| ended(job).len() == 1);
    assert_eq!(ended(&job)[0]["last_exit"]["code"], 3, "{job}");
    assert_eq!(count(&server, "asked"), 1);
}

#[test]
fn a_server_that_is_killed_while_a_job_runs_goes_on_with_it_and_runs_no_second() {
    let mut server = Server::start();
    let command = "echo began >> $STORAGE_DIR/runs; exec sleep 600";
    let _repo = deploy(&server, json!([each_second("long", command)]));
    let job = listed(&server, "long", |job| live(job).len() == 1);
    let pid = live(&job)[0]["pid"].as_i64().unwrap();
    for _ in 0..2 {
        server.kill();
        server.start_again();
        let job = listed(&server, "long", |job| live(job).len() == 1);
        assert_eq!(live(&job)[0]["pid"], pid, "{job}");
    }
    // It is due each second all the while.
    let log = eventually("it is left out", SOON, || {
        let log = server.log();
        (log.matches("long is left out").count() >= 2).then_some(log)
    });
    assert_eq!(count(&server, "runs"), 1, "{log}");
    send_signal(i32::try_from(pid).unwrap(), Signal::SIGKILL);
    listed(&server, "long", |job| {
        ended(job).len() == 1 && live(job).len() == 1
    });
}

#[test]
fn a_job_that_is_wrong_is_refused_by_its_field_and_changes_nothing() {
    let server = Server::start();
    let _repo = deploy(&server, json!([yearly("a", "true")]));
    let wrong = json!({"cron": [
        {"name": "a", "schedule": "61 * * * *", "command": ""},
        {"name": "1", "schedule": "@daily", "command": "x", "timezone": "Nowhere"},
    ]});
    let refused = server
        .send("PATCH", "/applications/echo", &wrong)
        .expect(422)
        .json();
    let pointers: Vec<_> = refused["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["pointer"].clone())
        .collect();
    assert_eq!(
        pointers,
        [
            "/cron/0/schedule",
            "/cron/0/command",
            "/cron/1/name",
            "/cron/1/timezone"
        ]
    );
    assert_eq!(
        server
            .get("/applications/echo/cron")
            .expect(200)
            .json()
            .as_array()
            .unwrap()
            .len(),
        1
    );
}
