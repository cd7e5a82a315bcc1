//! `GET /events`: what happens, as server-sent events, and what has happened.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::{Method, StatusCode};
use actix_web::web::{self, Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use futures::Stream as Items;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::caller::Caller;
use super::problem::Problem;
use super::query::{Query, moment};
use super::state::{ApiState, app_name};
use crate::app::apps::{AppsError, Find};
use crate::app::supervisor::Secrets;
use crate::document::mask::DOTS;
use crate::event_log;
use crate::event_log::reader::{Kinds, Wish};
use crate::events::feed::{Follower, Item};
use crate::events::report::StampedReport;
use crate::router::table::Table;

/// Proxies close a connection that is silent for a minute; this also finds clients that are gone.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// So many answers look for events that are kept at a time: each may read all files.
static READING: Semaphore = Semaphore::const_new(2);

/// The most events that are kept that one answer has, and how many where nobody says.
const LONGEST_TAIL: usize = 10_000;
const DEFAULT_TAIL: usize = 100;

/// What is asked for.
struct Asked {
    wish: Wish,
    /// Events that are kept come first.
    has_past: bool,
    follows: bool,
}

/// Tells events: those that come, as a stream; with `tail` or `since` those that are kept, as an array, or before those
/// that come where `follow` says so. `app` and `type` bound both. After a `Last-Event-ID` the missed ones come first, as
/// far as they are in memory, and what is kept is not told again.
pub(super) async fn tell(
    request: HttpRequest,
    caller: Caller,
    state: Data<ApiState>,
) -> Result<HttpResponse, Problem> {
    let Asked {
        wish,
        has_past,
        follows,
    } = asked(&request)?;
    let last = request.headers().get("last-event-id");
    let mut after = last.and_then(|id| id.to_str().ok()?.trim().parse().ok());
    let mut reader = Reader::new(&wish, caller.clone(), state.clone());
    let mut past = Vec::new();
    if has_past && !(follows && after.is_some()) {
        // What is taken after this may be found as well: then it is in the feed, too.
        let taken = state.event_files.taken();
        past = kept(&state, wish, &mut reader).await?;
        let newest = past.iter().filter_map(|event| event["id"].as_u64()).max();
        after = Some(newest.map_or(taken, |newest| newest.max(taken)));
    }
    if !follows {
        if past.is_empty() {
            reader.look_for_app().await?;
        }
        return Ok(HttpResponse::Ok().json(past));
    }
    let mut response = HttpResponse::Ok();
    response.content_type("text/event-stream");
    if request.method() == Method::HEAD {
        return Ok(response.finish());
    }
    let past = past
        .iter()
        .map(|event| message(event["id"].as_u64(), event));
    let greeting = format!(": following\n\n{}", past.collect::<String>());
    let body = body(greeting, state.events.follow(after), reader);
    Ok(response.streaming(state.until_over(&caller, body)))
}

fn asked(request: &HttpRequest) -> Result<Asked, Problem> {
    let query = Query::read(request, &["app", "type", "tail", "since", "follow"])?;
    let app = query.parse("app", |text| {
        app_name(text)
            .map(|name| name.to_string())
            .map_err(|_| "must be the name of an application")
    })?;
    let tail = query.parse("tail", |text| {
        let number = text.parse().ok().filter(|tail| *tail <= LONGEST_TAIL);
        number.ok_or("must be a number of events, at most 10000")
    })?;
    let since = query.parse("since", moment)?;
    let kinds = query.parse("type", Kinds::parse)?.unwrap_or_default();
    let follow = query.flag("follow")?;
    let has_past = tail.is_some() || since.is_some() || follow == Some(false);
    let most = match since {
        Some(_) => LONGEST_TAIL,
        None => DEFAULT_TAIL,
    };
    Ok(Asked {
        wish: Wish {
            tail: tail.unwrap_or(most),
            since,
            app,
            kinds,
        },
        has_past,
        follows: follow.unwrap_or(!has_past),
    })
}

/// The events that are kept, as this reader may see them.
async fn kept(state: &ApiState, wish: Wish, reader: &mut Reader) -> Result<Vec<Value>, Problem> {
    let turn = READING.acquire().await;
    let (files, caller) = (state.event_files.clone(), reader.caller.clone());
    let table = Arc::clone(&state.routing.table.borrow());
    let sees = move |event: &Value| {
        sees_past(&caller, &table, event["app"].as_str(), event["id"].as_u64())
    };
    let read = web::block(move || {
        let found = event_log::reader::newest(&files, &wish, sees);
        // Not before: who asked may have gone meanwhile.
        drop(turn);
        found
    });
    let read = read.await;
    match read.map_err(|_| Problem::unavailable("The server is being stopped."))? {
        Ok(mut events) => {
            for event in &mut events {
                reader.mask(event).await;
            }
            Ok(events)
        }
        Err(error) => {
            log::error!("the events cannot be read: {error}");
            let detail = "The events cannot be read: the server's own log says why.";
            Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail))
        }
    }
}

