//! `/ui/events` and `/ui/apps/A/events`: what has happened.

use std::fmt::Write as _;

use actix_web::HttpResponse;
use actix_web::web::Path;
use askama::Template;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Desk, has};
use crate::api::problem::Problem;
use crate::api::ui::page::{self, Page};
use crate::api::ui::words::plain;

#[derive(Template)]
#[template(path = "events.html", config = "src/api/ui/askama.toml")]
struct EventsPage {
    page: Page,
    wanted: String,
    /// Newest first.
    events: Vec<Event>,
}

#[derive(Template)]
#[template(path = "app_events.html", config = "src/api/ui/askama.toml")]
struct AppEventsPage {
    page: Page,
    name: String,
    tab: &'static str,
    wanted: String,
    events: Vec<Event>,
}

/// An event that is kept.
#[derive(Debug, Deserialize)]
struct Event {
    time: Timestamp,
    event: String,
    #[serde(default)]
    app: Option<String>,
    #[serde(default)]
    by: Option<String>,
    #[serde(flatten)]
    more: Map<String, Value>,
}

impl Event {
    fn by(&self) -> String {
        plain(self.by.as_deref().unwrap_or_default())
    }

    /// All else that it says.
    fn more(&self) -> String {
        let mut told = String::new();
        for (name, value) in self.more.iter().filter(|(name, _)| *name != "id") {
            let _ = match value {
                Value::Null => Ok(()),
                Value::String(text) => write!(told, "{name}: {}  ", plain(text)),
                other => write!(told, "{name}: {}  ", plain(&other.to_string())),
            };
        }
        told.trim_end().to_owned()
    }

    fn has(&self, wanted: &str) -> bool {
        let app = self.app.as_deref().unwrap_or_default();
        let texts = [&self.event, app, &self.by(), &self.more()];
        texts.iter().any(|text| has(text, wanted))
    }
}

async fn newest(desk: &Desk, path: &str, wanted: &str) -> Result<Vec<Event>, Problem> {
    let mut events: Vec<Event> = desk.get(path).await?;
    events.retain(|event| event.has(wanted));
    events.reverse();
    Ok(events)
}

pub(in crate::api::ui) async fn show(desk: Desk) -> Result<HttpResponse, Problem> {
    let wanted = desk.asked("q");
    page::answer(&EventsPage {
        page: desk.page("Events", "events"),
        events: newest(&desk, "/events?tail=500", &wanted).await?,
        wanted,
    })
}

pub(in crate::api::ui) async fn of_app(
    desk: Desk,
    name: Path<String>,
) -> Result<HttpResponse, Problem> {
    let wanted = desk.asked("q");
    let path = format!("/events?tail=500&app={name}");
    page::answer(&AppEventsPage {
        page: desk.page(format!("Events of {name}"), "apps"),
        name: name.into_inner(),
        tab: "events",
        events: newest(&desk, &path, &wanted).await?,
        wanted,
    })
}
