//! Debian packages through the real apt-get.

use std::process::{Command, Stdio};

use serde_json::json;

use crate::support::fixture::{document, web_repo, with};
use crate::support::machine::{is_root, skip};
use crate::support::server::Server;

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

#[test]
fn a_missing_package_is_installed_before_the_install_commands_run() {
    let test = "a missing package is installed";
    if !is_root() || !succeeds("apt-get", &["--version"]) {
        return skip(test, "it needs root on Debian");
    }
    if std::env::var_os("CI").is_none() {
        return skip(test, "it changes the machine: set CI=true to allow that");
    }
    let had_it = succeeds("dpkg-query", &["--show", PACKAGE]) && succeeds(PACKAGE, &[]);
    let (server, repo) = (Server::start(), web_repo("1"));
    let changes =
        json!({ "packages": [PACKAGE], "install": ["hello --greeting=installed > VERSION"] });
    server.deploy(&with(document("echo", &repo), changes));
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
    let answer = server.send_and_wait(
        "POST",
        "/applications",
        &with(document("echo", &repo), changes),
    );
    // Looking for it may mean to fetch the package lists first.
    if answer.status == 202 {
        return skip(
            "a package that cannot be had",
            "the package lists take too long to come",
        );
    }
    let failure = answer.expect(422).json()["failure"].clone();
    assert_eq!(failure["step"], "packages", "{failure}");
    assert!(
        failure.to_string().contains("no-such-package-anywhere"),
        "{failure}"
    );
    assert!(failure["hint"].is_string(), "{failure}");
}
