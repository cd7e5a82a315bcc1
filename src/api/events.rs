//! `GET /events`: what happens, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::Method;
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use futures::Stream as Items;
use tokio::time::timeout;

use super::problem::Problem;
use super::query::Query;
use super::state::{ApiState, app_name};
use crate::events::feed::{Follower, Item};

/// Proxies close a connection that is silent for a minute; this also finds clients that are gone.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Streams events, with `?app=` those of one app. After a `Last-Event-ID` the missed ones come first, as far as they
/// are kept.
pub(super) async fn follow(
    request: HttpRequest,
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
    let body = body(state.events.follow(after), app);
    Ok(response.streaming(state.until_closing(body)))
}

fn body(follower: Follower, app: Option<String>) -> impl Items<Item = Result<Bytes, Infallible>> {
    let app: Option<Arc<str>> = app.map(Arc::from);
    // Comes at once: from then on the follower misses nothing.
    let greeting = futures::stream::once(async { Ok(Bytes::from_static(b": following\n\n")) });
    let events = futures::stream::unfold((follower, app), |(mut follower, app)| async move {
        loop {
            let item = match timeout(KEEP_ALIVE, follower.next()).await {
                Ok(item) => item?,
                Err(_elapsed) => return Some((Ok(Bytes::from_static(b":\n\n")), (follower, app))),
            };
            if let Some(text) = render(&item, app.as_deref()) {
                return Some((Ok(Bytes::from(text)), (follower, app)));
            }
        }
    });
    futures::StreamExt::chain(greeting, events)
}

/// One server-sent event; `None` when it is about another app. JSON has no raw newline, so `data` is one line.
fn render(item: &Item, app: Option<&str>) -> Option<String> {
    match item {
        Item::Lost(count) => Some(format!("event: lost\ndata: {{\"lost\":{count}}}\n\n")),
        Item::Event(event) if app.is_none() || event.report.app() == app => {
            let data = serde_json::to_string(event).ok()?;
            Some(format!("id: {}\ndata: {data}\n\n", event.id))
        }
        Item::Event(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::feed::StampedReport;
    use crate::events::report::Report;

    #[test]
    fn an_event_of_another_app_is_left_out_and_a_loss_is_told_to_all() {
        let report = Report::DeploymentStarted {
            app: "echo".into(),
            deployment: 3,
        };
        let time = "2026-11-22T10:15:30Z".parse().unwrap();
        let event = Item::Event(Arc::new(StampedReport {
            id: 7,
            time,
            report,
        }));
        let text = render(&event, Some("echo")).expect("it is about this app");
        assert_eq!(
            text,
            "id: 7\ndata: {\"id\":7,\"time\":\"2026-11-22T10:15:30Z\",\"event\":\"deployment.started\",\
             \"app\":\"echo\",\"deployment\":3}\n\n"
        );
        assert_eq!(render(&event, None), Some(text));
        assert_eq!(render(&event, Some("other")), None);
        assert!(render(&Item::Lost(5), Some("other")).is_some());
    }
}
