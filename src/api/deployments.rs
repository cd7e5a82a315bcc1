//! `/applications/A/deployments`: lists and shows deployments, and cancels the one at work.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::web::{Data, Path};
use serde_json::json;

use super::caller::Caller;
use super::problem::Problem;
use super::state::ApiState;
use crate::app::supervisor::Cancel;

/// All kept records, oldest first.
pub(super) async fn list(
    state: Data<ApiState>,
    name: Path<String>,
) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(state.inspect(&name).await?.deployments))
}

pub(super) async fn show(
    state: Data<ApiState>,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let (name, id) = path.into_inner();
    let view = state.inspect(&name).await?;
    let wanted = number(&name, &id)?;
    let record = view.deployments.into_iter().find(|d| d.id == wanted);
    let record = record.ok_or_else(|| no_such(&name, &id))?;
    Ok(HttpResponse::Ok().json(record))
}

/// Cancels a deployment, and kills the whole process tree of its running step.
pub(super) async fn cancel(
    caller: Caller,
    state: Data<ApiState>,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let (name, id) = path.into_inner();
    let wanted = number(&name, &id)?;
    state.ask_app(&name, Cancel(wanted, caller.by())).await??;
    let location = format!("/applications/{name}/deployments/{wanted}");
    Ok(HttpResponse::Accepted()
        .insert_header((header::LOCATION, location))
        .json(json!({"name": name, "deployment": wanted})))
}

fn number(name: &str, id: &str) -> Result<u64, Problem> {
    id.parse().map_err(|_| no_such(name, id))
}

fn no_such(name: &str, id: &str) -> Problem {
    let shown: String = id.chars().take(40).collect();
    let detail = format!(
        "{name} has no deployment \"{shown}\": GET /applications/{name}/deployments lists those that are kept."
    );
    Problem::new(StatusCode::NOT_FOUND, detail)
}
