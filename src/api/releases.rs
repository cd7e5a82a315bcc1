//! `GET /applications/A/releases`: the kept releases, which a rollback can go to.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use serde::Serialize;

use super::problem::Problem;
use super::state::ApiState;

/// One kept release. Its document is left out: it may hold secrets of another time.
#[derive(Serialize)]
struct Release<'a> {
    id: u64,
    commit: &'a str,
    created: jiff::Timestamp,
    current: bool,
}

/// All kept releases, oldest first.
pub(super) async fn list(
    state: Data<ApiState>,
    name: Path<String>,
) -> Result<HttpResponse, Problem> {
    let view = state.inspect(&name).await?;
    let releases: Vec<Release<'_>> = view
        .releases
        .iter()
        .map(|record| Release {
            id: record.id,
            commit: &record.commit,
            created: record.created,
            current: view.current == Some(record.id),
        })
        .collect();
    Ok(HttpResponse::Ok().json(releases))
}
