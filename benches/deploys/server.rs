//! The real server, in a directory of its own.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::http::Connection;
use crate::repository::Repository;

/// A server that runs; it is stopped, with its apps, when this is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    token: String,
}

impl Server {
    pub(crate) fn start(directory: &Path) -> Self {
        std::fs::create_dir(directory).expect("a new directory");
        crate::open_to_all(directory);
        let log = File::create(directory.join("daemon.log")).expect("a log");
        let mut child = Command::new(env!("CARGO_BIN_EXE_procserver"))
            .arg("serve")
            .arg("--data-dir")
            .arg(directory)
            .args(["--listen", "127.0.0.1:0", "--allow-file-repos", "true"])
            .args(["--ports", "17000-17099"])
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

    /// Adds an app, without waiting.
    pub(crate) fn create(&self, name: &str, repository: &Repository) {
        let body = document(name, repository, &[]);
        self.ask("POST", "/applications", Some(&body), None);
    }

    /// Adds an app and waits until it serves.
    pub(crate) fn deploy(&self, name: &str, repository: &Repository, install: &[&str]) {
        let body = document(name, repository, install);
        self.ask("POST", "/applications", Some(&body), Some("wait=50"));
    }

    /// Replaces the document of an app, which is deployed.
    pub(crate) fn configure(&self, name: &str, repository: &Repository, install: &[&str]) {
        let body = document(name, repository, install);
        let target = format!("/applications/{name}");
        self.ask("PUT", &target, Some(&body), Some("wait=50"));
    }

    /// `redeploy` or `rollback`, until it is done.
    pub(crate) fn act(&self, name: &str, action: &str) {
        let target = format!("/applications/{name}/{action}");
        self.ask("POST", &target, None, Some("wait=50"));
    }

    pub(crate) fn remove(&self, name: &str) {
        let target = format!("/applications/{name}");
        self.ask("DELETE", &target, None, Some("wait=50"));
    }

    /// The status with which an app answers.
    pub(crate) fn visit(&self, name: &str) -> u16 {
        let mut connection = Connection::open(self.address).expect("it listens");
        let answer = connection.send("GET", &format!("/{name}/"), &[], "");
        answer.expect("an answer").0
    }

    fn ask(&self, method: &str, target: &str, body: Option<&Value>, prefer: Option<&str>) {
        let authorization = format!("Bearer {}", self.token);
        let mut headers = vec![("Authorization", authorization.as_str())];
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
    }
}

fn document(name: &str, repository: &Repository, install: &[&str]) -> Value {
    json!({ "name": name, "repo": { "url": repository.url() }, "install": install })
}

impl Drop for Server {
    fn drop(&mut self) {
        // A SIGTERM, so that it stops its apps.
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").arg(pid).status();
        let _ = self.child.wait();
    }
}
