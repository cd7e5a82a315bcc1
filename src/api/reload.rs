//! `POST /-/reload`: the server is replaced in place by the program that is installed now. `GET` says what came of it.

use actix_web::HttpResponse;
use actix_web::http::{StatusCode, header};
use actix_web::web::Data;
use serde_json::json;
use tokio::sync::oneshot;

use super::problem::Problem;
use super::reload_status::Stage;
use super::state::ApiState;

pub(super) async fn show(state: Data<ApiState>) -> HttpResponse {
    let status = state.reload.status.borrow().clone();
    let mut body = json!(status);
    body["version"] = env!("CARGO_PKG_VERSION").into();
    body["pid"] = std::process::id().into();
    HttpResponse::Ok().json(body)
}

pub(super) async fn start(state: Data<ApiState>) -> Result<HttpResponse, Problem> {
    let under_way = || {
        let detail = "A reload is under way: GET /-/reload says how far it is.";
        Problem::new(StatusCode::CONFLICT, detail)
    };
    let stage = state.reload.status.borrow().state;
    if matches!(stage, Stage::Trying | Stage::Waiting) {
        return Err(under_way());
    }
    let (answer, answered) = oneshot::channel();
    if state.reload.requests.try_send(answer).is_err() {
        return Err(under_way());
    }
    match answered.await {
        Ok(Ok(reload)) => Ok(HttpResponse::Accepted()
            .insert_header((header::LOCATION, "/-/reload"))
            .json(json!({ "reload": reload, "state": Stage::Waiting }))),
        Ok(Err(reason)) => Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            format!("The server goes on as it was: {reason}"),
        )),
        Err(_ended) => Err(Problem::unavailable("The server is being stopped.")),
    }
}
