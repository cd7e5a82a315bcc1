//! The life of an application on a swarm of real engines: what a local one does, it does too, and no request fails.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use super::echo::{LONG, app, done, ready, repo, server, version};
use super::engines::Engines;
use super::kept_base;
use crate::support::fixture::with;
use crate::support::http::Request;
use crate::support::server::Server;
use crate::support::wait::eventually;

/// Visits the app from two threads during `work`. Every answer is 200.
fn visited_during(server: &Server, work: impl FnOnce()) {
    let over = AtomicBool::new(false);
    let visit = || {
        let mut visits = 0;
        while !over.load(Ordering::SeqCst) {
            let answer = Request::get("/echo/").send(&server.public());
            assert_eq!(answer.status, 200, "{}", answer.text());
            visits += 1;
        }
        visits
    };
    std::thread::scope(|scope| {
        let visitors = [scope.spawn(visit), scope.spawn(visit)];
        let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        over.store(true, Ordering::SeqCst);
        let visits = visitors.map(|visitor| visitor.join().unwrap());
        worked.unwrap();
        assert!(visits.iter().all(|visits| *visits > 0), "{visits:?}");
    });
}

#[test]
fn an_application_lives_on_a_swarm_as_on_this_machine_and_no_request_fails() {
    let Some(engines) = Engines::start(2, "an application lives on a swarm") else {
        return;
    };
    let mut server = server(&engines);
    let repo = repo("1");
    done(&server, "POST", "/applications", Some(&app(&repo)));
    kept_base::keep(server.directory());
    ready(&server, &["web.1", "web.2"]);
    assert_eq!(version(&server), "1");
    visited_during(&server, || {
        repo.commit(&[("VERSION", "2")]);
        done(&server, "POST", "/applications/echo/redeploy", None);
        assert_eq!(version(&server), "2");
        done(&server, "POST", "/applications/echo/rollback", None);
        assert_eq!(version(&server), "1");
        let patch = |scale: u32| json!({ "scale": { "web": scale } });
        done(&server, "PATCH", "/applications/echo", Some(&patch(3)));
        ready(&server, &["web.1", "web.2", "web.3"]);
        done(&server, "PATCH", "/applications/echo", Some(&patch(1)));
        ready(&server, &["web.1"]);
        done(&server, "POST", "/applications/echo/restart", None);
        let engine = |name: &str| json!({ "engine": name });
        done(
            &server,
            "PATCH",
            "/applications/echo",
            Some(&engine("local")),
        );
        let _pid = server.ready_pid("echo", "web.1");
        done(
            &server,
            "PATCH",
            "/applications/echo",
            Some(&engine("swarm")),
        );
    });
    what_it_prints_is_in_the_log_once(&mut server);
    an_end_is_told_with_its_code(&server);
    done(&server, "POST", "/applications/echo/stop", None);
    assert_eq!(engines.docker(1, &["service", "ls", "--quiet"]), "");
    done(&server, "POST", "/applications/echo/start", None);
    ready(&server, &["web.1"]);
    let gone = server.request("DELETE", "/applications/echo");
    gone.send(&server.public()).expect(202);
    eventually("nothing is left of it on the swarm", LONG, || {
        let services = engines.docker(1, &["service", "ls", "--quiet"]);
        services.is_empty().then_some(())
    });
}

/// Also when the server is killed in between: the next one takes over what runs, and reads on.
fn what_it_prints_is_in_the_log_once(server: &mut Server) {
    let print = |server: &Server, text: &str| {
        server
            .visit(&format!("/echo/print?text={text}"))
            .expect(200);
        eventually("it is in the log", LONG, || {
            lines(server).contains(&text.to_owned()).then_some(())
        });
    };
    ready(server, &["web.1"]);
    print(server, "before");
    let of_worker = |server: &Server| lines(server).iter().filter(|l| *l == "tick").count();
    assert!(of_worker(server) > 0);
    // What is known of the output is written down once a second.
    let known = of_worker(server);
    eventually("the worker has printed more", LONG, || {
        (of_worker(server) > known + 2).then_some(())
    });
    let started = server.process("echo", "web.1")["started_at"].clone();
    server.kill();
    server.start_again();
    ready(server, &["web.1"]);
    assert_eq!(server.process("echo", "web.1")["started_at"], started);
    print(server, "after");
    let lines = lines(server);
    let times = |text: &str| lines.iter().filter(|line| *line == text).count();
    assert_eq!((times("before"), times("after")), (1, 1), "{lines:?}");
}

/// The last lines that the application has printed on stdout.
fn lines(server: &Server) -> Vec<String> {
    let answer = server
        .get("/applications/echo/logs/stdout?tail=1000")
        .expect(200)
        .text();
    let text = |line: &str| line.split_once(" | ").map(|(_, text)| text.to_owned());
    answer.lines().filter_map(text).collect()
}

fn an_end_is_told_with_its_code(server: &Server) {
    // It ends without an answer.
    let _unanswered = server.visit("/echo/exit?code=3");
    eventually("its end is told, and it runs again", LONG, || {
        let web = server.process("echo", "web.1");
        let is_told = web["last_exit"]["code"] == 3 && web["restarts"] == 1;
        (is_told && web["state"] == "ready").then_some(())
    });
}

#[test]
fn a_process_that_listens_for_its_own_machine_only_is_told_what_to_do() {
    let Some(engines) = Engines::start(1, "a process that listens for its own machine only") else {
        return;
    };
    let server = server(&engines);
    let repo = repo("1");
    let health = json!({ "interval": "200ms", "boot_timeout": "20s" });
    let deaf = with(
        app(&repo),
        json!({ "env": {}, "health_check": health, "scale": {} }),
    );
    let answer = server
        .request("POST", "/applications")
        .header("Prefer", "wait=600")
        .header("Content-Type", "application/json")
        .body(deaf.to_string())
        .deadline(LONG)
        .send(&server.public());
    kept_base::keep(server.directory());
    let told = answer.expect(422).text();
    assert!(told.contains("0.0.0.0"), "{told}");
}
