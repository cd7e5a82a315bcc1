//! `POST /applications/A/pause` and `/resume`: requests are held while, for instance, a database is migrated.

use std::time::Duration;

use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

use super::caller::Caller;
use super::problem::Problem;
use super::state::ApiState;
use super::{body, prefer};
use crate::app::supervisor::pause::{Pause, Paused, Resume};
use crate::document::pause_request::PauseRequest;

/// How long the answer waits for requests in flight, unless `Prefer: wait` says otherwise.
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers when nothing is in flight any more, or says how much is.
pub(super) async fn pause(
    request: HttpRequest,
    caller: Caller,
    state: Data<ApiState>,
    name: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let asked = PauseRequest::read(body::document(&request, payload).await?)?;
    let pause = Pause(asked.time, caller.by());
    let Paused { until, in_flight } = state.ask_app(&name, pause).await??;
    let patience = prefer::wait(&request).unwrap_or(PATIENCE).min(asked.time);
    let over = futures::future::join_all(in_flight.iter().map(|load| load.drained()));
    tokio::select! {
        _ = tokio::time::timeout(patience, over) => {}
        () = state.closes() => {}
    }
    let left: usize = in_flight.iter().map(|load| load.outstanding()).sum();
    let answer = json!({ "name": *name, "paused_until": until, "in_flight": left });
    Ok(HttpResponse::Ok().json(answer))
}

pub(super) async fn resume(
    caller: Caller,
    state: Data<ApiState>,
    name: Path<String>,
) -> Result<HttpResponse, Problem> {
    let changed = state.ask_app(&name, Resume(caller.by())).await??;
    Ok(HttpResponse::Ok().json(json!({ "name": *name, "changed": changed })))
}
