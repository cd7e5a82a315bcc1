//! `/ui/apps/A`: an application, and what can be done to it.

use std::collections::BTreeMap;

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
use crate::api::ui::shown::{App, Document, Status};
use crate::api::ui::words::plain;

#[derive(Template)]
#[template(path = "app.html", config = "src/api/ui/askama.toml")]
struct AppPage {
    page: Page,
    name: String,
    tab: &'static str,
    /// What `GET /applications` says of it.
    url: Option<String>,
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
    let all: Vec<App> = desk.get("/applications").await?;
    let history: Result<History, _> = desk.get(&format!("/applications/{name}/history")).await;
    // Without it there is a page all the same.
    let history = history.unwrap_or_default();
    let page = desk.page(name.as_str(), "apps");
    let own = all.iter().find(|app| app.name == *name);
    page::answer(&AppPage {
        tab: "overview",
        url: own.and_then(|app| app.url()).map(str::to_owned),
        formation: formation(&document, &status),
        repository: plain(document.repo["url"].as_str().unwrap_or_default()),
        name: name.into_inner(),
        status,
        plots: history.plots(page.now),
        rows: history.rows(),
        page,
    })
}

/// The types that the document names, and those that have processes.
fn formation(document: &Document, status: &Status) -> Vec<Quantity> {
    let mut running: BTreeMap<&str, usize> = BTreeMap::new();
    for process in status.processes.iter().filter(|p| p.is_of_formation()) {
        *running.entry(&process.process_type).or_default() += 1;
    }
    let named = document.scale.keys().map(String::as_str);
    let mut types: Vec<&str> = named.chain(running.keys().copied()).collect();
    types.sort_unstable();
    types.dedup();
    let quantity = |process_type: &str| {
        let running = running.get(process_type).copied().unwrap_or(0);
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

/// `POST /ui/apps/A/scale`: a field for each type.
pub(in crate::api::ui) async fn scale(
    desk: Desk,
    name: Path<String>,
    form: Form,
) -> Result<HttpResponse, Problem> {
    let mut scale = Map::new();
    for (field, quantity) in form.fields() {
        if let Some(process_type) = field.strip_prefix("type.") {
            let quantity: u32 = quantity.parse().map_err(|_| not_a_number())?;
            scale.insert(process_type.to_owned(), quantity.into());
        }
    }
    let path = format!("/applications/{name}");
    let body = Some(json!({ "scale": scale }));
    desk.change(Method::PATCH, &path, body).await?;
    Ok(to(&format!("/ui/apps/{name}")))
}
