//! Two apps on one server, each with a user of its own, that run what they are sent.

use std::path::Path;

use serde_json::Value;

use super::kernel::KERNEL;
use super::listeners::THIEF;
use crate::support::fixture::{document, with};
use crate::support::machine::{is_root, skip};
use crate::support::repo::Repo;
use crate::support::server::Server;
use crate::support::setup::Setup;

/// Runs what it is sent and tells what came of it; its name is the answer to a GET.
const APP: &str = r#"
import http.server, json, os, socketserver, subprocess
class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, text):
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        self.answer(os.environ["PROCSERVER_APP"])
    def do_POST(self):
        script = self.rfile.read(int(self.headers["Content-Length"])).decode()
        ran = subprocess.run(["sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.answer(json.dumps([ran.returncode, ran.stdout]))
    def log_message(self, *args):
        pass
    def address_string(self):
        return "unix"
class Unix(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    pass
if os.environ.get("ON") == "socket":
    Unix(os.environ["SOCKET"], Handler).serve_forever()
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"#;

/// Two apps, `spy` and `prey`, outside of `/tmp`.
pub(super) struct World {
    pub(super) server: Server,
    _repo: Repo,
}

impl World {
    pub(super) fn new(test: &str, changes: Value) -> Option<Self> {
        if !is_root() {
            skip(test, "only root gives apps users of their own");
            return None;
        }
        Self::made(
            Setup::below(Path::new("/var/lib")).with_own_users(),
            &changes,
        )
    }

    pub(super) fn made(setup: Setup, changes: &Value) -> Option<Self> {
        let server = setup.start();
        let repo = Repo::new(&[
            (
                "Procfile",
                "web: exec python3 app.py\nworker: exec sleep 600\n",
            ),
            ("app.py", APP),
            ("thief.py", THIEF),
            ("kernel.py", KERNEL),
        ]);
        for name in ["spy", "prey"] {
            server.deploy(&with(document(name, &repo), changes.clone()));
        }
        Some(Self {
            server,
            _repo: repo,
        })
    }

    /// What came of a script that an app runs: its exit code and all that it printed.
    #[track_caller]
    pub(super) fn run(&self, app: &str, script: &str) -> (i64, String) {
        let asked = self.server.request("POST", &format!("/{app}/"));
        let told = asked.body(script).send(&self.server.public());
        let told = told.expect(200).json();
        let (code, text) = (told[0].as_i64().unwrap(), told[1].as_str().unwrap());
        (code, text.trim_end().to_owned())
    }

    /// Runs a script that must fail; what it printed.
    #[track_caller]
    pub(super) fn fails(&self, script: &str) -> String {
        let (code, text) = self.run("spy", script);
        assert_ne!(code, 0, "{script}: {text}");
        text
    }

    /// Runs a script that must not fail; what it printed.
    #[track_caller]
    pub(super) fn does(&self, script: &str) -> String {
        let (code, text) = self.run("spy", script);
        assert_eq!(code, 0, "{script}: {text}");
        text
    }

    pub(super) fn data(&self) -> String {
        self.server.directory().display().to_string()
    }

    pub(super) fn process(&self, app: &str) -> Value {
        self.server.process(app, "web.1")
    }

    pub(super) fn pid(&self, app: &str) -> i32 {
        self.server.ready_pid(app, "web.1")
    }
}
