//! [`Page`]: what all pages have: who looks at them, and what that one may do.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use askama::Template;
use jiff::Timestamp;

use super::assets;
use super::visitor::Visitor;
use crate::amounts::span;
use crate::api::caller::Caller;
use crate::api::problem::Problem;

/// What all pages have.
pub(super) struct Page {
    pub(super) title: String,
    /// The section that is marked in the navigation.
    pub(super) section: &'static str,
    /// Who looks; `None` before somebody has logged in.
    pub(super) who: Option<String>,
    pub(super) form_key: String,
    /// Whether forms for it are shown.
    pub(super) deploys: bool,
    pub(super) changes: bool,
    pub(super) sees_server: bool,
    pub(super) sees_secrets: bool,
    /// Whether there is a session that can be ended.
    pub(super) can_log_out: bool,
    pub(super) style: String,
    pub(super) script: String,
    pub(super) icon: String,
    pub(super) now: Timestamp,
}

impl Page {
    pub(super) fn new(title: impl Into<String>, section: &'static str, visitor: &Visitor) -> Self {
        let who = match &visitor.caller {
            Caller::Token(token) => format!("{} ({})", token.name, token.scope),
            other => other.to_string(),
        };
        Self {
            who: Some(who),
            form_key: visitor.form_key.clone(),
            deploys: visitor.deploys(),
            changes: visitor.changes(),
            sees_server: visitor.sees_server(),
            sees_secrets: visitor.caller.sees_secrets(),
            can_log_out: visitor.session.is_some(),
            section,
            ..Self::of_nobody(title)
        }
    }

    /// One for somebody who has not logged in.
    pub(super) fn of_nobody(title: impl Into<String>) -> Self {
        let [style, script, icon] = assets::places();
        Self {
            title: title.into(),
            section: "",
            who: None,
            form_key: String::new(),
            deploys: false,
            changes: false,
            sees_server: false,
            sees_secrets: false,
            can_log_out: false,
            style,
            script,
            icon,
            now: Timestamp::now(),
        }
    }

    /// How long ago, roughly.
    pub(super) fn ago(&self, time: &Timestamp) -> String {
        let seconds = self.now.duration_since(*time).as_secs();
        let rough = span(seconds.unsigned_abs());
        match seconds {
            ..0 => format!("in {rough}"),
            0..=1 => "now".to_owned(),
            _ => format!("{rough} ago"),
        }
    }
}

/// Answers with a page.
pub(super) fn answer(template: &impl Template) -> Result<HttpResponse, Problem> {
    answer_with(StatusCode::OK, template)
}

pub(super) fn answer_with(
    status: StatusCode,
    template: &impl Template,
) -> Result<HttpResponse, Problem> {
    let html = template.render().map_err(|error| {
        log::error!("a page cannot be made: {error}");
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "The page cannot be made.",
        )
    })?;
    Ok(HttpResponse::build(status)
        .content_type("text/html; charset=utf-8")
        .body(html))
}
