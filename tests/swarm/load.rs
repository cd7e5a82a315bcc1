//! An application under load: while it is deployed again and again, while no manager answers, and while a machine is
//! cut off, and comes back.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::echo::{LONG, app, done, ready, repo, server, version};
use super::engines::Engines;
use super::kept_base;
use crate::support::fixture::with;
use crate::support::http::Request;
use crate::support::server::Server;
use crate::support::wait::eventually;

/// Requests at a time.
const VISITORS: usize = 3;

const REDEPLOYS: usize = 20;

/// How long no manager answers.
const MINUTE: Duration = Duration::from_secs(60);

/// When what is asked is well again after a machine is gone.
const RECOVERY: Duration = Duration::from_secs(30);

/// An answer that takes longer is no good one.
const SLOW: Duration = Duration::from_secs(1);

/// What an answer may take before a visitor goes away.
const PATIENCE: Duration = Duration::from_secs(120);

/// A request that did something once, if at all.
struct Visit {
    id: String,
    began: Instant,
    ended: Instant,
    is_good: bool,
}

impl Visit {
    fn is_quick(&self) -> bool {
        self.ended - self.began < SLOW
    }
}

/// Has visitors POST during `work`, each request with an id that the application prints.
fn visits_during(server: &Server, name: &str, work: impl FnOnce()) -> Vec<Visit> {
    let over = AtomicBool::new(false);
    let over = &over;
    let visit = move |visitor: usize| {
        let mut visits = Vec::new();
        while !over.load(Ordering::SeqCst) {
            let id = format!("{name}-{visitor}-{}", visits.len());
            let began = Instant::now();
            let answer = Request::new("POST", &format!("/echo/print?text=did-{id}-"))
                .body("once")
                .deadline(PATIENCE)
                .try_send(&server.public());
            visits.push(Visit {
                id,
                began,
                ended: Instant::now(),
                is_good: answer.is_ok_and(|answer| answer.status == 200),
            });
        }
        visits
    };
    std::thread::scope(|scope| {
        let visitors: Vec<_> = (0..VISITORS)
            .map(|visitor| scope.spawn(move || visit(visitor)))
            .collect();
        let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        over.store(true, Ordering::SeqCst);
        let visits = visitors.into_iter().flat_map(|v| v.join().unwrap());
        let visits: Vec<Visit> = visits.collect();
        worked.unwrap();
        assert!(
            visits.iter().any(|visit| visit.is_good),
            "nobody was answered"
        );
        visits
    })
}

#[track_caller]
fn assert_none_lost(server: &Server, visits: &[Visit]) {
    let lost: Vec<&str> = visits
        .iter()
        .filter(|visit| !visit.is_good)
        .map(|visit| visit.id.as_str())
        .collect();
    assert!(
        lost.is_empty(),
        "lost of {}: {lost:?}\n{}",
        visits.len(),
        server.log()
    );
}

#[test]
fn under_load_nothing_is_lost_but_what_is_in_flight_to_a_machine_that_is_cut_off() {
    let Some(engines) = Engines::start(2, "an application on a swarm is under load") else {
        return;
    };
    let server = server(&engines);
    let repo = repo("0");
    let quiet =
        json!({ "health_check": { "path": "/", "interval": "200ms", "boot_timeout": "1m" } });
    let first = json!({
        "health_check": { "path": "/", "boot_timeout": "5m" },
        "scale": { "web": 2, "worker": 0 },
    });
    let first = with(app(&repo), first);
    done(&server, "POST", "/applications", Some(&first));
    kept_base::keep(server.directory());
    done(&server, "PATCH", "/applications/echo", Some(&quiet));
    ready(&server, &["web.1", "web.2"]);
    let visits = visits_during(&server, "deploys", || {
        for number in 1..=REDEPLOYS {
            let next = number.to_string();
            repo.commit(&[("VERSION", &next)]);
            done(&server, "POST", "/applications/echo/redeploy", None);
            assert_eq!(version(&server), next);
        }
    });
    assert_none_lost(&server, &visits);
    ready(&server, &["web.1", "web.2"]);
    no_manager_answers_for_a_minute(&engines, &server);
    a_machine_is_cut_off(&engines, &server);
}

