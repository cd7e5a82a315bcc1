//! `/ui`: the applications.

use actix_web::HttpResponse;
use askama::Template;

use super::{Desk, has};
use crate::api::problem::Problem;
use crate::api::ui::page::{self, Page};
use crate::api::ui::shown::App;

#[derive(Template)]
#[template(path = "apps.html")]
struct AppsPage {
    page: Page,
    /// What is looked for.
    wanted: String,
    apps: Vec<App>,
    total: usize,
}

pub(in crate::api::ui) async fn show(desk: Desk) -> Result<HttpResponse, Problem> {
    let mut apps: Vec<App> = desk.get("/applications").await?;
    let (wanted, total) = (desk.asked("q"), apps.len());
    apps.retain(|app| has(&app.name, &wanted) || has(&app.state, &wanted));
    page::answer(&AppsPage {
        page: desk.page("Applications", "apps"),
        wanted,
        apps,
        total,
    })
}