/// Whether an event about `app`, or about none, is for this caller.
fn sees(caller: &Caller, app: Option<&str>) -> bool {
    app.map_or(!caller.is_bound(), |app| caller.sees(app))
}

/// The same of an event that is kept. Who sees some applications is told of those that are there, and nothing of others
/// that had their names. Numbers of events are microseconds, as `created` is.
fn sees_past(caller: &Caller, table: &Table, app: Option<&str>, id: Option<u64>) -> bool {
    let created = || {
        app.and_then(|app| table.route(app))
            .map(|route| route.created)
    };
    sees(caller, app)
        && (!caller.is_bound() || created().is_some_and(|created| id >= Some(created)))
}

/// JSON has no raw newline, so `data` is one line.
fn message(id: Option<u64>, event: &Value) -> String {
    let id = id.map(|id| format!("id: {id}\n"));
    format!("{}data: {event}\n\n", id.unwrap_or_default())
}

/// Who follows.
struct Reader {
    /// The only app that it asks for.
    app: Option<String>,
    kinds: Kinds,
    caller: Caller,
    state: Data<ApiState>,
    /// By application, while events that are kept are read; `None`: its secrets are not known.
    masks: BTreeMap<String, Option<Secrets>>,
}

impl Reader {
    fn new(wish: &Wish, caller: Caller, state: Data<ApiState>) -> Self {
        Self {
            app: wish.app.clone(),
            kinds: wish.kinds.clone(),
            caller,
            state,
            masks: BTreeMap::new(),
        }
    }

    /// Whether an event is for this reader: who sees some applications is told nothing of others that had their names.
    fn wants(&self, event: &StampedReport) -> bool {
        let app = event.report.app();
        let is_wished = self.app.is_none() || self.app.as_deref() == app;
        if !is_wished || !sees(&self.caller, app) {
            return false;
        }
        if !self.caller.is_bound() {
            return true;
        }
        let table = Arc::clone(&self.state.routing.table.borrow());
        let route = app.and_then(|app| table.route(app));
        route.is_none_or(|route| event.id >= route.created)
    }

    /// An answer without an event is the truth only of an application that is there.
    async fn look_for_app(&self) -> Result<(), Problem> {
        let Some(app) = self.app.clone() else {
            return Ok(());
        };
        if !self.caller.sees(&app) {
            return Err(AppsError::NoSuchApp(app).into());
        }
        let _is_there = self.state.ask_apps(Find(app)).await??;
        Ok(())
    }

    /// The event as this reader may see it; `None` when it is not for this one.
    async fn render(&mut self, item: &Item) -> Option<String> {
        let event = match item {
            Item::Lost(count) => {
                return Some(format!("event: lost\ndata: {{\"lost\":{count}}}\n\n"));
            }
            Item::Event(event) if self.wants(event) => event,
            Item::Event(_) => return None,
        };
        let mut value = serde_json::to_value(event).ok()?;
        if !self.kinds.has(value["event"].as_str().unwrap_or_default()) {
            return None;
        }
        // The document may have changed since the last one.
        self.masks.clear();
        self.mask(&mut value).await;
        Some(message(Some(event.id), &value))
    }

