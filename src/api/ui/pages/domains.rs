//! `/ui/apps/A/domains`: the names of an application, and their certificates.

use actix_web::HttpResponse;
use actix_web::http::{Method, header};
use actix_web::web::Path;
use askama::Template;
use serde_json::{Value, json};

use super::{Desk, segment};
use crate::api::problem::Problem;
use crate::api::ui::calls::Call;
use crate::api::ui::form::Form;
use crate::api::ui::login::to;
use crate::api::ui::page::{self, Page};
use crate::api::ui::shown::{Certificate, Document, host_name};
use crate::document::host_name::HostName;

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
    let certificates: Vec<Certificate> = match desk.visitor.sees_server() {
        true => desk.get("/certificates").await?,
        false => Vec::new(),
    };
    let hosts = hosts(&document, &certificates);
    page::answer(&DomainsPage {
        page: desk.page(format!("Domains of {name}"), "apps"),
        name: name.into_inner(),
        tab: "domains",
        hosts,
        patterns: document.domain,
    })
}

/// The names of a document, each with a certificate that is for it; there may be others in the same one.
fn hosts(document: &Document, certificates: &[Certificate]) -> Vec<Host> {
    let host = |name: &str| Host {
        certificate: certificates.iter().find(|one| one.covers(name)).cloned(),
        name: name.to_owned(),
    };
    document.hosts.iter().map(host_name).map(host).collect()
}

/// `POST /ui/apps/A/domains`: adds a name, or removes it.
pub(in crate::api::ui) async fn set(
    desk: Desk,
    name: Path<String>,
    form: Form,
) -> Result<HttpResponse, Problem> {
    let path = format!("/applications/{name}");
    let (calls, request, visitor) = (&desk.calls, &desk.request, &desk.visitor);
    let (document, tag): (Document, _) = calls.get_tagged(request, visitor, &path).await?;
    let host = form.text("host").trim();
    let hosts = match form.text("action") {
        "remove" => without(document.hosts, host),
        _ => with(document.hosts, host),
    };
    let call = Call::new(Method::PATCH, &path, "application/json");
    let call = call.sending(Some(json!({ "hosts": hosts })));
    // Names that somebody adds at the same time stay.
    let call = call.with(header::IF_MATCH, tag);
    calls.change(request, visitor, call).await?;
    Ok(to(&format!("/ui/apps/{name}/domains")))
}

fn without(mut hosts: Vec<Value>, name: &str) -> Vec<Value> {
    hosts.retain(|own| host_name(own) != name);
    hosts
}

/// One that is there stays as it is: it may have a process type.
fn with(mut hosts: Vec<Value>, name: &str) -> Vec<Value> {
    let canonical = HostName::parse(name);
    let name = canonical.as_ref().map_or(name, HostName::as_str);
    if hosts.iter().all(|own| host_name(own) != name) {
        hosts.push(name.into());
    }
    hosts
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_comes_and_goes_and_others_stay_as_they_are() {
        let cable = json!({ "name": "ws.example", "process": "cable" });
        let hosts = vec![json!("a.example"), cable.clone()];
        for known in ["a.example", "ws.example", "WS.example"] {
            assert_eq!(with(hosts.clone(), known), hosts, "{known}");
        }
        let more = with(hosts.clone(), "B.example");
        assert_eq!(
            more,
            [json!("a.example"), cable.clone(), json!("b.example")]
        );
        assert_eq!(without(hosts.clone(), "a.example"), [cable]);
        assert_eq!(without(hosts, "ws.example"), [json!("a.example")]);
    }

    #[test]
    fn each_name_of_a_certificate_is_shown_with_it() {
        let names = json!(["a.example", "b.example", "*.c.example"]);
        let one = json!({ "names": names, "source": "file", "state": "valid" });
        let certificates: Vec<Certificate> = serde_json::from_value(json!([one])).unwrap();
        let names = json!(["b.example", "a.example", "x.c.example", "other.example"]);
        let document = serde_json::from_value(json!({ "hosts": names })).unwrap();
        let shown = hosts(&document, &certificates);
        let has: Vec<bool> = shown.iter().map(|one| one.certificate.is_some()).collect();
        assert_eq!(has, [true, true, true, false]);
    }
}
