//! procserver itself: `procserver serve` in a directory, and its API.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::ground::{end_all, send};
use crate::supervisor::Job;
use crate::wait::{until, within};

/// The most processes of one type that a document may ask for.
const MOST_OF_A_TYPE: usize = 100;

/// How long a deploy, or the end of all processes, may take.
const LONG: Duration = Duration::from_secs(60);

/// Deploys the processes of `job` once, so that what is measured is the start of a server that has them.
pub(crate) fn prepare(job: &Job) -> Command {
    if job.processes > 0 {
        let server = Server::start(&job.directory, &job.log);
        let types = job.processes.div_ceil(MOST_OF_A_TYPE);
        let procfile: String = (0..types)
            .map(|n| format!("w{n}: exec {}\n", job.command.join(" ")))
            .collect();
        let repository = repository(&job.directory, &[("Procfile", &procfile)]);
        let scale: serde_json::Map<String, Value> = (0..types)
            .map(|n| {
                let rest = job.processes - n * MOST_OF_A_TYPE;
                (format!("w{n}"), json!(rest.min(MOST_OF_A_TYPE)))
            })
            .collect();
        server.deploy(&json!({ "name": "bench", "repo": { "url": repository }, "scale": scale }));
    }
    command(&job.directory)
}

/// `procserver serve` in `directory`, not started.
fn command(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_procserver"));
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"PROCSERVER_") {
            command.env_remove(name);
        }
    }
    command.arg("serve").arg("--data-dir").arg(directory);
    command.args(["--listen", "127.0.0.1:0"]);
    command.args(["--allow-file-repos", "true"]);
    // No user is made for each of a thousand apps.
    command.args(["--default-user", "nobody"]);
    // Each port is tried before it is given to a process; no log is cut while its lines are counted.
    command.args(["--ports", "20000-29999", "--log-size", "1G"]);
    command
}

/// A repository of these files; its URL.
pub(crate) fn repository(directory: &Path, files: &[(&str, &str)]) -> String {
    let path = directory.join("repository");
    fs::create_dir(&path).expect("the temporary directory is ours");
    for (name, text) in files {
        let file = path.join(name);
        fs::create_dir_all(file.parent().expect("it has one")).expect("it is ours");
        fs::write(file, text).expect("the temporary directory is ours");
    }
    for words in [
        &["init", "--quiet", "--initial-branch=master"][..],
        &["add", "--all"],
        &["commit", "--quiet", "--message", "all"],
    ] {
        let status = Command::new("git")
            .args([
                "-c",
                "user.name=Bench",
                "-c",
                "user.email=bench@example.org",
            ])
            .args(words)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .current_dir(&path)
            .status();
        assert!(status.expect("git is installed").success(), "git {words:?}");
    }
    format!("file://{}", path.display())
}

/// A server that runs; when dropped it is stopped, and its processes with it.
pub(crate) struct Server {
    pub(crate) pid: u32,
    directory: PathBuf,
    child: Child,
}

impl Server {
    /// Starts it and waits until its API answers.
    pub(crate) fn start(directory: &Path, log: &Path) -> Self {
        let server = Self::launch(directory, log);
        until(LONG, "the server starts", || {
            server.get("/healthz").map(|_| ())
        });
        server
    }

    /// Starts it.
    pub(crate) fn launch(directory: &Path, log: &Path) -> Self {
        let log = File::create(log).expect("the temporary directory is ours");
        let child = command(directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a descriptor"))
            .stderr(log)
            .spawn()
            .expect("procserver is built");
        Self {
            pid: child.id(),
            directory: directory.to_owned(),
            child,
        }
    }

    /// Adds an application and waits until it runs.
    pub(crate) fn deploy(&self, document: &Value) {
        let answer = self.ask("POST", "/applications", &document.to_string());
        let (status, body) = answer.expect("the API answers");
        assert_eq!(status, 201, "{body}");
    }

    /// The body of a 200, if it answers so.
    pub(crate) fn get(&self, target: &str) -> Option<String> {
        let (status, body) = self.ask("GET", target, "").ok()?;
        (status == 200).then_some(body)
    }

    fn ask(&self, method: &str, target: &str, body: &str) -> std::io::Result<(u16, String)> {
        let mut stream = UnixStream::connect(self.directory.join("run/procserver.sock"))?;
        stream.set_read_timeout(Some(LONG))?;
        let length = body.len();
        write!(
            stream,
            "{method} {target} HTTP/1.1\r\nHost: bench\r\nPrefer: wait=50\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let status = answer.get(9..12).and_then(|digits| digits.parse().ok());
        let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        Ok((status.unwrap_or(0), body.to_owned()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        send(self.pid, Signal::SIGTERM);
        if within(LONG, || self.child.try_wait().ok().flatten()).is_none() {
            eprintln!("procserver does not end: it is killed");
            let _gone = self.child.kill();
            let _reaped = self.child.wait();
        }
        end_all(&self.directory);
    }
}
