//! Many deploys: under load, at once, cancelled, and back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::fixture::{document, web_files, web_repo, with};
use crate::support::machine::processes_of;
use crate::support::repo::Repo;
use crate::support::server::Server;
use crate::support::wait::{SOON, eventually};

/// Listens long before it is ready: until then it answers 500 to everything, and 503 to its health check. A second one
/// of it at the same time ends: it needs the lock of the first.
const SLOW_WEB: &str = r#"
import fcntl, http.server, os, signal, time
if os.environ.get("ALONE"):
    lock = open(os.path.join(os.environ["STORAGE_DIR"], "lock"), "w")
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
READY_AT = time.monotonic() + 0.1
VERSION = open("VERSION").read().strip().encode()
class App(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        ready = time.monotonic() >= READY_AT
        self.send_response(200 if ready else 503 if self.path == "/up" else 500)
        self.send_header("Content-Length", str(len(VERSION)))
        self.end_headers()
        self.wfile.write(VERSION)
    def log_message(self, *args):
        pass
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), App).serve_forever()
"#;

fn slow_repo() -> Repo {
    let procfile = "web: exec python3 web.py\n";
    Repo::new(&[
        ("Procfile", procfile),
        ("web.py", SLOW_WEB),
        ("VERSION", "0"),
    ])
}

fn slow_document(repo: &Repo) -> Value {
    let health = json!({ "path": "/up", "interval": "100ms", "boot_timeout": "20s" });
    with(document("echo", repo), json!({ "health_check": health }))
}

/// How many redeploys run under load; the CI runs few.
fn redeploys() -> u32 {
    let asked = std::env::var("PROCSERVER_TEST_REDEPLOYS").ok();
    asked.map_or(20, |number| number.parse().expect("a number"))
}

/// Visits the app from two threads during `work`; what they saw, in order, without repetitions. Each answer is 200.
fn visited_during(server: &Server, work: impl FnOnce()) -> Vec<Vec<u32>> {
    let over = AtomicBool::new(false);
    let visit = || {
        let mut seen: Vec<u32> = Vec::new();
        while !over.load(Ordering::SeqCst) {
            let version = server.visit("/echo/").expect(200).text();
            seen.push(version.parse().expect("a version"));
            seen.dedup();
        }
        seen
    };
    std::thread::scope(|scope| {
        let visitors = [scope.spawn(visit), scope.spawn(visit)];
        let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        over.store(true, Ordering::SeqCst);
        let seen = visitors.map(|visitor| visitor.join().unwrap());
        worked.unwrap();
        seen.to_vec()
    })
}

#[test]
fn no_request_fails_while_one_redeploy_follows_the_other_and_each_release_serves() {
    let (server, repo) = (Server::start(), slow_repo());
    server.deploy(&slow_document(&repo));
    let seen = visited_during(&server, || {
        for version in 1..=redeploys() {
            repo.commit(&[("VERSION", &version.to_string())]);
            server.act("echo", "redeploy").expect(200);
            let served = server.visit("/echo/").expect(200).text();
            assert_eq!(
                served,
                version.to_string(),
                "the new release serves when it is done"
            );
        }
    });
    for versions in seen {
        assert!(
            versions.is_sorted(),
            "an old release came back: {versions:?}"
        );
        assert!(!versions.is_empty());
    }
}

#[test]
fn an_app_that_cannot_run_twice_is_recreated_while_its_requests_wait() {
    let (server, repo) = (Server::start(), slow_repo());
    let alone = json!({ "strategy": "recreate", "env": { "ALONE": "1" } });
    server.deploy(&with(slow_document(&repo), alone));
    let seen = visited_during(&server, || {
        for version in 1..=3 {
            repo.commit(&[("VERSION", &version.to_string())]);
            server.act("echo", "redeploy").expect(200);
        }
    });
    for versions in seen {
        assert!(versions.is_sorted(), "{versions:?}");
    }
    assert_eq!(server.process("echo", "web.1")["restarts"], 0);
}

#[test]
fn a_release_that_cannot_start_in_the_place_of_the_old_one_gives_it_back() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let recreate = json!({ "strategy": "recreate" });
    server.deploy(&with(document("echo", &repo), recreate));
    repo.commit(&[("Procfile", "web: exit 3\n"), ("VERSION", "2")]);
    server.act("echo", "redeploy").expect(422);
    assert_eq!(server.visit("/echo/").expect(200).json()["version"], "1");
    assert_eq!(server.status("echo")["release"], 1);
}