    /// Hides what the reasons of an app may tell of its secrets; all of a reason where these are not known, also since the
    /// app had others then.
    async fn mask(&mut self, event: &mut Value) {
        if self.caller.sees_secrets() {
            return;
        }
        let secrets = match event["app"].as_str() {
            Some(app) => {
                if !self.masks.contains_key(app) {
                    let secrets = self.state.secrets_of(app).await.ok();
                    self.masks.insert(app.to_owned(), secrets);
                }
                self.masks.get(app).and_then(Option::as_ref)
            }
            None => None,
        };
        let time = event["time"].as_str().and_then(|time| time.parse().ok());
        let known = secrets.filter(|secrets| time >= Some(secrets.since));
        match known {
            Some(secrets) => secrets.mask.value(event),
            None if event.get("reason").is_some() => event["reason"] = DOTS.into(),
            None => {}
        }
    }
}

fn body(
    greeting: String,
    follower: Follower,
    reader: Reader,
) -> impl Items<Item = Result<Bytes, Infallible>> {
    // Comes at once: from then on the follower misses nothing.
    let greeting = futures::stream::once(async { Ok(Bytes::from(greeting)) });
    let follows = (follower, reader);
    let events = futures::stream::unfold(follows, |(mut follower, mut reader)| async move {
        loop {
            let item = match timeout(KEEP_ALIVE, follower.next()).await {
                Ok(item) => item?,
                Err(_elapsed) => {
                    let nothing = Bytes::from_static(b":\n\n");
                    return Some((Ok(nothing), (follower, reader)));
                }
            };
            if let Some(text) = reader.render(&item).await {
                return Some((Ok(Bytes::from(text)), (follower, reader)));
            }
        }
    });
    futures::StreamExt::chain(greeting, events)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::name::AppName;
    use crate::events::report::Report;
    use crate::tokens::token::Digest;
    use crate::tokens::{Scope, Token};

    fn reader(app: Option<&str>, token: Token) -> Reader {
        let wish = Wish {
            app: app.map(str::to_owned),
            ..Wish::default()
        };
        let caller = Caller::Token(Arc::new(token));
        Reader::new(&wish, caller, Data::new(ApiState::without_apps()))
    }

    #[actix_web::test]
    async fn an_event_of_another_app_is_left_out_and_a_loss_is_told_to_all() {
        let report = Report::DeploymentFinished {
            app: "echo".into(),
            deployment: 3,
            state: "failed",
            release: None,
            commit: None,
            by: None,
            reason: Some("sesame".to_owned()),
        };
        let time = "2026-11-22T10:15:30Z".parse().unwrap();
        let event = Item::Event(Arc::new(StampedReport {
            id: 7,
            time,
            report,
        }));
        let render = async |app, token| reader(app, token).render(&event).await;
        let first = || Token::first("the-token");
        let text = render(Some("echo"), first()).await;
        assert_eq!(
            text.as_deref(),
            Some(
                "id: 7\ndata: {\"id\":7,\"time\":\"2026-11-22T10:15:30Z\",\"event\":\"deployment.finished\",\
                 \"app\":\"echo\",\"deployment\":3,\"state\":\"failed\",\"reason\":\"sesame\"}\n\n"
            )
        );
        assert_eq!(render(None, first()).await, text);
        assert_eq!(render(Some("other"), first()).await, None);
        let bound = |app| {
            let mut token = Token::new("1".into(), "a".into(), Scope::Read, Digest::of(b""));
            token.apps = Some(vec![AppName::parse(app).unwrap()]);
            token
        };
        assert_eq!(render(None, bound("other")).await, None);
        let masked = render(None, bound("echo")).await.unwrap();
        assert!(masked.contains("\"reason\":\"••••\""), "{masked}");
        assert!(
            reader(None, bound("other"))
                .render(&Item::Lost(5))
                .await
                .is_some()
        );
    }
}
