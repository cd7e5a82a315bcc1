//! Runs that were missed, and a wall clock that is set.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{count, ended, listed, live};
use crate::faults::clock::Clocked;
use crate::support::fixture::{document, web_repo, with};
use crate::support::wait::{SOON, eventually};

const HOUR: i64 = 3600;

/// Seconds from now to the next half past two at night (UTC) that is more than two hours away.
fn to_next_run() -> i64 {
    let now = Timestamp::now();
    let night = |day: i64| {
        let day = now + SignedDuration::from_hours(24 * day);
        let date = &day.to_string()[..10];
        let time: Timestamp = format!("{date}T02:30:00Z").parse().unwrap();
        time.as_second() - now.as_second()
    };
    [0, 1, 2]
        .map(night)
        .into_iter()
        .find(|left| *left > 2 * HOUR)
        .unwrap()
}

#[test]
fn a_run_that_was_missed_is_made_up_for_once_if_it_is_under_an_hour_old_and_none_is_repeated() {
    let mut clocked = Clocked::start();
    let repo = web_repo("1");
    let jobs = json!([{"name": "nightly", "schedule": "30 2 * * *", "command": "echo x >> $STORAGE_DIR/runs"}]);
    clocked
        .server
        .deploy(&with(document("echo", &repo), json!({ "cron": jobs })));
    let due = to_next_run();
    listed(&clocked.server, "nightly", |job| job["next"].is_string());
    assert_eq!(count(&clocked.server, "runs"), 0);

    // The server is away at its time, and comes back within an hour.
    clocked.server.kill();
    clocked.set(due + HOUR / 2);
    clocked.server.start_again();
    listed(&clocked.server, "nightly", |job| ended(job).len() == 1);
    // It was run, and the next server knows.
    clocked.server.kill();
    clocked.server.start_again();
    clocked.server.ready_pid("echo", "web.1");
    let job = listed(&clocked.server, "nightly", |job| job["next"].is_string());
    assert_eq!(
        (ended(&job).len(), count(&clocked.server, "runs")),
        (1, 1),
        "{job}"
    );

    // A day later it is away for longer: that time is let go.
    clocked.server.kill();
    clocked.set(due + 24 * HOUR + 2 * HOUR);
    clocked.server.start_again();
    clocked.server.ready_pid("echo", "web.1");
    let next = |job: &serde_json::Value| -> i64 {
        let next: Timestamp = job["next"].as_str().unwrap().parse().unwrap();
        next.as_second()
    };
    let job = listed(&clocked.server, "nightly", |job| {
        job["next"].is_string() && next(job) > Timestamp::now().as_second() + due + 24 * HOUR
    });
    assert_eq!(
        (ended(&job).len(), count(&clocked.server, "runs")),
        (1, 1),
        "{job}"
    );

    // The clock is set to its time while the server runs, and back by an hour: it runs once.
    clocked.set(due + 2 * 24 * HOUR + 60);
    eventually("it has run again", SOON, || {
        (count(&clocked.server, "runs") == 2).then_some(())
    });
    clocked.set(due + 2 * 24 * HOUR - HOUR / 2);
    // What has written to its file may not have ended yet.
    let job = listed(&clocked.server, "nightly", |job| {
        live(job).is_empty()
            && job["next"].is_string()
            && next(job) > Timestamp::now().as_second() + due + 2 * 24 * HOUR + 60
    });
    assert_eq!(
        (ended(&job).len(), count(&clocked.server, "runs")),
        (2, 2),
        "{job}"
    );
}