#[test]
fn a_release_that_did_not_start_is_not_kept_and_takes_no_place_of_one_that_did() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let patch = json!({ "keep_releases": 2 });
    server.deploy(&with(document("echo", &repo), patch));
    let kept = || {
        let releases = server.get("/applications/echo/releases").json();
        let ids = releases.as_array().unwrap().iter();
        ids.map(|r| r["id"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    repo.commit(&[("VERSION", "2")]);
    server.act("echo", "redeploy").expect(200);
    for _ in 0..3 {
        repo.commit(&[("Procfile", "web: exit 3\n")]);
        server.act("echo", "redeploy").expect(422);
    }
    eventually("only those that ran are kept", SOON, || {
        (kept() == [1, 2]).then_some(())
    });
    repo.commit(&web_files("3"));
    server.act("echo", "redeploy").expect(200);
    eventually("the oldest goes when it has ended", SOON, || {
        (kept() == [2, 6]).then_some(())
    });
    server.act("echo", "rollback").expect(200);
    assert_eq!(server.visit("/echo/").expect(200).json()["version"], "2");
}

#[test]
fn nothing_stays_of_a_first_deploy_that_failed_but_its_failure() {
    let (server, repo) = (Server::start(), web_repo("1"));
    repo.commit(&[("Procfile", "web: exit 3\n")]);
    server
        .send_and_wait("POST", "/applications", &document("echo", &repo))
        .expect(422);
    let status = server.status("echo");
    assert_eq!(
        (&status["state"], &status["release"]),
        (&json!("failed"), &Value::Null)
    );
    let said = status["warnings"].to_string();
    assert!(said.contains("deployment 1 failed"), "{said}");
    let processes = || server.status("echo")["processes"].clone();
    eventually("none of its processes runs", SOON, || {
        (processes() == json!([]) && processes_of(server.directory()).len() == 1).then_some(())
    });
    eventually("its release is gone", SOON, || {
        let releases = server.get("/applications/echo/releases").json();
        (releases == json!([])).then_some(())
    });
    assert!(
        server.status("echo")["warnings"]
            .to_string()
            .contains("deployment 1 failed")
    );
    repo.commit(&web_files("2"));
    server.act("echo", "redeploy").expect(200);
    assert_eq!(server.status("echo")["state"], "running");
    eventually("it is not kept", SOON, || {
        let releases = server.get("/applications/echo/releases").json();
        (releases.as_array().unwrap().len() == 1).then_some(())
    });
    server.act("echo", "rollback").expect(404);
}

#[test]
fn of_ten_deploys_at_once_one_runs_the_newest_waits_and_the_rest_are_superseded() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let install = json!({ "install": ["until [ -e $STORAGE_DIR/go ]; do sleep 0.02; done"] });
    let slow = with(document("echo", &repo), install);
    let gate = server.directory().join("apps/echo/storage/go");
    server.send("POST", "/applications", &slow).expect(202);
    for _ in 0..10 {
        server
            .send("POST", "/applications/echo/redeploy", &Value::Null)
            .expect(202);
    }
    eventually("the first one builds", SOON, || {
        let opened = std::fs::write(&gate, "");
        opened.is_ok().then_some(())
    });
    let records = || {
        server
            .get("/applications/echo/deployments")
            .expect(200)
            .json()
    };
    eventually("all are over", SOON, || {
        let text = records().to_string();
        (!text.contains("\"waiting\"") && !text.contains("\"running\"")).then_some(())
    });
    let records = records();
    let states: Vec<_> = records
        .as_array()
        .unwrap()
        .iter()
        .map(|r| &r["state"])
        .collect();
    assert_eq!(states.len(), 11);
    assert_eq!(
        (states[0], states[10]),
        (&json!("succeeded"), &json!("succeeded"))
    );
    assert!(
        states[1..10].iter().all(|s| *s == "superseded"),
        "{states:?}"
    );
}

#[test]
fn a_cancel_ends_all_that_the_step_has_started_and_the_old_release_serves() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("echo", &repo));
    let before = processes_of(server.directory()).len();
    let build = "(setsid sleep 600 &); sleep 601 & touch $STORAGE_DIR/began; wait";
    let patch = json!({ "install": [build] });
    let accepted = server
        .send("PATCH", "/applications/echo", &patch)
        .expect(202);
    let deployment = accepted.header("location").unwrap().to_owned();
    eventually("the step began", SOON, || {
        let began = server.directory().join("apps/echo/storage/began");
        began.exists().then_some(())
    });
    let cancel = format!("{deployment}/cancel");
    server.send("POST", &cancel, &Value::Null).expect(202);
    eventually("it is over", SOON, || {
        (server.get(&deployment).json()["state"] == "cancelled").then_some(())
    });
    eventually("nothing of the step runs", SOON, || {
        (processes_of(server.directory()).len() == before).then_some(())
    });
    server.send("POST", &cancel, &Value::Null).expect(409);
    assert_eq!(server.visit("/echo/").expect(200).json()["version"], "1");
    let releases = server.get("/applications/echo/releases").json();
    assert_eq!(releases.as_array().unwrap().len(), 1, "{releases}");
}

