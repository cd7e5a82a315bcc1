//! `ETag` of a document, and `If-Match` of who changes or removes it (RFC 9110 §13.1.1): a change that was thought of another state is
//! refused, so that of two at once none gets lost.

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::http::header::{ETag, EntityTag, Header as _, IF_MATCH, IfMatch};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::caller::Caller;
use super::outcome::Begun;
use super::problem::Problem;
use super::state::ApiState;
use crate::app::apps::AppsError;
use crate::app::deployer::Accepted;
use crate::document::mask::{self, Mask};
use crate::document::name::AppName;

/// What the client knows of the document that it changes.
#[derive(Debug)]
pub(super) struct Precondition {
    tags: Option<IfMatch>,
    /// Whether the client has seen secrets: its tags are those of what it has seen.
    sees_secrets: bool,
}

impl Precondition {
    /// That of a request; none where it has no `If-Match`.
    pub(super) fn of(request: &HttpRequest, caller: &Caller) -> Self {
        // What is no list of tags is the tag of no state.
        let parsed = || IfMatch::parse(request).unwrap_or(IfMatch::Items(Vec::new()));
        Self {
            tags: request.headers().contains_key(IF_MATCH).then(parsed),
            sees_secrets: caller.sees_secrets(),
        }
    }

    /// The present document, where there is a precondition: it meets it.
    pub(super) async fn base(
        &self,
        state: &ApiState,
        name: &AppName,
    ) -> Result<Option<Value>, Problem> {
        if self.tags.is_none() {
            return Ok(None);
        }
        let present = state.inspect(name.as_str()).await?.document;
        self.check(&present, name)?;
        Ok(Some(present))
    }

    /// Refuses a change of another state than the client has seen.
    pub(super) fn check(&self, document: &Value, name: &AppName) -> Result<(), Problem> {
        let Some(IfMatch::Items(tags)) = &self.tags else {
            return Ok(());
        };
        let present = entity_tag(document, self.sees_secrets);
        if tags.iter().any(|tag| tag.strong_eq(&present)) {
            return Ok(());
        }
        Err(failed(name))
    }
}

/// What came of a change of [`Precondition::base`].
pub(super) fn outcome(answer: Result<Accepted, AppsError>) -> Result<Begun, Problem> {
    match answer {
        // It has changed since that look.
        Err(AppsError::Stale(name)) => Err(failed(&name)),
        answer => Ok(answer?.into()),
    }
}

/// The answer to a change of another state.
fn failed(name: &AppName) -> Problem {
    let detail = format!(
        "The document of {name} has changed since it was read: GET /applications/{name} shows what it is now."
    );
    Problem::new(StatusCode::PRECONDITION_FAILED, detail)
}

/// The field that tells this state of a document from others, as the caller sees it: a digest of secrets would let them
/// be guessed.
pub(super) fn etag(document: &Value, caller: &Caller) -> ETag {
    ETag(entity_tag(document, caller.sees_secrets()))
}

fn entity_tag(document: &Value, sees_secrets: bool) -> EntityTag {
    let text = match sees_secrets {
        true => document.to_string(),
        false => {
            let mut seen = document.clone();
            Mask::new(mask::of_document(document)).value(&mut seen);
            seen.to_string()
        }
    };
    let digest = Sha256::digest(text);
    let text = digest[..12].iter().map(|byte| format!("{byte:02x}"));
    EntityTag::new_strong(text.collect())
}
