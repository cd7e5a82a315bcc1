//! Debian packages through the real apt-get.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::fixture::{document, web_repo, with};
use crate::support::server::Server;
use crate::support::wait::eventually;

/// How long apt-get may take: it may have to fetch the package lists first.
const APT_LIMIT: Duration = Duration::from_mins(5);

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
