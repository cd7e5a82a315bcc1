//! `/ui/apps/A/releases`: the releases that are kept.

use actix_web::HttpResponse;
use actix_web::web::Path;
use askama::Template;

use super::Desk;
use crate::api::problem::Problem;
use crate::api::ui::page::{self, Page};
use crate::api::ui::shown::Release;

#[derive(Template)]
#[template(path = "releases.html", config = "src/api/ui/askama.toml")]
struct ReleasesPage {
    page: Page,
    name: String,
    tab: &'static str,
    /// Newest first.
    releases: Vec<Release>,
}

pub(in crate::api::ui) async fn list(
    desk: Desk,
    name: Path<String>,
) -> Result<HttpResponse, Problem> {
    let path = format!("/applications/{name}/releases");
    let mut releases: Vec<Release> = desk.get(&path).await?;
    releases.sort_by_key(|release| std::cmp::Reverse(release.id));
    page::answer(&ReleasesPage {
        page: desk.page(format!("Releases of {name}"), "apps"),
        name: name.into_inner(),
        tab: "releases",
        releases,
    })
}
