//! `GET /applications/A/status`: the state that the App actor knows, with memory and CPU from the kernel and last lines
//! from the log.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::{self, Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use jiff::Timestamp;
use serde::Serialize;
use tokio::time::timeout;

use super::app_url::Called;
use super::problem::Problem;
use super::state::{ApiState, ask_child};
use super::{deploy_key, disk};
use crate::app::status::{AppState, ProcessStatus, Status, Summary};
use crate::app::supervisor::View;
use crate::logs::log::{Chunk, Log, Query, Read};
use crate::logs::record::Stream;
use crate::process::usage::{self, Run};
use crate::supervision::ChildRef;
use crate::swarm::meter::Meters;

/// Lines of stderr shown for a process that keeps crashing.
const LAST_LINES: usize = 10;

const LINE_LENGTH: usize = 500;

/// A log that takes longer leaves the status without its lines.
const LOG_PATIENCE: Duration = Duration::from_secs(2);

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    status: Status,
    /// Where it is reached.
    url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disk: Option<disk::Limited>,
}

pub(super) async fn show(
    request: HttpRequest,
    state: Data<ApiState>,
    name: Path<String>,
) -> Result<HttpResponse, Problem> {
    let view = state.inspect(&name).await?;
    let url = url(&request, &state, &view.summary);
    let (disk, over) = disk::limited(&view).await.unzip();
    let mut status = view.status;
    status.warnings.extend(over.flatten());
    status.warnings.extend(state.uploads.warning(&name));
    let ended = fill_usage(&mut status.processes, &state.meters).await;
    status.warnings.extend(ended);
    let port = view.document["port"].as_u64();
    let port = port.and_then(|port| u16::try_from(port).ok());
    if let Some(why) = port.and_then(|port| state.closed_ports.borrow().get(&port).cloned()) {
        status.warnings.push(why);
    }
    status
        .warnings
        .extend(no_static_files(view.static_directory).await);
    status.deploy_key = deploy_key::read(view.dirs).await;
    if status.state == AppState::Crashlooping {
        for process in &mut status.processes {
            let lines = timeout(LOG_PATIENCE, last_lines(&view.log, &process.id)).await;
            process.last_lines = lines.unwrap_or_default();
        }
    }
    Ok(HttpResponse::Ok().json(Shown { status, url, disk }))
}

fn url(request: &HttpRequest, state: &ApiState, summary: &Summary) -> Option<String> {
    let certificates = Arc::clone(&state.certificates.certificates.borrow());
    let has_certificate = |host: &str| certificates.has_valid(host, Timestamp::now);
    let called = Called::by(request, &has_certificate).knowing(&state.routing.reach);
    called.url(&summary.name, &summary.reach)
}

/// Returns the warnings for the answer to a change.
pub(super) async fn warnings(view: View) -> Vec<String> {
    let mut warnings = view.status.warnings;
    warnings.extend(no_static_files(view.static_directory).await);
    warnings
}

/// Warns of files that are to be served and are not there.
async fn no_static_files(directory: Option<PathBuf>) -> Option<String> {
    let directory = directory?;
    let shown = directory.display().to_string();
    let is_there = web::block(move || directory.is_dir()).await.unwrap_or(true);
    (!is_there).then(|| {
        format!(
            "static.dir: there is no directory {shown}: commit it, or make it by an install command"
        )
    })
}

/// Returns warnings about processes of which the kernel has ended a part.
async fn fill_usage(processes: &mut [ProcessStatus], meters: &Meters) -> Vec<String> {
    let sessions: Vec<u32> = processes.iter().filter_map(|p| p.pid).collect();
    let used = match sessions.is_empty() {
        true => HashMap::new(),
        // An error: the server stops.
        false => web::block(move || usage::of_sessions(&sessions))
            .await
            .unwrap_or_default(),
    };
    let mut warnings = Vec::new();
    for process in processes {
        let usage = match process.run() {
            Some(Run::Pid(pid)) => used.get(&pid).copied(),
            Some(Run::Task(task)) => meters.of(&task),
            None => None,
        };
        if let Some(usage) = usage {
            process.memory_bytes = usage.memory_bytes;
            process.cpu_seconds = usage.cpu_seconds;
            if usage.oom_kills > 0 {
                warnings.push(format!(
                    "{}: out of memory, the kernel has ended {} of the processes that it had started; a higher \
                     limits.{}.memory gives it more",
                    process.id, usage.oom_kills, process.process_type
                ));
            }
        }
    }
    warnings
}

async fn last_lines(log: &ChildRef<Log>, process: &str) -> Vec<String> {
    let query = Query {
        tail: Some(LAST_LINES),
        process: Some(process.to_owned()),
        ..Query::all(&[Stream::Stderr])
    };
    let Ok(Ok(mut chunks)) = ask_child(log, Read(query)).await else {
        return Vec::new();
    };
    let mut lines = Vec::new();
    while let Some(chunk) = chunks.recv().await {
        if let Chunk::Lines(records) = chunk {
            lines.extend(records.iter().map(|record| line_of(&record.text)));
        }
    }
    lines.split_off(lines.len().saturating_sub(LAST_LINES))
}

fn line_of(text: &[u8]) -> String {
    String::from_utf8_lossy(text)
        .chars()
        .take(LINE_LENGTH)
        .collect()
}
