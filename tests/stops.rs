//! Stops in all the ways there are: whatever ends a process, its handler of the signal is seen through.

use std::path::PathBuf;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::fixture::{document, web_repo, with};
use crate::support::machine::send_signal;
use crate::support::repo::Repo;
use crate::support::server::Server;
use crate::support::wait::{SOON, eventually};

/// Writes to the file `saves` as it ends, and takes its time for that.
const SAVES: &str = r#"
import os, signal, sys, time
def save(*_):
    time.sleep(0.5)
    with open(os.path.join(os.environ["STORAGE_DIR"], "saves"), "a") as saves:
        saves.write(sys.argv[1] + "\n")
    os._exit(7)
signal.signal(signal.SIGTERM, save)
open(os.path.join(os.environ["STORAGE_DIR"], sys.argv[1] + ".began"), "w").close()
while True:
    time.sleep(60)
"#;

/// Behind a shell; behind two; in a session of its own.
const PROCFILE: &str = "\
web: exec python3 web.py
plain: python3 saves.py plain
deep: sh -c '(python3 saves.py deep; true); true'
away: (setsid python3 saves.py away &) ; sleep 600
";

const NAMES: [&str; 3] = ["away", "deep", "plain"];

struct Saving {
    server: Server,
    repo: Repo,
}

impl Saving {
    fn deploy() -> Self {
        let (server, repo) = (Server::start(), web_repo("1"));
        repo.commit(&[("Procfile", PROCFILE), ("saves.py", SAVES)]);
        server.deploy(&with(
            document("echo", &repo),
            json!({ "stop": { "timeout": "20s" } }),
        ));
        let saving = Self { server, repo };
        saving.began();
        saving
    }

    fn storage(&self) -> PathBuf {
        self.server.directory().join("apps/echo/storage")
    }

    /// Waits until all have their handlers.
    #[track_caller]
    fn began(&self) {
        for name in NAMES {
            let mark = self.storage().join(format!("{name}.began"));
            eventually(&format!("{name} has begun"), SOON, || {
                std::fs::remove_file(&mark).ok()
            });
        }
    }

    fn saves(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.storage().join("saves")).unwrap_or_default();
        let mut names: Vec<String> = text.lines().map(str::to_owned).collect();
        names.sort();
        names
    }

    /// Each has saved once since this was asked last.
    #[track_caller]
    fn assert_saved(&self, after: &str) {
        let saved = eventually(&format!("all have saved after {after}"), SOON, || {
            (self.saves().len() >= NAMES.len()).then(|| self.saves())
        });
        assert_eq!(saved, NAMES, "{after}");
        std::fs::remove_file(self.storage().join("saves")).unwrap();
    }
}

#[test]
fn a_handler_of_the_signal_is_seen_through_whatever_ends_its_process() {
    let mut app = Saving::deploy();
    app.server.act("echo", "restart").expect(200);
    app.began();
    app.assert_saved("a restart");

    app.repo.commit(&[("VERSION", "2")]);
    app.server.act("echo", "redeploy").expect(200);
    app.began();
    app.assert_saved("a redeploy");

    let none = json!({ "scale": { "plain": 0, "deep": 0, "away": 0 } });
    app.server
        .send_and_wait("PATCH", "/applications/echo", &none)
        .expect(200);
    assert_eq!(app.saves(), NAMES);
    app.assert_saved("a scale-down");
    let one = json!({ "scale": { "plain": 1, "deep": 1, "away": 1 } });
    app.server
        .send_and_wait("PATCH", "/applications/echo", &one)
        .expect(200);
    app.began();

    app.server.act("echo", "stop").expect(200);
    // Not eventually: a stop is done when all is.
    assert_eq!(app.saves(), NAMES);
    app.assert_saved("a stop");
    app.server.act("echo", "start").expect(200);
    app.began();

    assert!(app.server.terminate().success());
    assert_eq!(app.saves(), NAMES);
    app.assert_saved("the end of the server");
    app.server.start_again();
    app.began();

    let delete = app
        .server
        .request("DELETE", "/applications/echo?keep=storage");
    let delete = delete.header("Prefer", "wait=50");
    delete.send(&app.server.public()).expect(200);
    app.assert_saved("a removal");
}

#[test]
fn the_exit_that_is_reported_is_that_of_the_command_behind_its_shell() {
    let app = Saving::deploy();
    let plain = app.server.ready_pid("echo", "plain.1");
    let told = format!("pid={plain} exit={{\"code\":7}}");
    let exits = || app.server.log().matches(&told).count();
    app.server.act("echo", "stop").expect(200);
    eventually("its exit is told", SOON, || (exits() == 1).then_some(()));
}

#[test]
fn what_a_crashed_command_leaves_is_ended_with_its_grace_before_the_next_one_starts() {
    let app = Saving::deploy();
    for name in ["plain", "deep", "away"] {
        let pid = app.server.ready_pid("echo", &format!("{name}.1"));
        send_signal(pid, Signal::SIGKILL);
    }
    // The next ones begin only when those before have saved.
    app.began();
    assert_eq!(app.saves(), NAMES);
}

#[test]
fn a_cancelled_step_of_a_deploy_may_clean_up() {
    let app = Saving::deploy();
    let patch = json!({ "install": ["python3 saves.py install; true"] });
    let accepted = app
        .server
        .send("PATCH", "/applications/echo", &patch)
        .expect(202);
    let deployment = accepted.header("location").unwrap().to_owned();
    let mark = app.storage().join("install.began");
    eventually("the step has begun", SOON, || {
        std::fs::remove_file(&mark).ok()
    });
    let cancel = format!("{deployment}/cancel");
    app.server.send("POST", &cancel, &Value::Null).expect(202);
    eventually("it has cleaned up", SOON, || {
        (app.saves() == ["install"]).then_some(())
    });
}
