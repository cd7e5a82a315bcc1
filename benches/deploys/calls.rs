//! The calls of the API that this bench makes.

use serde_json::{Value, json};

use crate::product::http::Connection;
use crate::product::repository::Repository;
use crate::product::server::Server;

pub(crate) fn document(name: &str, repository: &Repository, install: &[&str]) -> Value {
    json!({ "name": name, "repo": { "url": repository.url() }, "install": install })
}

/// Adds an app, without waiting.
pub(crate) fn create(server: &Server, document: &Value) {
    server.ask("POST", "/applications", Some(document), None);
}

/// Replaces the document of an app, which is deployed.
pub(crate) fn configure(server: &Server, document: &Value) {
    let name = document["name"].as_str().expect("a name");
    let target = format!("/applications/{name}");
    server.ask("PUT", &target, Some(document), Some("wait=50"));
}

/// `redeploy` or `rollback`, until it is done.
pub(crate) fn act(server: &Server, name: &str, action: &str) {
    let target = format!("/applications/{name}/{action}");
    server.ask("POST", &target, None, Some("wait=50"));
}

pub(crate) fn remove(server: &Server, name: &str) {
    let target = format!("/applications/{name}");
    server.ask("DELETE", &target, None, Some("wait=50"));
}

/// The status with which an app answers.
pub(crate) fn visit(server: &Server, name: &str) -> u16 {
    let mut connection = Connection::open(server.address).expect("it listens");
    let answer = connection.send("GET", &format!("/{name}/"), &[], "");
    answer.expect("an answer").0
}
