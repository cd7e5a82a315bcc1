//! `/ui/apps/A/logs`: what an application printed, and what it prints.

use std::fmt::Write as _;

use actix_web::HttpResponse;
use actix_web::web::Path;
use askama::Template;

use super::{Desk, segment};
use crate::api::problem::Problem;
use crate::api::ui::page::{self, Page};
use crate::api::ui::shown::Line;

/// Lines that a page has, at first and at most.
const FEW: usize = 200;
const MANY: usize = 2000;

/// What can be asked of a log, as the API calls it.
const ASKED: [&str; 4] = ["process", "stream", "since", "grep"];

#[derive(Template)]
#[template(path = "logs.html", config = "src/api/ui/askama.toml")]
struct LogsPage {
    page: Page,
    name: String,
    tab: &'static str,
    /// What was asked for.
    process: String,
    stream: String,
    since: String,
    grep: String,
    /// The same, as a query.
    query: String,
    lines: Vec<Line>,
    /// Whether there may be more, and how to ask for it.
    older: Option<String>,
    many: usize,
}

pub(in crate::api::ui) async fn show(
    desk: Desk,
    name: Path<String>,
) -> Result<HttpResponse, Problem> {
    let [process, stream, since, grep] = ASKED.map(|parameter| desk.asked(parameter));
    let asked_tail: usize = desk.asked("tail").parse().unwrap_or(FEW);
    let tail = asked_tail.clamp(1, MANY);
    let query = query(&desk);
    let path = format!("/applications/{name}/logs?follow=false&tail={tail}{query}");
    let lines: Vec<Line> = desk.lines(&path).await?;
    let has_more = lines.len() >= tail && tail < MANY;
    page::answer(&LogsPage {
        page: desk.page(format!("Logs of {name}"), "apps"),
        older: has_more.then(|| format!("tail={}{query}", MANY.min(tail * 4))),
        name: name.into_inner(),
        tab: "logs",
        process,
        stream,
        since,
        grep,
        query,
        lines,
        many: MANY,
    })
}

/// What the page was asked, for the API.
pub(in crate::api::ui) fn query(desk: &Desk) -> String {
    let mut query = String::new();
    for parameter in ASKED {
        let value = desk.asked(parameter);
        if !value.trim().is_empty() {
            let _ = write!(query, "&{parameter}={}", segment(value.trim()));
        }
    }
    query
}
