//! Directories of applications that have no document any more: `GET /applications?orphans=true`, and
//! `DELETE /applications/A?orphan=true`.

use actix_web::HttpResponse;

use super::caller::Caller;
use super::problem::Problem;
use super::state::ApiState;
use crate::app::apps::{Orphans, RemoveOrphan};
use crate::document::name::AppName;

pub(super) async fn list(state: &ApiState, caller: &Caller) -> Result<HttpResponse, Problem> {
    let mut orphans = state.ask_apps(Orphans).await??;
    orphans.retain(|orphan| caller.sees(&orphan.name));
    Ok(HttpResponse::Ok().json(orphans))
}

/// Removes one, with all that is in it.
pub(super) async fn remove(state: &ApiState, name: &AppName) -> Result<HttpResponse, Problem> {
    state.ask_apps(RemoveOrphan(name.clone())).await??;
    Ok(HttpResponse::Ok().json(serde_json::json!({ "name": name.as_str() })))
}
