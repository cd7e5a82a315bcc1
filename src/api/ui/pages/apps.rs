//! `/ui`: the applications.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use askama::Template;
use serde::Deserialize;

use super::{Desk, has};
use crate::api::problem::Problem;
use crate::api::ui::page::{self, Page};
use crate::api::ui::shown::App;

#[derive(Template)]
#[template(path = "apps.html", config = "src/api/ui/askama.toml")]
struct AppsPage {
    page: Page,
    /// What is looked for.
    wanted: String,
    apps: Vec<App>,
    total: usize,
    present: Present,
}

/// `GET /-/history`, as far as it is of the present.
#[derive(Debug, Default, Deserialize)]
struct Present {
    applications: BTreeMap<String, Rate>,
}

#[derive(Debug, Deserialize)]
struct Rate {
    requests_per_second: f64,
}

impl AppsPage {
    fn rate(&self, app: &App) -> String {
        let known = self.present.applications.get(&app.name);
        let rate = known.map(|rate| format!("{:.1}", rate.requests_per_second));
        rate.unwrap_or_default()
    }
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
        // Of the last seconds alone: without it there is a list all the same.
        present: desk.get("/-/history?since=1m").await.unwrap_or_default(),
    })
}