#[test]
fn a_rollback_fetches_and_installs_nothing() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let install = json!({ "install": ["sleep 1"] });
    server.deploy(&with(document("echo", &repo), install));
    repo.commit(&[("VERSION", "2")]);
    server.act("echo", "redeploy").expect(200);
    let began = Instant::now();
    server.act("echo", "rollback").expect(200);
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(server.visit("/echo/").expect(200).json()["version"], "1");
    let record = server
        .get("/applications/echo/deployments/3")
        .expect(200)
        .json();
    let steps: Vec<_> = record["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| &s["step"])
        .collect();
    assert_eq!(steps, ["start"], "{record}");
    server
        .send(
            "POST",
            "/applications/echo/rollback",
            &json!({ "release": 99 }),
        )
        .expect(404);
}

#[test]
fn a_process_type_that_is_gone_stops_and_a_changed_command_restarts() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let procfile = |job: &str| format!("web: exec python3 web.py\n{job}");
    repo.commit(&[(
        "Procfile",
        &procfile("job: exec sleep 600\nold: exec sleep 601\n"),
    )]);
    server.deploy(&document("echo", &repo));
    let (job, old) = (
        server.ready_pid("echo", "job.1"),
        server.ready_pid("echo", "old.1"),
    );
    repo.commit(&[("Procfile", &procfile("job: exec sleep 602\n"))]);
    server.act("echo", "redeploy").expect(200);
    eventually("the old ones are gone", SOON, || {
        let left = processes_of(server.directory());
        (!left.contains(&old) && !left.contains(&job)).then_some(())
    });
    assert_ne!(server.ready_pid("echo", "job.1"), job);
    // The old web process serves what it has, and ends last.
    eventually("the old release has left", SOON, || {
        let status = server.status("echo");
        (status["processes"].as_array().unwrap().len() == 2).then_some(())
    });
}

/// A process that writes down when it starts and when it is told to stop.
const CLOCK: &str = "clock: trap 'echo stop >> $STORAGE_DIR/log; exit' TERM; echo start >> $STORAGE_DIR/log; \
                     while :; do sleep 0.1; done\n";

#[test]
fn a_type_that_is_recreated_never_runs_twice_while_the_others_roll() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let web = format!("web: exec python3 web.py\n{CLOCK}");
    repo.commit(&[("Procfile", &web)]);
    let strategy = json!({ "strategy": { "clock": "recreate" } });
    server.deploy(&with(document("echo", &repo), strategy));
    let log = server.directory().join("apps/echo/storage/log");
    let lines = || {
        let text = std::fs::read_to_string(&log).unwrap();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(lines(), ["start"]);
    let kept = server.ready_pid("echo", "web.1");
    server.act("echo", "restart").expect(200);
    assert_eq!(lines(), ["start", "stop", "start"]);
    assert_ne!(server.ready_pid("echo", "web.1"), kept);

    repo.commit(&[("Procfile", &format!("web: sleep 0.5; exit 1\n{CLOCK}"))]);
    let web = server.ready_pid("echo", "web.1");
    server.act("echo", "redeploy").expect(422);
    server.ready_pid("echo", "clock.1");
    assert_eq!(server.ready_pid("echo", "web.1"), web, "it rolls");
    let lines = lines();
    let starts = lines.iter().step_by(2).all(|line| line == "start");
    let stops = lines.iter().skip(1).step_by(2).all(|line| line == "stop");
    assert!(starts && stops, "{lines:?}");
    assert_eq!(lines.last().map(String::as_str), Some("start"));
}
