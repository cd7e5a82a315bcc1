//! Machines and managers that go away.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::echo::{LONG, app, done, ready, repo, server};
use super::engines::Engines;
use super::kept_base;
use crate::support::http::Request;
use crate::support::server::Server;
use crate::support::wait::eventually;

/// Requests at a time.
const VISITORS: usize = 2;

/// What an answer may take while a machine is gone: a connection is tried for five seconds.
const PATIENCE: Duration = Duration::from_secs(120);

/// The machines that the two web processes are on, once both are ready.
fn nodes(server: &Server) -> Option<[Value; 2]> {
    let status = server.status("echo");
    let processes = status["processes"].as_array()?;
    let of = |id: &str| {
        let process = processes
            .iter()
            .find(|p| p["id"] == id && p["state"] == "ready")?;
        Some(process["node"].clone())
    };
    Some([of("web.1")?, of("web.2")?])
}

/// How many visits during `work` were not answered with 200. Each visitor was answered so at least once.
fn failed_during(server: &Server, work: impl FnOnce()) -> usize {
    let over = AtomicBool::new(false);
    let visit = || {
        let (mut good, mut failed) = (0, 0);
        while !over.load(Ordering::SeqCst) {
            let answer = Request::get("/echo/")
                .deadline(PATIENCE)
                .try_send(&server.public());
            let is_good = answer.is_ok_and(|answer| answer.status == 200);
            failed += usize::from(!is_good);
            good += usize::from(is_good);
        }
        (good, failed)
    };
    std::thread::scope(|scope| {
        let visitors = [(); VISITORS].map(|()| scope.spawn(visit));
        let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        over.store(true, Ordering::SeqCst);
        let visits = visitors.map(|visitor| visitor.join().unwrap());
        worked.unwrap();
        assert!(visits.iter().all(|(good, _)| *good > 0), "{visits:?}");
        visits.iter().map(|(_, failed)| failed).sum()
    })
}

#[test]
fn a_machine_that_is_lost_costs_what_was_in_flight_there_and_no_more() {
    let Some(mut engines) = Engines::start(2, "a machine of a swarm is lost") else {
        return;
    };
    let server = server(&engines);
    done(&server, "POST", "/applications", Some(&app(&repo("1"))));
    kept_base::keep(server.directory());
    ready(&server, &["web.1", "web.2"]);
    let [one, other] = nodes(&server).expect("both are ready");
    assert_ne!(one, other, "a swarm spreads the processes of a type");
    let failed = failed_during(&server, || {
        engines.kill(2);
        eventually("both run on the machine that is left", LONG, || {
            (nodes(&server)? == ["node1", "node1"].map(Value::from)).then_some(())
        });
    });
    assert!(
        failed <= VISITORS,
        "{failed} requests failed\n{}",
        server.log()
    );
}

#[test]
fn while_no_manager_answers_what_runs_is_served_also_by_a_server_that_starts_then() {
    let Some(engines) = Engines::start(2, "no manager answers") else {
        return;
    };
    let mut server = server(&engines);
    done(&server, "POST", "/applications", Some(&app(&repo("1"))));
    kept_base::keep(server.directory());
    ready(&server, &["web.1", "web.2"]);
    let failed = failed_during(&server, || {
        engines.kill_engine_alone(1);
        eventually("it is told that no manager answers", LONG, || {
            let warnings = server.status("echo")["warnings"].to_string();
            warnings.contains("cannot be reached").then_some(())
        });
    });
    assert_eq!(failed, 0, "{}", server.log());
    server.kill();
    server.start_again();
    ready(&server, &["web.1", "web.2"]);
    server.visit("/echo/").expect(200);
    let change = json!({ "env": { "A": "1", "LISTEN": "0.0.0.0" }, "health_check": { "boot_timeout": "3s" } });
    let answer = server
        .request("PATCH", "/applications/echo")
        .header("Prefer", "wait=600")
        .header("Content-Type", "application/merge-patch+json")
        .body(change.to_string())
        .deadline(LONG)
        .send(&server.public());
    let told = answer.expect(422).text();
    assert!(told.contains("cannot be reached"), "{told}");
    server.visit("/echo/").expect(200);
    // Without a manager nobody else ends what runs.
    drop(engines);
}
