//! `/ui/apps/A/run`: commands beside the processes of an application. They run detached, and their output is in its log.

use actix_web::HttpResponse;
use actix_web::http::Method;
use actix_web::web::Path;
use askama::Template;
use serde_json::json;

use super::{Desk, segment};
use crate::api::problem::Problem;
use crate::api::ui::form::Form;
use crate::api::ui::login::to;
use crate::api::ui::page::{self, Page};
use crate::api::ui::shown::{Line, Run};

/// One that hangs does not run for ever.
const TIMEOUT: &str = "1h";

#[derive(Template)]
#[template(path = "runs.html", config = "src/api/ui/askama.toml")]
struct RunsPage {
    page: Page,
    name: String,
    tab: &'static str,
    /// Newest first.
    runs: Vec<Run>,
}

#[derive(Template)]
#[template(path = "run.html", config = "src/api/ui/askama.toml")]
struct RunPage {
    page: Page,
    name: String,
    tab: &'static str,
    run: Run,
    lines: Vec<Line>,
}

pub(in crate::api::ui) async fn list(
    desk: Desk,
    name: Path<String>,
) -> Result<HttpResponse, Problem> {
    let mut runs: Vec<Run> = desk.get(&format!("/applications/{name}/run")).await?;
    runs.reverse();
    page::answer(&RunsPage {
        page: desk.page(format!("Commands of {name}"), "apps"),
        name: name.into_inner(),
        tab: "run",
        runs,
    })
}

pub(in crate::api::ui) async fn show(
    desk: Desk,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let (name, id) = path.into_inner();
    let id = segment(&id).replace("%2E", ".");
    let run = desk.get(&format!("/applications/{name}/run/{id}")).await?;
    let log = format!("/applications/{name}/logs?tail=500&process={id}&follow=false");
    let lines = desk.lines(&log).await?;
    page::answer(&RunPage {
        page: desk.page(format!("{id} of {name}"), "apps"),
        name,
        tab: "run",
        run,
        lines,
    })
}

/// `POST /ui/apps/A/run`.
pub(in crate::api::ui) async fn start(
    desk: Desk,
    name: Path<String>,
    form: Form,
) -> Result<HttpResponse, Problem> {
    let command = form.text("command").trim();
    let body = json!({ "command": command, "detach": true, "timeout": TIMEOUT });
    let path = format!("/applications/{name}/run");
    let answer = desk.change(Method::POST, &path, Some(body)).await?;
    let id = answer["id"].as_str().unwrap_or_default();
    Ok(to(&format!("/ui/apps/{name}/run/{id}")))
}

/// `POST /ui/apps/A/run/ID/end`.
pub(in crate::api::ui) async fn end(
    desk: Desk,
    path: Path<(String, String)>,
    _form: Form,
) -> Result<HttpResponse, Problem> {
    let (name, id) = path.into_inner();
    let id = segment(&id).replace("%2E", ".");
    let path = format!("/applications/{name}/run/{id}");
    desk.change(Method::DELETE, &path, None).await?;
    Ok(to(&format!("/ui/apps/{name}/run/{id}")))
}
