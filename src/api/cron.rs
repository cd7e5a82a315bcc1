//! `/applications/A/cron`: the jobs of an application, when they are due and how they went; runs one now.

use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::{Data, Path};
use serde_json::{Value, json};

use super::caller::Caller;
use super::problem::Problem;
use super::run;
use super::state::ApiState;
use crate::app::supervisor::cron::{ListJobs, ListedJob, RunJob};
use crate::events::Report;

pub(super) async fn list(
    state: Data<ApiState>,
    name: Path<String>,
) -> Result<HttpResponse, Problem> {
    let jobs = state.ask_app(&name, ListJobs).await?;
    let shown: Vec<Value> = jobs.iter().map(shown).collect();
    Ok(HttpResponse::Ok().json(shown))
}

/// Runs a job: 201 once it runs.
pub(super) async fn start(
    caller: Caller,
    state: Data<ApiState>,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let (name, job) = path.into_inner();
    let detail = format!("job {job}");
    let started = state.ask_app_for(&name, RunJob(job), run::START).await??;
    let ran = Report::ran(
        name.as_str().into(),
        caller.by(),
        format!("{detail} as {}", started.id),
    );
    state.events.report(ran);
    let place = format!("/applications/{name}/run/{}", started.id);
    Ok(HttpResponse::Created()
        .insert_header((header::LOCATION, place))
        .json(json!({ "name": name, "id": started.id, "release": started.release })))
}

fn shown(listed: &ListedJob) -> Value {
    let ListedJob { job, next, runs } = listed;
    json!({
        "name": job.name,
        "schedule": job.schedule.text,
        "timezone": job.schedule.zone(),
        "command": job.command,
        "timeout": format!("{}s", job.timeout.as_secs()),
        "overlap": if job.overlaps { "allow" } else { "skip" },
        "next": next,
        "runs": runs.iter().map(run::shown).collect::<Vec<_>>(),
    })
}
