//! Masks answers for callers who may not see secrets: those in JSON as a whole ([`masked`]), those of a log line by line
//! ([`Veil`]).

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::ResponseError as _;
use actix_web::body::{BoxBody, to_bytes};
use actix_web::dev::ServiceResponse;
use actix_web::http::header;
use actix_web::web::Data;
use serde_json::Value;

use super::caller::Caller;
use super::problem::{self, Problem};
use super::state::ApiState;
use crate::app::supervisor::{Hidden, Secrets};
use crate::document::mask::Mask;
use crate::logs::log::Chunk;

/// A document that changes while a log is followed is known after this time. No process starts as fast.
const FRESH: Duration = Duration::from_millis(20);

impl ApiState {
    /// What hides the secrets of `app`; 404 where there is none.
    pub(super) async fn mask_of(&self, app: &str) -> Result<Mask, Problem> {
        Ok(self.secrets_of(app).await?.mask)
    }

    /// The same, and since when all of them are known.
    pub(super) async fn secrets_of(&self, app: &str) -> Result<Secrets, Problem> {
        self.ask_app(app, Hidden).await
    }
}

/// Returns the response with its JSON masked; what is no JSON stays as it is.
pub(super) async fn masked(response: ServiceResponse<BoxBody>, mask: &Mask) -> ServiceResponse {
    let content_type = response.headers().get(header::CONTENT_TYPE);
    let is_json =
        content_type.is_some_and(|is| is == "application/json" || is == problem::CONTENT_TYPE);
    if !is_json {
        return response;
    }
    let (request, response) = response.into_parts();
    let (head, body) = response.into_parts();
    let value = to_bytes(body).await.ok();
    let value = value.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    let response = match value {
        Some(mut value) => {
            mask.value(&mut value);
            head.set_body(BoxBody::new(value.to_string()))
        }
        None => {
            let detail = "The answer could not be masked, so it is not shown.";
            Problem::unavailable(detail).error_response()
        }
    };
    ServiceResponse::new(request, response)
}

/// What lies between the log of an application and somebody who may not see its secrets.
pub(super) struct Veil {
    state: Data<ApiState>,
    app: String,
    mask: Mask,
    looked: Instant,
}

impl Veil {
    /// The one between `caller` and the log of `app`, if there is any.
    pub(super) async fn between(
        caller: &Caller,
        state: &Data<ApiState>,
        app: &str,
    ) -> Result<Option<Self>, Problem> {
        if caller.sees_secrets() {
            return Ok(None);
        }
        let mask = state.mask_of(app).await?;
        Ok(Some(Self {
            state: state.clone(),
            app: app.to_owned(),
            mask,
            looked: Instant::now(),
        }))
    }

    pub(super) fn mask(&self) -> &Mask {
        &self.mask
    }

    /// Masks lines of the log.
    pub(super) async fn over(&mut self, chunk: Chunk) -> Chunk {
        if self.looked.elapsed() >= FRESH {
            // An App that is being restarted has no other documents than before.
            if let Ok(mask) = self.state.mask_of(&self.app).await {
                self.mask = mask;
            }
            self.looked = Instant::now();
        }
        match chunk {
            Chunk::Lines(mut records) => {
                for record in Arc::make_mut(&mut records) {
                    record.text = self.mask.bytes(&record.text).into_owned();
                }
                Chunk::Lines(records)
            }
            other => other,
        }
    }
}
