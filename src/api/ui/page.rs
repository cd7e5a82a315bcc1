//! [`Page`]: what all pages have: who looks at them, and what that one may do.

use std::fmt::Write as _;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use askama::Template;
use jiff::Timestamp;

use super::assets;
use super::visitor::Visitor;
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
        match seconds {
            ..0 => format!("in {}", span(-seconds)),
            0..=1 => "now".to_owned(),
            _ => format!("{} ago", span(seconds)),
        }
    }
}

/// A number of seconds, roughly.
pub(super) fn span(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// How long something took.
pub(super) fn took(seconds: f64) -> String {
    match seconds {
        ..1.0 => format!("{:.0} ms", seconds * 1000.0),
        ..120.0 => format!("{seconds:.1} s"),
        _ => span(seconds as i64),
    }
}

/// A number of bytes.
pub(super) fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut units = ["B", "KiB", "MiB", "GiB", "TiB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    while value >= 1024.0 {
        let Some(next) = units.next() else { break };
        (value, unit) = (value / 1024.0, next);
    }
    match unit {
        "B" => format!("{bytes} B"),
        _ if value < 10.0 => format!("{value:.1} {unit}"),
        _ => format!("{value:.0} {unit}"),
    }
}

/// Text of an application without what is meant for terminals: sequences that begin with ESC, and control characters.
pub(super) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '\u{1b}' if rest.next_if_eq(&'[').is_some() => {
                // Parameters and intermediates, then a final byte (ECMA-48 §5.4).
                while rest.next_if(|c| matches!(c, ' '..='?')).is_some() {}
                rest.next_if(|c| matches!(c, '@'..='~'));
            }
            '\t' => out.push('\t'),
            other if crate::terminal::is_control(other) => {
                let _ = write!(out, "\u{fffd}");
            }
            other => out.push(other),
        }
    }
    out
}

/// A commit as people name it.
pub(super) fn short(commit: Option<&String>) -> &str {
    let commit = commit.map(String::as_str).unwrap_or_default();
    commit.get(..8).unwrap_or(commit)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_meant_for_terminals_is_left_out() {
        for (text, wanted) in [
            ("a\tb", "a\tb"),
            ("\u{1b}[1;31mred\u{1b}[0m", "red"),
            ("\u{1b}]0;title\u{7}x", "\u{fffd}]0;title\u{fffd}x"),
            ("\u{1b}", "\u{fffd}"),
            ("\u{1b}[", ""),
            ("a\u{202e}b", "a\u{fffd}b"),
        ] {
            assert_eq!(plain(text), wanted, "{text:?}");
        }
    }

    #[test]
    fn sizes_and_times_are_short() {
        for (bytes, wanted) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (50 << 20, "50 MiB"),
        ] {
            assert_eq!(size(bytes), wanted);
        }
        assert_eq!(
            (span(119), span(180), span(86_400 * 3)),
            ("119 s".into(), "3 min".into(), "3 days".into())
        );
        assert_eq!(
            (took(0.289), took(1.04), took(300.0)),
            ("289 ms".into(), "1.0 s".into(), "5 min".into())
        );
    }
}
