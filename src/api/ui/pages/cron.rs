//! `/ui/apps/A/cron`: the jobs of an application.

use actix_web::HttpResponse;
use actix_web::http::Method;
use actix_web::web::Path;
use askama::Template;

use super::{Desk, segment};
use crate::api::problem::Problem;
use crate::api::ui::form::Form;
use crate::api::ui::login::to;
use crate::api::ui::page::{self, Page};
use crate::api::ui::shown::Job;

#[derive(Template)]
#[template(path = "cron.html", config = "src/api/ui/askama.toml")]
struct CronPage {
    page: Page,
    name: String,
    tab: &'static str,
    jobs: Vec<Job>,
}

pub(in crate::api::ui) async fn show(
    desk: Desk,
    name: Path<String>,
) -> Result<HttpResponse, Problem> {
    let jobs = desk.get(&format!("/applications/{name}/cron")).await?;
    page::answer(&CronPage {
        page: desk.page(format!("Jobs of {name}"), "apps"),
        name: name.into_inner(),
        tab: "cron",
        jobs,
    })
}

/// `POST /ui/apps/A/cron/JOB/run`.
pub(in crate::api::ui) async fn start(
    desk: Desk,
    path: Path<(String, String)>,
    _form: Form,
) -> Result<HttpResponse, Problem> {
    let (name, job) = path.into_inner();
    let path = format!("/applications/{name}/cron/{}/run", segment(&job));
    desk.change(Method::POST, &path, None).await?;
    Ok(to(&format!("/ui/apps/{name}/cron")))
}
