//! `GET /healthz`.

use actix_web::HttpResponse;
use actix_web::web::Data;
use serde_json::json;

use super::problem::Problem;
use super::state::ApiState;
use crate::app::apps::List;

/// 200 when the tree answers, else 503.
pub(super) async fn show(state: Data<ApiState>) -> Result<HttpResponse, Problem> {
    state.ask_apps(List).await?;
    Ok(HttpResponse::Ok().json(json!({"status": "ok"})))
}
