//! `/tokens`: who may call the API over TCP. Lists, makes and revokes tokens; the text of one is answered once.

use actix_web::http::{StatusCode, header};
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::body;
use super::caller::Caller;
use super::on_disk::on_disk;
use super::problem::Problem;
use super::state::ApiState;
use crate::tokens::Token;
use crate::tokens::error::TokenError;
use crate::tokens::wish::Wish;

/// `GET /tokens`: all of them, the first one first.
pub(super) async fn list(state: Data<ApiState>) -> HttpResponse {
    let (known, now) = (state.tokens.known(), Timestamp::now());
    let all: Vec<Value> = known.all().iter().map(|token| shown(token, now)).collect();
    HttpResponse::Ok().json(all)
}

/// `POST /tokens`.
pub(super) async fn create(
    request: HttpRequest,
    caller: Caller,
    state: Data<ApiState>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let document = body::required_document(&request, payload).await?;
    let now = Timestamp::now();
    let wish = Wish::read(&document, now)?;
    let tokens = state.tokens.clone();
    let (text, token) = on_disk(move || tokens.create(wish, now)).await?;
    log::info!("a token \"{}\" was made by {caller}", token.name);
    let mut body = json!({ "token": text });
    if let (Value::Object(body), Value::Object(shown)) = (&mut body, shown(&token, now)) {
        body.extend(shown);
    }
    let location = format!("/tokens/{}", token.id);
    Ok(HttpResponse::Created()
        .insert_header((header::LOCATION, location))
        .json(body))
}

/// `DELETE /tokens/ID`; a name is taken too.
pub(super) async fn revoke(
    caller: Caller,
    state: Data<ApiState>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let tokens = state.tokens.clone();
    let gone = on_disk(move || tokens.revoke(&id)).await?;
    log::info!("the token \"{}\" was revoked by {caller}", gone.name);
    Ok(HttpResponse::Ok().json(json!({"id": gone.id, "name": gone.name, "revoked": true})))
}

fn shown(token: &Token, now: Timestamp) -> Value {
    let mut shown = json!(token);
    if token.has_expired(now) {
        shown["expired"] = true.into();
    }
    shown
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        let status = match &error {
            TokenError::NoSuchToken(_) => StatusCode::NOT_FOUND,
            TokenError::Exists(_) | TokenError::First(_) | TokenError::TooMany(_) => {
                StatusCode::CONFLICT
            }
            TokenError::NotStored { .. } => {
                log::error!("API: {error}");
                StatusCode::INSUFFICIENT_STORAGE
            }
            TokenError::NoChance(_) => {
                log::error!("API: {error}");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        Self::new(status, error.to_string())
    }
}
