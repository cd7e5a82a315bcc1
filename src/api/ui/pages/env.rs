//! `/ui/apps/A/env`: the variables of an application. Their values are shown to who asks for them, and may see them.

use actix_web::HttpResponse;
use actix_web::http::Method;
use actix_web::web::Path;
use askama::Template;
use serde_json::{Value, json};

use super::{Desk, has};
use crate::api::problem::Problem;
use crate::api::ui::form::Form;
use crate::api::ui::page::{self, Page};
use crate::api::ui::pages::app::after;
use crate::api::ui::shown::Document;
use crate::api::ui::words::plain;
use crate::document::mask::DOTS;

#[derive(Template)]
#[template(path = "env.html", config = "src/api/ui/askama.toml")]
struct EnvPage {
    page: Page,
    name: String,
    tab: &'static str,
    wanted: String,
    total: usize,
    variables: Vec<(String, String)>,
    is_revealed: bool,
}

pub(in crate::api::ui) async fn show(
    desk: Desk,
    name: Path<String>,
) -> Result<HttpResponse, Problem> {
    shown(&desk, &name, false).await
}

/// `POST /ui/apps/A/env/reveal`: nobody is led to the values by a link, and nothing keeps this answer.
pub(in crate::api::ui) async fn reveal(
    desk: Desk,
    name: Path<String>,
    _form: Form,
) -> Result<HttpResponse, Problem> {
    shown(&desk, &name, desk.visitor.caller.sees_secrets()).await
}

async fn shown(desk: &Desk, name: &str, is_revealed: bool) -> Result<HttpResponse, Problem> {
    let document: Document = desk.get(&format!("/applications/{name}")).await?;
    let wanted = desk.asked("q");
    let total = document.env.len();
    let value = |value: &Value| match (is_revealed, value) {
        (false, _) => DOTS.to_owned(),
        (true, Value::String(text)) => plain(text),
        (true, other) => other.to_string(),
    };
    let variables = document.env.iter().filter(|(name, _)| has(name, &wanted));
    let variables = variables.map(|(name, own)| (name.clone(), value(own)));
    let variables = variables.collect();
    page::answer(&EnvPage {
        page: desk.page(format!("Environment of {name}"), "apps"),
        name: name.to_owned(),
        tab: "env",
        wanted,
        total,
        variables,
        is_revealed,
    })
}

/// `POST /ui/apps/A/env`: sets a variable, or removes it.
pub(in crate::api::ui) async fn set(
    desk: Desk,
    name: Path<String>,
    form: Form,
) -> Result<HttpResponse, Problem> {
    let value = match form.text("action") {
        "remove" => Value::Null,
        // Lines end with CR LF in what browsers send.
        _ => form.text("value").replace("\r\n", "\n").into(),
    };
    let body = json!({ "env": { form.text("name"): value } });
    let path = format!("/applications/{name}");
    let answer = desk.change(Method::PATCH, &path, Some(body)).await?;
    Ok(after(&name, &answer))
}
