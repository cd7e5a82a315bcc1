//! `/ui/apps/A/deployments`: what was deployed, and one with its steps.

use actix_web::HttpResponse;
use actix_web::http::Method;
use actix_web::web::Path;
use askama::Template;

use super::{Desk, has};
use crate::api::problem::Problem;
use crate::api::ui::form::Form;
use crate::api::ui::login::to;
use crate::api::ui::page::{self, Page};
use crate::api::ui::shown::{Deployment, Line};

#[derive(Template)]
#[template(path = "deployments.html", config = "src/api/ui/askama.toml")]
struct DeploymentsPage {
    page: Page,
    name: String,
    tab: &'static str,
    wanted: String,
    total: usize,
    /// Newest first.
    deployments: Vec<Deployment>,
}

#[derive(Template)]
#[template(path = "deployment.html", config = "src/api/ui/askama.toml")]
struct DeploymentPage {
    page: Page,
    name: String,
    tab: &'static str,
    deployment: Deployment,
    /// The end of what its installation printed.
    lines: Vec<Line>,
    /// Why there is none.
    unread: Option<String>,
}

pub(in crate::api::ui) async fn list(
    desk: Desk,
    name: Path<String>,
) -> Result<HttpResponse, Problem> {
    let path = format!("/applications/{name}/deployments");
    let mut deployments: Vec<Deployment> = desk.get(&path).await?;
    let (wanted, total) = (desk.asked("q"), deployments.len());
    deployments.retain(|one| {
        has(&one.state, &wanted) || has(one.commit(), &wanted) || one.id.to_string() == wanted
    });
    deployments.sort_by_key(|one| std::cmp::Reverse(one.id));
    page::answer(&DeploymentsPage {
        page: desk.page(format!("Deployments of {name}"), "apps"),
        name: name.into_inner(),
        tab: "deployments",
        wanted,
        total,
        deployments,
    })
}

pub(in crate::api::ui) async fn show(
    desk: Desk,
    path: Path<(String, u64)>,
) -> Result<HttpResponse, Problem> {
    let (name, id) = path.into_inner();
    let path = format!("/applications/{name}/deployments/{id}");
    let deployment = desk.get(&path).await?;
    let log = format!("/applications/{name}/logs/install?tail=200&release={id}");
    // Without it there is a page all the same.
    let (lines, unread) = match desk.lines(&log).await {
        Ok(lines) => (lines, None),
        Err(problem) => (Vec::new(), Some(problem.detail().to_owned())),
    };
    page::answer(&DeploymentPage {
        page: desk.page(format!("Deployment {id} of {name}"), "apps"),
        name,
        tab: "deployments",
        deployment,
        lines,
        unread,
    })
}

pub(in crate::api::ui) async fn cancel(
    desk: Desk,
    path: Path<(String, u64)>,
    _form: Form,
) -> Result<HttpResponse, Problem> {
    let (name, id) = path.into_inner();
    let path = format!("/applications/{name}/deployments/{id}/cancel");
    desk.change(Method::POST, &path, None).await?;
    Ok(to(&format!("/ui/apps/{name}/deployments/{id}")))
}
