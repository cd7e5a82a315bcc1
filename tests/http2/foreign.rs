//! Other programs as clients of HTTP/2: curl, nghttp and h2load.

use std::path::PathBuf;
use std::process::Command;

use serde_json::json;

use super::servers;
use crate::support::fixture::{document, web_repo, with};
use crate::support::machine::has;
use crate::support::repo::Repo;
use crate::support::server::Server;

/// A server of an app at a.test that lives as long as its repository.
struct Site {
    server: Server,
    _repo: Repo,
}

impl Site {
    fn new() -> Self {
        let (server, _) = servers::start();
        let repo = web_repo("1");
        let hosts = json!({ "hosts": ["a.test"] });
        server.deploy(&with(document("echo", &repo), hosts));
        Self {
            server,
            _repo: repo,
        }
    }

    /// One of files: 200 requests at once are more than the application of these tests lets wait for it to accept them.
    fn of_files() -> Self {
        let (server, _) = servers::start();
        let repo = Repo::new(&[("public/x", "hello\n")]);
        let files = json!({ "hosts": ["a.test"], "static": { "dir": "public" } });
        server.deploy(&with(document("files", &repo), files));
        Self {
            server,
            _repo: repo,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("https://a.test:{}{path}", self.server.spare_port())
    }

    fn roots(&self) -> PathBuf {
        self.server.directory().join("a.pem")
    }
}

/// What a program says; that it ends well.
#[track_caller]
fn said(command: &mut Command) -> String {
    let output = command.output().expect(".ci/run installs it");
    let all = [&*output.stdout, &*output.stderr].concat();
    let all = String::from_utf8_lossy(&all).into_owned();
    assert!(output.status.success(), "{all}");
    all
}

#[test]
fn curl_speaks_http2_and_without_it_http1() {
    let site = Site::new();
    let port = site.server.spare_port();
    let curl = |flags: &[&str]| {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--max-time", "60", "-w", " by %{http_version}\n"]);
        curl.args(["--resolve", &format!("a.test:{port}:127.0.0.1"), "--cacert"]);
        said(curl.arg(site.roots()).args(flags).arg(site.url("/x")))
    };
    let answer = curl(&["--http2"]);
    assert!(
        answer.ends_with(" by 2\n") && answer.contains("\"/x\""),
        "{answer}"
    );
    let answer = curl(&["--http2", "--data", "hello", "-H", "Expect: 100-continue"]);
    assert!(
        answer.ends_with(" by 2\n") && answer.contains("\"hello\""),
        "{answer}"
    );
    let answer = curl(&["--http1.1"]);
    assert!(answer.ends_with(" by 1.1\n"), "{answer}");
    let answer = curl(&["--http2", "-I"]);
    assert!(answer.starts_with("HTTP/2 "), "{answer}");
}

#[test]
fn nghttp_and_h2load_are_answered() {
    if !has("nghttp", "nghttp2-client", "HTTP/2 by nghttp and h2load") {
        return;
    }
    let site = Site::of_files();
    let port = site.server.spare_port();
    let at = format!("https://127.0.0.1:{port}/x");
    let mut nghttp = Command::new("nghttp");
    let answer = said(nghttp.args(["-v", "-H", ":authority: a.test", &at]));
    assert!(
        answer.contains(":status: 200") && answer.contains("hello\n"),
        "{answer}"
    );
    assert!(!answer.contains("recv RST_STREAM"), "{answer}");
    let mut h2load = Command::new("h2load");
    let connect = format!("--connect-to=127.0.0.1:{port}");
    let answer = said(h2load.args([
        "-n",
        "600",
        "-c",
        "2",
        "-m",
        "100",
        &connect,
        "https://a.test/x",
    ]));
    assert!(
        answer.contains("600 succeeded, 0 failed, 0 errored"),
        "{answer}"
    );
    assert!(answer.contains("600 2xx"), "{answer}");
}
