//! Debian packages through the real apt-get.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::fixture::{document, web_repo, with};
use crate::support::machine::{is_root, skip};
use crate::support::server::Server;
use crate::support::wait::eventually;

/// How long apt-get may take: it may have to fetch the package lists first.
const APT_LIMIT: Duration = Duration::from_mins(5);

/// A package that next to no machine has, of 60 KB, without dependencies of its own.
const PACKAGE: &str = "hello";

fn succeeds(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Adds the app and returns the record of its deployment once it is over.
#[track_caller]
fn deployed(server: &Server, document: &Value) -> Value {
    let answer = server.send("POST", "/applications", document).expect(202);
    let location = answer
        .header("location")
        .expect("a 202 has a Location")
        .to_owned();
    eventually("the deployment is over", APT_LIMIT, || {
        let record = server.get(&location).expect(200).json();
        record["finished"].is_string().then_some(record)
    })
}

#[test]
fn a_missing_package_is_installed_before_the_install_commands_run() {
    let test = "a missing package is installed";
    if !is_root() || !succeeds("apt-get", &["--version"]) {
        return skip(test, "it needs root on Debian");
    }
    if std::env::var_os("CI").is_none() {
        return skip(test, "it changes the machine: set CI=true to allow that");
    }
    let had_it = succeeds(PACKAGE, &[]);
    let (server, repo) = (Server::start(), web_repo("1"));
    let install = format!("{PACKAGE} --greeting=installed > VERSION");
    let changes = json!({ "packages": [PACKAGE], "install": [install] });
    let record = deployed(&server, &with(document("echo", &repo), changes));
    assert_eq!(record["state"], "succeeded", "{record}");
    assert_eq!(
        server.visit("/echo/").expect(200).json()["version"],
        "installed"
    );
    if !had_it {
        assert!(
            succeeds("apt-get", &["purge", "--yes", PACKAGE]),
            "it was installed for real"
        );
    }
}

#[test]
fn a_package_that_cannot_be_had_is_named_before_anything_else_is_done() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let changes = json!({ "packages": ["no-such-package-anywhere"] });
    let record = deployed(&server, &with(document("echo", &repo), changes));
    let failure = &record["failure"];
    assert_eq!(failure["step"], "packages", "{record}");
    assert!(
        failure.to_string().contains("no-such-package-anywhere"),
        "{record}"
    );
    assert!(failure["hint"].is_string(), "{record}");
    assert_eq!(
        record["steps"].as_array().map(Vec::len),
        Some(1),
        "{record}"
    );
}
