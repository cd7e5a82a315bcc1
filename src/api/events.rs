//! `GET /events`: what happens, as server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use actix_web::http::Method;
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use futures::Stream as Items;
use serde_json::Value;
use tokio::time::timeout;

use super::caller::Caller;
use super::problem::Problem;
use super::query::Query;
use super::state::{ApiState, app_name};
use crate::document::mask::DOTS;
use crate::events::feed::{Follower, Item};

/// Proxies close a connection that is silent for a minute; this also finds clients that are gone.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Streams events, with `?app=` those of one app. After a `Last-Event-ID` the missed ones come first, as far as they
/// are kept.
pub(super) async fn follow(
    request: HttpRequest,
    caller: Caller,
    state: Data<ApiState>,
) -> Result<HttpResponse, Problem> {
    let app = Query::read(&request, &["app"])?.parse("app", |text| {
        app_name(text)
            .map(|name| name.to_string())
            .map_err(|_| "must be the name of an application")
    })?;
    let last = request.headers().get("last-event-id");
    let after = last.and_then(|id| id.to_str().ok()?.trim().parse().ok());
    let mut response = HttpResponse::Ok();
    response.content_type("text/event-stream");
    if request.method() == Method::HEAD {
        return Ok(response.finish());
    }
    let reader = Reader {
        app,
        caller: caller.clone(),
        state: state.clone(),
    };
    let body = body(state.events.follow(after), reader);
    Ok(response.streaming(state.until_over(&caller, body)))
}

/// Who follows.
struct Reader {
    /// The only app that it asks for.
    app: Option<String>,
    caller: Caller,
    state: Data<ApiState>,
}

impl Reader {
    /// Whether an event about `app`, or about none, is for this reader.
    fn wants(&self, app: Option<&str>) -> bool {
        let is_seen = app.map_or(!self.caller.is_bound(), |app| self.caller.sees(app));
        is_seen && (self.app.is_none() || self.app.as_deref() == app)
    }

    /// The event as this reader may see it; `None` when it is not for this one.
    async fn render(&self, item: &Item) -> Option<String> {
        let event = match item {
            Item::Lost(count) => {
                return Some(format!("event: lost\ndata: {{\"lost\":{count}}}\n\n"));
            }
            Item::Event(event) if self.wants(event.report.app()) => event,
            Item::Event(_) => return None,
        };
        let mut value = serde_json::to_value(event).ok()?;
        if !self.caller.sees_secrets() {
            self.mask(event.report.app(), &mut value).await;
        }
        // JSON has no raw newline, so `data` is one line.
        Some(format!("id: {}\ndata: {value}\n\n", event.id))
    }

    /// Hides what the reasons of an app may tell of its secrets; all of a reason where these are not known.
    async fn mask(&self, app: Option<&str>, event: &mut Value) {
        let mask = match app {
            Some(app) => self.state.mask_of(app).await.ok(),
            None => None,
        };
        match mask {
            Some(mask) => mask.value(event),
            None if event.get("reason").is_some() => event["reason"] = DOTS.into(),
            None => {}
        }
    }
}

fn body(follower: Follower, reader: Reader) -> impl Items<Item = Result<Bytes, Infallible>> {
    // Comes at once: from then on the follower misses nothing.
    let greeting = futures::stream::once(async { Ok(Bytes::from_static(b": following\n\n")) });
    let events = futures::stream::unfold((follower, reader), |(mut follower, reader)| async move {
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
    use std::sync::Arc;

    use super::*;
    use crate::document::name::AppName;
    use crate::events::feed::StampedReport;
    use crate::events::report::Report;
    use crate::tokens::token::Digest;
    use crate::tokens::{Scope, Token};

    fn reader(app: Option<&str>, token: Token) -> Reader {
        Reader {
            app: app.map(str::to_owned),
            caller: Caller::Token(Arc::new(token)),
            state: Data::new(ApiState::without_apps()),
        }
    }

    #[actix_web::test]
    async fn an_event_of_another_app_is_left_out_and_a_loss_is_told_to_all() {
        let report = Report::DeploymentFinished {
            app: "echo".into(),
            deployment: 3,
            state: "failed",
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
