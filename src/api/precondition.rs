//! `ETag` of a document, and `If-Match` of who changes it (RFC 9110 §13.1.1): a change that was thought of another state is
//! refused, so that of two at once none gets lost.

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::http::header::{ETag, EntityTag, Header as _, IF_MATCH, IfMatch};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::problem::Problem;
use crate::document::name::AppName;

/// What the client knows of the document that it changes.
#[derive(Debug)]
pub(super) struct Precondition(Option<IfMatch>);

impl Precondition {
    /// That of a request; none where it has no `If-Match`.
    pub(super) fn of(request: &HttpRequest) -> Self {
        if !request.headers().contains_key(IF_MATCH) {
            return Self(None);
        }
        // What is no list of tags is the tag of no state.
        let parsed = IfMatch::parse(request);
        Self(Some(parsed.unwrap_or(IfMatch::Items(Vec::new()))))
    }

    /// Whether there is one.
    pub(super) fn is_some(&self) -> bool {
        self.0.is_some()
    }

    /// Refuses a change of another state than the client has seen.
    pub(super) fn check(&self, document: &Value, name: &AppName) -> Result<(), Problem> {
        let Some(IfMatch::Items(tags)) = &self.0 else {
            return Ok(());
        };
        let present = entity_tag(document);
        if tags.iter().any(|tag| tag.strong_eq(&present)) {
            return Ok(());
        }
        Err(failed(name))
    }
}

/// The answer to a change of another state.
pub(super) fn failed(name: &AppName) -> Problem {
    let detail = format!(
        "The document of {name} has changed since it was read: GET /applications/{name} shows what it is now."
    );
    Problem::new(StatusCode::PRECONDITION_FAILED, detail)
}

/// The field that tells this state of a document from others.
pub(super) fn etag(document: &Value) -> ETag {
    ETag(entity_tag(document))
}

fn entity_tag(document: &Value) -> EntityTag {
    let digest = Sha256::digest(document.to_string());
    let text = digest[..12].iter().map(|byte| format!("{byte:02x}"));
    EntityTag::new_strong(text.collect())
}