fn no_manager_answers_for_a_minute(engines: &Engines, server: &Server) {
    let visits = visits_during(server, "alone", || {
        engines.freeze_engine(1);
        std::thread::sleep(MINUTE);
        engines.thaw_engine(1);
        eventually("the manager is back", LONG, || {
            let warnings = server.status("echo")["warnings"].to_string();
            (!warnings.contains("cannot be reached")).then_some(())
        });
    });
    assert_none_lost(server, &visits);
    eventually("both nodes are there", LONG, || {
        let nodes = engines.docker(1, &["node", "ls", "--format", "{{.Status}}"]);
        (nodes == "Ready\nReady").then_some(())
    });
    done(server, "POST", "/applications/echo/restart", None);
    ready(server, &["web.1", "web.2"]);
}

fn a_machine_is_cut_off(engines: &Engines, server: &Server) {
    let mut cut = Instant::now();
    let visits = visits_during(server, "cut", || {
        cut = Instant::now();
        engines.cut(2);
        eventually("both run on the machine that is left", LONG, || {
            let status = server.status("echo");
            let processes = status["processes"].as_array()?;
            let mut web = processes.iter().filter(|p| p["type"] == "web");
            let is_there = |p: &Value| p["node"] == "node1" && p["state"] == "ready";
            web.all(is_there).then_some(())
        });
    });
    let failed = visits.iter().filter(|visit| !visit.is_good).count();
    assert!(failed <= VISITORS, "{failed} failed\n{}", server.log());
    let bad = visits
        .iter()
        .filter(|visit| !visit.is_good || !visit.is_quick());
    let last = bad
        .map(|visit| visit.ended.saturating_duration_since(cut))
        .max();
    let last = last.unwrap_or_default();
    assert!(
        last < RECOVERY,
        "the last one that suffered ended after {last:?}\n{}",
        server.log()
    );
    // The node removes them once it learns that they are not wanted.
    let mut done = done_on(engines, 2);
    let later = visits_during(server, "mended", || {
        engines.mend(2);
        eventually("nothing runs there any more", LONG, || {
            let nodes = engines.docker(1, &["node", "ls", "--format", "{{.Status}}"]);
            let runs = engines.docker(2, &["ps", "--quiet"]);
            (nodes == "Ready\nReady" && runs.is_empty()).then_some(())
        });
    });
    assert_none_lost(server, &later);
    ready(server, &["web.1", "web.2"]);
    assert_eq!(running(engines), 2, "two are wanted");
    done.extend(done_on(engines, 1));
    each_is_done_once(&done, &visits);
    each_is_done_once(&done, &later);
}

fn running(engines: &Engines) -> usize {
    let on = |engine| engines.docker(engine, &["ps", "--quiet"]).lines().count();
    on(1) + on(2)
}

/// The ids of what the processes on an engine have done.
fn done_on(engines: &Engines, engine: usize) -> Vec<String> {
    let containers = engines.docker(engine, &["ps", "--all", "--quiet"]);
    let printed = containers
        .lines()
        .map(|container| engines.docker(engine, &["logs", container]));
    // Two that print at the same time may do so in one line.
    let ids = |log: String| -> Vec<String> {
        let texts = log.split("did-").skip(1);
        let ids = texts.filter_map(|text| text.lines().next());
        ids.map(|id| id.trim_end_matches('-').to_owned()).collect()
    };
    printed.flat_map(ids).collect()
}

/// What was answered was done, and nothing was done twice.
fn each_is_done_once(done: &[String], visits: &[Visit]) {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for id in done {
        *counts.entry(id).or_default() += 1;
    }
    for visit in visits {
        let count = counts.get(&*visit.id).copied().unwrap_or_default();
        let wanted = if visit.is_good { 1..=1 } else { 0..=1 };
        assert!(
            wanted.contains(&count),
            "{} was done {count} times",
            visit.id
        );
    }
}
