//! `/-/ssh-keys`: who may push over ssh. Lists, adds and removes public keys.

use actix_web::http::{StatusCode, header};
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use jiff::Timestamp;
use serde_json::json;

use super::body;
use super::caller::Caller;
use super::on_disk::on_disk;
use super::problem::Problem;
use super::state::ApiState;
use crate::ssh_keys::error::KeyError;
use crate::ssh_keys::wish::Wish;

/// `GET /-/ssh-keys`: all of them, in the order in which they were added.
pub(super) async fn list(state: Data<ApiState>) -> HttpResponse {
    let known = state.ssh_keys.known();
    let all: Vec<_> = known.iter().map(|key| json!(key)).collect();
    HttpResponse::Ok().json(all)
}

/// `POST /-/ssh-keys`.
pub(super) async fn add(
    request: HttpRequest,
    caller: Caller,
    state: Data<ApiState>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let document = body::required_document(&request, payload).await?;
    let wish = Wish::read(&document)?;
    let keys = state.ssh_keys.clone();
    let key = on_disk(move || keys.add(wish, Timestamp::now())).await?;
    log::info!(
        "the ssh key \"{}\" ({}) was added by {caller}",
        key.name,
        key.public.fingerprint()
    );
    let mut shown = json!(key);
    shown["user"] = state.ssh_keys.place().user.as_str().into();
    Ok(HttpResponse::Created()
        .insert_header((header::LOCATION, format!("/-/ssh-keys/{}", key.id)))
        .json(shown))
}

/// `DELETE /-/ssh-keys/ID`; a name is taken too.
pub(super) async fn remove(
    caller: Caller,
    state: Data<ApiState>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let keys = state.ssh_keys.clone();
    let gone = on_disk(move || keys.remove(&id)).await?;
    log::info!("the ssh key \"{}\" was removed by {caller}", gone.name);
    let shown = json!({"id": gone.id, "name": gone.name, "removed": true});
    Ok(HttpResponse::Ok().json(shown))
}

impl From<KeyError> for Problem {
    fn from(error: KeyError) -> Self {
        let status = match &error {
            KeyError::NoSuchKey(_) => StatusCode::NOT_FOUND,
            KeyError::Exists(_) | KeyError::Known(_) | KeyError::TooMany(_) | KeyError::User(_) => {
                StatusCode::CONFLICT
            }
            KeyError::NotStored { .. } => {
                log::error!("API: {error}");
                StatusCode::INSUFFICIENT_STORAGE
            }
            KeyError::NoChance(_) => {
                log::error!("API: {error}");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        Self::new(status, error.to_string())
    }
}
