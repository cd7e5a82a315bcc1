//! The real server, in a directory of its own.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::http::Connection;

/// A server that runs; it is stopped, with its apps, when this is dropped.
pub(crate) struct Server {
    /// The daemon's own process; its apps are processes of their own.
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
    token: String,
}

impl Server {
    /// Starts it with `arguments` beside those that keep it to itself, and waits until it listens.
    pub(crate) fn start(directory: &Path, arguments: &[&str]) -> Self {
        std::fs::create_dir(directory).expect("a new directory");
        open_to_all(directory);
        Self::launch(directory, arguments)
    }

    /// The same in a directory that it was in before.
    pub(crate) fn launch(directory: &Path, arguments: &[&str]) -> Self {
        let log = File::create(directory.join("daemon.log")).expect("a log");
        let listens: &[&str] = match arguments.contains(&"--listen") {
            true => &[],
            false => &["--listen", "127.0.0.1:0"],
        };
        let mut child = Command::new(env!("CARGO_BIN_EXE_procserver"))
            .arg("serve")
            .arg("--data-dir")
            .arg(directory)
            .args(listens)
            .args(["--allow-file-repos", "true"])
            // No user is made for each of a thousand apps.
            .args(["--default-user", "nobody"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the server starts");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let address = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let url = line.strip_prefix("listening on http://")?;
            url.trim_end_matches('/').parse().ok()
        });
        // Read on, so that it never blocks on its stdout.
        std::thread::spawn(move || lines.for_each(drop));
        let token = std::fs::read_to_string(directory.join("token")).expect("a token");
        Self {
            child,
            address: address.expect("it says where it listens"),
            token: token.trim().to_owned(),
        }
    }

    /// Adds an app and waits until it serves.
    pub(crate) fn deploy(&self, document: &Value) {
        self.ask("POST", "/applications", Some(document), Some("wait=50"));
    }

    /// A call of the API, which must succeed; with `prefer`, also be done. The answer's text.
    pub(crate) fn ask(
        &self,
        method: &str,
        target: &str,
        body: Option<&Value>,
        prefer: Option<&str>,
    ) -> String {
        let authorization = format!("Bearer {}", self.token);
        let mut headers = vec![
            ("Authorization", authorization.as_str()),
            ("Content-Type", "application/json"),
        ];
        headers.extend(prefer.map(|prefer| ("Prefer", prefer)));
        let body = body.map(ToString::to_string).unwrap_or_default();
        let mut connection = Connection::open(self.address).expect("it listens");
        let answer = connection.send(method, target, &headers, &body);
        let (status, text) = answer.expect("an answer");
        // 202 after a wait is not done yet: that is no time to measure.
        let is_done = prefer.is_none() || status != 202;
        assert!(is_done, "{method} {target} takes too long: {text}");
        assert!(
            (200..300).contains(&status),
            "{method} {target}: {status} {text}"
        );
        text
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A SIGTERM, so that it stops its apps.
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").arg(pid).status();
        let _ = self.child.wait();
    }
}

/// Apps run as another user, who must reach what they run.
pub(crate) fn open_to_all(directory: &Path) {
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(directory, mode).expect("it is ours");
}
