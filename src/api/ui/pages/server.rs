//! `/ui/server` and `/ui/audit`: how the server is, and who has changed what.

use actix_web::HttpResponse;
use askama::Template;

use super::{Desk, has};
use crate::api::problem::Problem;
use crate::api::ui::page::{self, Page};
use crate::api::ui::shown::{Audited, Certificate, Server};

#[derive(Template)]
#[template(path = "server.html", config = "src/api/ui/askama.toml")]
struct ServerPage {
    page: Page,
    server: Server,
    certificates: Vec<Certificate>,
}

#[derive(Template)]
#[template(path = "audit.html", config = "src/api/ui/askama.toml")]
struct AuditPage {
    page: Page,
    wanted: String,
    /// Newest first.
    entries: Vec<Audited>,
}

pub(in crate::api::ui) async fn show(desk: Desk) -> Result<HttpResponse, Problem> {
    page::answer(&ServerPage {
        page: desk.page("Server", "server"),
        server: desk.get("/-/status").await?,
        certificates: desk.get("/certificates").await?,
    })
}

pub(in crate::api::ui) async fn audit(desk: Desk) -> Result<HttpResponse, Problem> {
    let wanted = desk.asked("q");
    let mut entries: Vec<Audited> = desk.get("/audit?tail=500").await?;
    entries.retain(|entry| {
        let texts = [entry.who(), entry.from(), entry.path(), entry.outcome()];
        texts.iter().any(|text| has(text, &wanted))
    });
    entries.reverse();
    page::answer(&AuditPage {
        page: desk.page("Audit", "audit"),
        wanted,
        entries,
    })
}
