//! `GET /applications/A/disk`: what an application has on disk, by part.

use actix_web::HttpResponse;
use actix_web::web::{self, Data, Path};
use serde::Serialize;

use super::problem::Problem;
use super::state::ApiState;
use crate::app::supervisor::View;
use crate::install::disk_usage::{self, DiskUsage};
use crate::install::quota;

#[derive(Serialize)]
struct Disk {
    /// Bytes, by part.
    #[serde(flatten)]
    usage: DiskUsage,
    /// `limits.disk`.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    /// Where there is a limit: whether the kernel keeps all that writes within it.
    #[serde(skip_serializing_if = "Option::is_none")]
    enforced: Option<bool>,
    /// Why it does not, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    unenforced: Option<String>,
}

/// `disk` of the status of an application with a limit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Limited {
    /// Bytes, as `used`.
    limit: u64,
    used: u64,
    enforced: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    unenforced: Option<String>,
}

pub(super) async fn show(
    state: Data<ApiState>,
    name: Path<String>,
) -> Result<HttpResponse, Problem> {
    let view = state.inspect(&name).await?;
    let limit = view.disk_limit;
    let looked = web::block(move || {
        let state = limit.map(|limit| quota::state(&view.dirs, limit));
        (disk_usage::lately(&view.dirs), state)
    });
    let looked = looked.await;
    let (usage, state) =
        looked.map_err(|_| Problem::unavailable("its files cannot be looked at now"))?;
    Ok(HttpResponse::Ok().json(Disk {
        usage,
        limit,
        enforced: state.as_ref().map(Result::is_ok),
        unenforced: state.and_then(Result::err).map(|why| why.to_string()),
    }))
}

/// What the status of an app with a limit says, and the warning about one that has, or nearly has, more than it may.
pub(super) async fn limited(view: &View) -> Option<(Limited, Option<String>)> {
    let limit = view.disk_limit?;
    let dirs = view.dirs.clone();
    let looked = web::block(move || {
        let (usage, used) = (disk_usage::lately(&dirs), disk_usage::used(&dirs, limit));
        (usage, used, quota::state(&dirs, limit))
    });
    let (usage, used, state) = looked.await.ok()?;
    let warning = disk_usage::warning(&usage, limit, state.is_ok());
    let limited = Limited {
        limit,
        used,
        enforced: state.is_ok(),
        unenforced: state.err().map(|why| why.to_string()),
    };
    Some((limited, warning))
}
