//! `/ui/apps/A/domains`: the names of an application, and their certificates.

use actix_web::HttpResponse;
use actix_web::http::{Method, header};
use actix_web::web::Path;
use askama::Template;
use serde_json::json;

use super::{Desk, segment};
use crate::api::problem::Problem;
use crate::api::ui::calls::Call;
use crate::api::ui::form::Form;
use crate::api::ui::login::to;
use crate::api::ui::page::{self, Page};
use crate::api::ui::shown::{Certificate, Document};

#[derive(Template)]
#[template(path = "domains.html", config = "src/api/ui/askama.toml")]
struct DomainsPage {
    page: Page,
    name: String,
    tab: &'static str,
    hosts: Vec<Host>,
    patterns: Vec<String>,
}

struct Host {
    name: String,
    certificate: Option<Certificate>,
}

pub(in crate::api::ui) async fn show(
    desk: Desk,
    name: Path<String>,
) -> Result<HttpResponse, Problem> {
    let document: Document = desk.get(&format!("/applications/{name}")).await?;
    let mut certificates: Vec<Certificate> = match desk.visitor.sees_server() {
        true => desk.get("/certificates").await?,
        false => Vec::new(),
    };
    let hosts = document.hosts.into_iter().map(|host| {
        let at = certificates.iter().position(|one| one.covers(&host));
        let certificate = at.map(|at| certificates.swap_remove(at));
        Host {
            name: host,
            certificate,
        }
    });
    let hosts = hosts.collect();
    page::answer(&DomainsPage {
        page: desk.page(format!("Domains of {name}"), "apps"),
        name: name.into_inner(),
        tab: "domains",
        hosts,
        patterns: document.domain,
    })
}

/// `POST /ui/apps/A/domains`: adds a name, or removes it.
pub(in crate::api::ui) async fn set(
    desk: Desk,
    name: Path<String>,
    form: Form,
) -> Result<HttpResponse, Problem> {
    let path = format!("/applications/{name}");
    let (calls, request, visitor) = (&desk.calls, &desk.request, &desk.visitor);
    let (mut document, tag): (Document, _) = calls.get_tagged(request, visitor, &path).await?;
    let host = form.text("host").trim().to_owned();
    document.hosts.retain(|own| *own != host);
    if form.text("action") != "remove" {
        document.hosts.push(host);
    }
    let call = Call::new(Method::PATCH, &path, "application/json");
    let call = call.sending(Some(json!({ "hosts": document.hosts })));
    // Names that somebody adds at the same time stay.
    let call = call.with(header::IF_MATCH, tag);
    calls.change(request, visitor, call).await?;
    Ok(to(&format!("/ui/apps/{name}/domains")))
}

/// `POST /ui/certificates/NAME/renew`.
pub(in crate::api::ui) async fn renew(
    desk: Desk,
    name: Path<String>,
    _form: Form,
) -> Result<HttpResponse, Problem> {
    let path = format!("/certificates/{}/renew", segment(&name));
    desk.change(Method::POST, &path, None).await?;
    Ok(to("/ui/server"))
}
