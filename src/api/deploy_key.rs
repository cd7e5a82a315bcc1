//! `GET /applications/A/deploy-key`: the public half of the key by which its repository is reached over ssh.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{self, Data, Path};
use serde_json::json;

use super::problem::Problem;
use super::state::ApiState;
use crate::app_dirs::AppDirs;
use crate::install::deploy_key;

/// The public key; 404 where there is none.
pub(super) async fn show(
    state: Data<ApiState>,
    name: Path<String>,
) -> Result<HttpResponse, Problem> {
    let view = state.inspect(&name).await?;
    match read(view.dirs).await {
        Some(key) => Ok(HttpResponse::Ok().json(json!({ "deploy_key": key }))),
        None => Err(Problem::new(
            StatusCode::NOT_FOUND,
            format!(
                "{name} has no deploy key: the first deployment that reaches a repository by ssh makes it."
            ),
        )),
    }
}

/// The public key of the app of `dirs`.
pub(super) async fn read(dirs: AppDirs) -> Option<String> {
    // Only a panic or the end of the server keeps the blocking thread from answering.
    web::block(move || deploy_key::public(&dirs)).await.ok()?
}
