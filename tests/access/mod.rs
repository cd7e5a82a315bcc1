//! Who may call the API, what each may do and see, and what is kept of it.

mod audit;
mod bound;
mod browsers;
mod masks;
mod scopes;
mod tokens;
mod verbs;

use serde_json::{Value, json};

use crate::support::http::{Request, Response};
use crate::support::server::Server;

/// Makes a token and returns its text.
#[track_caller]
fn token(server: &Server, wish: &Value) -> String {
    let made = server.send("POST", "/tokens", wish).expect(201).json();
    let text = made["token"].as_str().expect("the token is answered once");
    text.to_owned()
}

/// A token of this scope for all applications.
#[track_caller]
pub(crate) fn token_of(server: &Server, scope: &str) -> String {
    token(server, &json!({"name": scope, "scope": scope}))
}

/// A request by the holder of `token`.
fn request(token: &str, method: &str, target: &str) -> Request {
    Request::new(method, target).header("Authorization", &format!("Bearer {token}"))
}

#[track_caller]
fn get(server: &Server, token: &str, target: &str) -> Response {
    request(token, "GET", target).send(&server.public())
}

/// Sends `document` and waits until what it asks for is done.
#[track_caller]
fn send(server: &Server, token: &str, method: &str, target: &str, document: &Value) -> Response {
    request(token, method, target)
        .header("Content-Type", "application/json")
        .header("Prefer", "wait=50")
        .body(document.to_string())
        .send(&server.public())
}
