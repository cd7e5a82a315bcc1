//! `/applications/A/run`: starts commands beside the processes of an application, lists and ends them.

use std::time::Duration;

use actix_web::http::header;
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

use super::body;
use super::caller::Caller;
use super::problem::Problem;
use super::state::ApiState;
use crate::app::one_offs::Wish;
use crate::app::supervisor::one_offs::{End, List, Listed, Run};
use crate::document::run_request::RunRequest;
use crate::events::Report;
use crate::process::one_off::{EndsKind, WindowSize};
use crate::process::phase::Phase;

/// How long a start may take: an engine may have to make an image first, and its machines to fetch it. Who asked need not
/// wait.
pub(super) const START: Duration = Duration::from_hours(1);

/// Those that run, and the last that ended, oldest first.
pub(super) async fn list(
    state: Data<ApiState>,
    name: Path<String>,
) -> Result<HttpResponse, Problem> {
    let all = state.ask_app(&name, List).await?;
    let shown: Vec<Value> = all.iter().map(shown).collect();
    Ok(HttpResponse::Ok().json(shown))
}

/// Starts one: 201 once it runs.
pub(super) async fn start(
    request: HttpRequest,
    caller: Caller,
    state: Data<ApiState>,
    name: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let body = body::required_document(&request, payload).await?;
    let asked = RunRequest::read(&body)?;
    let started = state.ask_app_for(&name, Run(wish(asked)), START).await??;
    // The command may have secrets.
    let ran = Report::ran(name.as_str().into(), caller.by(), started.id.clone());
    state.events.report(ran);
    let place = format!("/applications/{name}/run/{}", started.id);
    let all = state.ask_app(&name, List).await?;
    let listed = all.iter().find(|one| one.record.id == started.id);
    let mut answer = listed.map_or_else(|| json!({ "id": started.id }), shown);
    if listed.is_none_or(|one| one.record.attached) {
        answer["attach"] = format!("{place}/attach").into();
    }
    Ok(HttpResponse::Created()
        .insert_header((header::LOCATION, place))
        .json(answer))
}

pub(super) async fn show(
    state: Data<ApiState>,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let (name, id) = path.into_inner();
    let all = state.ask_app(&name, List).await?;
    match all.iter().rev().find(|one| one.record.id == id) {
        Some(one) => Ok(HttpResponse::Ok().json(shown(one))),
        None => Err(no_such(&name, &id)),
    }
}

/// Ends one, with its grace.
pub(super) async fn end(
    state: Data<ApiState>,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let (name, id) = path.into_inner();
    state.ask_app(&name, End(id.clone())).await??;
    Ok(HttpResponse::Accepted().json(json!({ "name": name, "id": id })))
}

fn wish(asked: RunRequest) -> Wish {
    let size = asked
        .size
        .map(|(columns, rows)| WindowSize { columns, rows });
    let ends = match asked.tty {
        true => EndsKind::Terminal(size.unwrap_or_default()),
        false => EndsKind::Pipes,
    };
    Wish {
        command: asked.command,
        env: asked.env,
        ends: (!asked.detach).then_some(ends),
        time_limit: asked.timeout,
        job: None,
    }
}

pub(super) fn shown(one: &Listed) -> Value {
    let Listed {
        record,
        snapshot,
        is_live,
    } = one;
    let phase = match (is_live, snapshot) {
        (true, Some(snapshot)) => snapshot.phase,
        (true, None) => Phase::Starting,
        (false, _) => Phase::Finished,
    };
    let snapshot = snapshot.as_ref().filter(|_| *is_live);
    let place = snapshot.and_then(|s| s.place.as_ref());
    let took = record.exit.as_ref();
    let took = took.map(|exit| {
        exit.at
            .duration_since(record.created)
            .as_secs_f64()
            .max(0.0)
    });
    json!({
        "id": record.id,
        "type": record.process_type(),
        "command": record.command,
        "env": record.env,
        "state": phase,
        "release": record.release,
        "attached": record.attached,
        "pid": snapshot.and_then(|s| s.pid),
        "node": record.node,
        "task": place.map(|place| place.task.clone()),
        "warning": snapshot.and_then(|s| s.warning.clone()),
        "started_at": record.created,
        "timeout": record.timeout.map(|seconds| format!("{seconds}s")),
        "due": record.due,
        "last_exit": record.exit,
        "seconds": took,
    })
}

fn no_such(name: &str, id: &str) -> Problem {
    let shown: String = id.chars().take(40).collect();
    let detail = format!(
        "{name} has no run \"{shown}\": GET /applications/{name}/run lists those that run, and the last that ended."
    );
    Problem::new(actix_web::http::StatusCode::NOT_FOUND, detail)
}
