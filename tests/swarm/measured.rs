//! What processes on all machines of a swarm use, and that one is told to have run out of memory, as on this machine.

use serde_json::{Value, json};

use super::echo::{LONG, app, done, ready, repo, server};
use super::engines::Engines;
use super::kept_base;
use crate::support::fixture::with;
use crate::support::server::Server;
use crate::support::wait::eventually;

/// Takes more memory than it may have once it is told to, and prints what looks like lines that are not its own.
const HOG: &str = r#"
import os, sys, time
go = os.path.join(os.environ["STORAGE_DIR"], "go")
print("ps-0123456789abcdef up 1 2 3 4", file=sys.stderr, flush=True)
while not os.path.exists(go):
    time.sleep(0.1)
os.remove(go)
taken = []
while True:
    taken.append(bytearray(b"x" * 1000000))
"#;

fn hogs(server: &Server) -> [Value; 2] {
    ["hog.1", "hog.2"].map(|id| server.process("echo", id))
}

/// Tells the processes of a machine to take more memory.
fn go(engines: &Engines, engine: usize) {
    let volumes = engines.docker(engine, &["volume", "ls", "--quiet"]);
    let storage = volumes.lines().find(|name| name.ends_with("-echo-storage"));
    let storage = storage.expect("one for each application");
    let place = ["volume", "inspect", "--format", "{{.Mountpoint}}", storage];
    let place = engines.docker(engine, &place);
    std::fs::write(format!("{place}/go"), "").unwrap();
}

#[test]
fn what_processes_on_a_swarm_use_is_told_and_that_memory_ran_out() {
    let Some(engines) = Engines::start(2, "memory runs out on a swarm") else {
        return;
    };
    let server = server(&engines);
    let repo = repo("1");
    let procfile = "web: exec python3 web.py\nhog: exec python3 hog.py\n";
    repo.commit(&[("Procfile", procfile), ("hog.py", HOG)]);
    let limited = json!({
        "scale": { "web": 1, "hog": 2 },
        "limits": { "hog": { "memory": "48M", "tasks": 4 } },
    });
    done(
        &server,
        "POST",
        "/applications",
        Some(&with(app(&repo), limited)),
    );
    kept_base::keep(server.directory());
    ready(&server, &["web.1"]);
    what_they_use_is_told(&server);
    let nodes = hogs(&server).map(|hog| hog["node"].clone());
    assert_ne!(nodes[0], nodes[1]);
    go(&engines, 1);
    go(&engines, 2);
    eventually("both have run out of memory, and run again", LONG, || {
        let is_told = |hog: &Value| {
            let exit = &hog["last_exit"];
            let is_whole = exit["oom"] == true && exit["signal"] == 9 && hog["restarts"] == 1;
            is_whole && hog["state"] == "ready"
        };
        hogs(&server).iter().all(is_told).then_some(())
    });
    let why = hogs(&server)[0]["last_exit"]["reason"].to_string();
    assert!(why.contains("limits.hog.memory=96M"), "{why}");
    let log = server.get("/applications/echo/logs/stderr?tail=1000");
    let log = log.expect(200).text();
    let told = log.lines().filter(|line| line.contains(" up "));
    let told: Vec<_> = told.collect();
    let is_own = |line: &&&str| line.ends_with("| ps-0123456789abcdef up 1 2 3 4");
    assert_eq!(told.iter().filter(is_own).count(), 4, "{log}");
    assert_eq!(told.len(), 4, "{log}");
    assert!(!log.contains(" end "), "{log}");
}

fn what_they_use_is_told(server: &Server) {
    eventually("it is told what each one uses", LONG, || {
        let [one, other] = hogs(server);
        let all = [one, other, server.process("echo", "web.1")];
        let is_known = |process: &Value| {
            let memory = process["memory_bytes"].as_u64();
            let is_likely = memory.is_some_and(|bytes| (1_000_000..48_000_000).contains(&bytes));
            is_likely && process["cpu_seconds"].as_f64() > Some(0.01)
        };
        all.iter().all(is_known).then_some(())
    });
    let all = server.get("/applications").expect(200).json();
    assert!(all[0]["memory_bytes"].as_u64() > Some(3_000_000), "{all}");
    let metrics = server.get("/metrics").expect(200).text();
    let family = "procserver_process_resident_memory_bytes{app=\"echo\",process=\"hog.2\"}";
    assert!(metrics.contains(family), "{metrics}");
}
