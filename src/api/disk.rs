//! `GET /applications/A/disk`: what an application has on disk, by part.

use actix_web::HttpResponse;
use actix_web::web::{self, Data, Path};
use serde::Serialize;

use super::problem::Problem;
use super::state::ApiState;
use crate::app::supervisor::View;
use crate::install::disk_usage::{self, DiskUsage};

#[derive(Serialize)]
struct Disk {
    /// Bytes, by part.
    #[serde(flatten)]
    usage: DiskUsage,
    /// `limits.disk`.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
}

pub(super) async fn show(
    state: Data<ApiState>,
    name: Path<String>,
) -> Result<HttpResponse, Problem> {
    let view = state.inspect(&name).await?;
    let limit = view.disk_limit;
    let usage = web::block(move || disk_usage::lately(&view.dirs)).await;
    let usage = usage.map_err(|_| Problem::unavailable("its files cannot be looked at now"))?;
    Ok(HttpResponse::Ok().json(Disk { usage, limit }))
}

/// The warning about an app that has, or nearly has, more than it may.
pub(super) async fn warning(view: &View) -> Option<String> {
    let limit = view.disk_limit?;
    let dirs = view.dirs.clone();
    let usage = web::block(move || disk_usage::lately(&dirs)).await.ok()?;
    disk_usage::warning(&usage, limit)
}
