//! What a document says of requests beside who answers them: who is let in, how often, and what they are told instead.

mod answers;
mod auth;
mod documents;
mod limits;
mod refusals;
mod sticky;

use std::path::Path;
use std::sync::Arc;

use procserver::document::config::{AppConfig, Rules};
use procserver::router::policies::Policies;
use procserver::router::table::Route;
use serde_json::{Value, json};

use crate::front::fixture::route;
use crate::front::origin::Origin;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// The hash of "sesame", as cheap as bcrypt makes it.
const SESAME: &str = "$2y$04$RXgmkBVYsk8WQ8oLXcBgJuyuz0IbZuBrVqlQco1qHdOMDxxLGsOqC";

/// The policies that a document with these fields has.
fn policies(fields: Value, root: Option<&Path>) -> Option<Arc<Policies>> {
    let mut document = json!({"name": "blog", "repo": {"url": "https://h/a.git"}});
    let all = document.as_object_mut().unwrap();
    all.extend(fields.as_object().unwrap().clone());
    let config = AppConfig::from_document(document, &Rules::default()).unwrap();
    Policies::after(None, &config.policies, root)
}

/// The app `blog`, for all hosts and its path, with these fields in its document.
fn policed(fields: Value, origins: &[&Origin]) -> Route {
    Route {
        policies: policies(fields, None),
        ..route("blog", origins)
    }
}

#[track_caller]
fn has(got: &str, parts: &[&str]) {
    for part in parts {
        assert!(got.contains(part), "no {part:?} in: {got}");
    }
}

#[track_caller]
fn has_not(got: &str, parts: &[&str]) {
    let lower = got.to_ascii_lowercase();
    for part in parts {
        assert!(
            !lower.contains(&part.to_ascii_lowercase()),
            "{part:?} in: {got}"
        );
    }
}
