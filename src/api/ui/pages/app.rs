//! `/ui/apps/A`: an application, and what can be done to it.

use std::collections::{BTreeMap, BTreeSet};

use actix_web::HttpResponse;
use actix_web::http::Method;
use actix_web::web::Path;
use askama::Template;
use serde_json::{Map, Value, json};

use super::Desk;
use crate::api::problem::Problem;
use crate::api::ui::form::Form;
use crate::api::ui::login::to;
use crate::api::ui::page::{self, Page};
use crate::api::ui::plots::{History, Plot, Row};
use crate::api::ui::shown::{Document, Process, Status};
use crate::api::ui::words::plain;

#[derive(Template)]
#[template(path = "app.html", config = "src/api/ui/askama.toml")]
struct AppPage {
    page: Page,
    name: String,
    tab: &'static str,
    status: Status,
    formation: Vec<Quantity>,
    repository: String,
    /// The last day, as pictures and in numbers.
    plots: Vec<Plot>,
    rows: Vec<Row>,
}

/// How many processes of a type are wanted.
struct Quantity {
    process_type: String,
    wanted: u32,
    running: usize,
}

pub(in crate::api::ui) async fn show(
    desk: Desk,
    name: Path<String>,
) -> Result<HttpResponse, Problem> {
    let status: Status = desk.get(&format!("/applications/{name}/status")).await?;
    let document: Document = desk.get(&format!("/applications/{name}")).await?;
    let history: Result<History, _> = desk.get(&format!("/applications/{name}/history")).await;
    // Without it there is a page all the same.
    let history = history.unwrap_or_default();
    let page = desk.page(name.as_str(), "apps");
    page::answer(&AppPage {
        tab: "overview",
        formation: formation(&document, &status),
        repository: plain(document.repo["url"].as_str().unwrap_or_default()),
        name: name.into_inner(),
        status,
        plots: history.plots(page.now),
        rows: history.rows(),
        page,
    })
}

/// The types that the document names, and those that have processes. In a deploy there are those of two batches: counted
/// are the processes of the release that stands, each once.
fn formation(document: &Document, status: &Status) -> Vec<Quantity> {
    let is_current = |process: &&Process| {
        process.is_of_formation() && status.release.is_none_or(|own| process.release == own)
    };
    let mut running: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for process in status.processes.iter().filter(is_current) {
        let ids = running.entry(&process.process_type).or_default();
        ids.insert(&process.id);
    }
    let named = document.scale.keys().map(String::as_str);
    let mut types: Vec<&str> = named.chain(running.keys().copied()).collect();
    types.sort_unstable();
    types.dedup();
    let quantity = |process_type: &str| {
        let running = running.get(process_type).map_or(0, BTreeSet::len);
        let wanted = document.scale.get(process_type).copied();
        Quantity {
            process_type: process_type.to_owned(),
            wanted: wanted.unwrap_or_else(|| u32::try_from(running).unwrap_or(u32::MAX)),
            running,
        }
    };
    types.into_iter().map(quantity).collect()
}

/// `POST /ui/apps/A/start` and the like.
pub(in crate::api::ui) async fn act(
    desk: Desk,
    path: Path<(String, String)>,
    form: Form,
) -> Result<HttpResponse, Problem> {
    let (name, action) = path.into_inner();
    let body = match (action.as_str(), form.text("release"), form.text("cache")) {
        ("rollback", release, _) if !release.is_empty() => {
            let release: u64 = release.parse().map_err(|_| not_a_number())?;
            Some(json!({ "release": release }))
        }
        ("redeploy", _, "false") => Some(json!({ "cache": false })),
        _ => None,
    };
    let path = format!("/applications/{name}/{action}");
    let answer = desk.change(Method::POST, &path, body).await?;
    Ok(after(&name, &answer))
}

/// To the deployment that began, or else to the application.
pub(super) fn after(name: &str, answer: &Value) -> HttpResponse {
    match answer["deployment"].as_u64() {
        Some(id) => to(&format!("/ui/apps/{name}/deployments/{id}")),
        None => to(&format!("/ui/apps/{name}")),
    }
}

fn not_a_number() -> Problem {
    let detail = "This must be a whole number.";
    Problem::new(actix_web::http::StatusCode::UNPROCESSABLE_ENTITY, detail)
}

/// `POST /ui/apps/A/scale`: a field for each type, and one with what it was. Types whose number nobody changed are left
/// alone: somebody else may have changed it, or the document may not name it.
pub(in crate::api::ui) async fn scale(
    desk: Desk,
    name: Path<String>,
    form: Form,
) -> Result<HttpResponse, Problem> {
    let mut scale = Map::new();
    for (field, quantity) in form.fields() {
        if let Some(process_type) = field.strip_prefix("type.")
            && form.text(&format!("was.{process_type}")) != quantity
        {
            let quantity: u32 = quantity.parse().map_err(|_| not_a_number())?;
            scale.insert(process_type.to_owned(), quantity.into());
        }
    }
    if !scale.is_empty() {
        let path = format!("/applications/{name}");
        let body = Some(json!({ "scale": scale }));
        desk.change(Method::PATCH, &path, body).await?;
    }
    Ok(to(&format!("/ui/apps/{name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_a_deploy_processes_of_two_batches_count_once_and_what_runs_once_never() {
        let process = |id: &str, release: u64, command: Option<&str>| {
            let (process_type, _) = id.split_once('.').unwrap();
            json!({ "id": id, "type": process_type, "state": "ready", "release": release, "command": command,
                "restarts": 0, "memory_bytes": 0, "cpu_seconds": 0.0 })
        };
        let processes = [
            process("web.1", 1, None),
            process("web.2", 1, None),
            process("web.1", 2, None),
            process("web.2", 2, None),
            // Of a batch that is replaced by one of the same release.
            process("web.2", 2, None),
            // A type that a Procfile has.
            process("run.1", 2, None),
            process("run.7", 2, Some("id")),
        ];
        let status =
            json!({ "state": "running", "release": 2, "processes": processes, "warnings": [] });
        let status = serde_json::from_value(status).unwrap();
        let document = serde_json::from_value(json!({ "scale": { "worker": 3 } })).unwrap();
        let rows = formation(&document, &status);
        let rows = rows
            .iter()
            .map(|row| (&*row.process_type, row.wanted, row.running));
        let wanted = [("run", 1, 1), ("web", 2, 2), ("worker", 3, 0)];
        assert_eq!(rows.collect::<Vec<_>>(), wanted);
    }
}
