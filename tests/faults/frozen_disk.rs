//! A disk that does not answer: whoever waits is answered at his time, and what needs no disk goes on.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use super::deploy;
use crate::support::fixture::{document, with};
use crate::support::http::Response;
use crate::support::machine::{is_root, skip};
use crate::support::server::Server;
use crate::support::setup::Setup;
use crate::support::wait::{SOON, eventually};

/// A file system that is frozen until this is dropped, or the test ends in any other way.
struct Frozen(Child);

impl Frozen {
    /// Freezes the file system that `server` sees at `place`.
    fn freeze(server: &Server, place: &str) -> Self {
        let place = server.directory().join(place);
        let within = format!("/proc/{}/root{}", server.pid(), place.display());
        let mut holder = Command::new("sh")
            .args([
                "-c",
                "cd \"$0\" && fsfreeze -f . && echo frozen; read -r _; fsfreeze -u .",
            ])
            .arg(within)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut said = String::new();
        let mut output = BufReader::new(holder.stdout.take().unwrap());
        output.read_line(&mut said).unwrap();
        let frozen = Self(holder);
        assert_eq!(said, "frozen\n");
        frozen
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ended = self.0.wait();
    }
}

/// A server whose applications and documents are on a disk of their own.
fn start() -> Option<Server> {
    if !is_root() {
        skip("a frozen disk", "only root can freeze one");
        return None;
    }
    let setup = Setup::new();
    let at = setup.directory().display().to_string();
    for place in ["disk", "apps", "config"] {
        std::fs::create_dir_all(setup.directory().join(place)).unwrap();
    }
    let mount = format!(
        "cd {at}; truncate -s 64M image; mkfs.ext4 -q -F image; mount -o loop image disk; \
         mkdir disk/apps disk/config; chmod 711 disk/apps; chmod 700 disk/config; \
         mount --bind disk/apps apps; mount --bind disk/config config; cd /"
    );
    let tried = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-ec"])
        .arg(format!(
            "{mount}; fsfreeze -f {at}/disk; fsfreeze -u {at}/disk"
        ))
        .output();
    if !tried.as_ref().is_ok_and(|tried| tried.status.success()) {
        skip("a frozen disk", &format!("none can be mounted: {tried:?}"));
        return None;
    }
    Some(setup.with_mounts(&mount).start())
}

#[test]
fn while_a_disk_does_not_answer_those_who_wait_are_answered_in_time_and_apps_serve() {
    let Some(server) = start() else {
        return;
    };
    let repos = ["a", "b", "c", "d", "e"].map(|name| deploy(&server, name, ""));
    let put = with(document("b", &repos[1]), json!({ "env": { "X": "1" } }));
    let new = document("new", &repos[0]);
    let calls = [
        ("POST", "/applications/a/redeploy", json!(null)),
        ("PUT", "/applications/b", put),
        ("PATCH", "/applications/c", json!({ "env": { "X": "1" } })),
        ("DELETE", "/applications/d", json!(null)),
        ("POST", "/applications", new),
    ];
    let frozen = Frozen::freeze(&server, "disk");
    let answers: Vec<(Response, Duration)> = std::thread::scope(|scope| {
        let sent = calls.each_ref().map(|(method, target, body)| {
            let request = server.request(method, target).header("Prefer", "wait=4");
            let request = match body.is_null() {
                true => request,
                false => request.body(body.to_string()),
            };
            let peer = server.public();
            scope.spawn(move || {
                let begun = Instant::now();
                (request.send(&peer), begun.elapsed())
            })
        });
        // What needs no disk goes on meanwhile.
        for _ in 0..20 {
            server.get("/healthz").expect(200);
            server.visit("/e/").expect(200);
            server.get("/applications").expect(200);
            server.get("/applications/a/status").expect(200);
        }
        sent.into_iter().map(|one| one.join().unwrap()).collect()
    });
    for ((method, target, _), (answer, took)) in calls.iter().zip(&answers) {
        let told = answer.text();
        assert_eq!(answer.status, 202, "{method} {target}: {told}");
        assert!(answer.header("location").is_some(), "{method} {target}");
        assert!(
            *took < Duration::from_secs(12),
            "{method} {target}: {took:?}"
        );
    }
    drop(frozen);
    // What was asked for is done.
    eventually("all is done", SOON, || {
        let value =
            |name: &str| server.get(&format!("/applications/{name}")).json()["env"]["X"].clone();
        let is_done = value("b") == "1"
            && value("c") == "1"
            && server.get("/applications/d").status == 404
            && server.get("/applications/new").status == 200;
        is_done.then_some(())
    });
    for name in ["a", "b", "c", "new"] {
        server.ready_pid(name, "web.1");
    }
}
