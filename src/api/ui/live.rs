//! What pages follow: the log of an application, and that something has happened. Both are streams of the API.

use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::HttpResponse;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::web::{Bytes, Data, Path};
use futures::StreamExt as _;

use super::calls::Call;
use super::pages::{Desk, logs, segment};
use super::secret::Secret;
use super::watchers::Watcher;
use crate::api::problem::Problem;
use crate::api::state::ApiState;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// `GET /ui/apps/A/logs/stream`.
pub(super) async fn log(
    desk: Desk,
    state: Data<ApiState>,
    name: Path<String>,
) -> Result<HttpResponse, Problem> {
    let query = logs::query(&desk);
    let tail = if last(&desk).is_some() {
        ""
    } else {
        "&tail=200"
    };
    let path = format!("/applications/{name}/logs?follow=true{tail}{query}");
    follow(&desk, &state, &path).await
}

/// `GET /ui/events/stream`, with `?app=` of one app.
pub(super) async fn events(desk: Desk, state: Data<ApiState>) -> Result<HttpResponse, Problem> {
    let app = desk.asked("app");
    let path = match app.is_empty() {
        true => "/events".to_owned(),
        false => format!("/events?app={}", segment(&app)),
    };
    follow(&desk, &state, &path).await
}

/// What one has who comes back. A browser says so by itself, but not where it had to begin anew.
fn last(desk: &Desk) -> Option<HeaderValue> {
    let said = desk.request.headers().get(LAST_EVENT_ID).cloned();
    let asked = || HeaderValue::from_str(&desk.asked("last")).ok();
    said.or_else(asked).filter(|last| !last.is_empty())
}

async fn follow(desk: &Desk, state: &ApiState, path: &str) -> Result<HttpResponse, Problem> {
    let session = desk.visitor.session.as_ref().map(Secret::digest);
    let watcher = state.watchers.enter(&desk.visitor)?;
    let call = Call::new(Method::GET, path, "text/event-stream");
    let call = call.with(LAST_EVENT_ID, last(desk));
    let answer = desk
        .calls
        .answer(&desk.request, &desk.visitor, call)
        .await?;
    if !answer.status().is_success() {
        return Ok(answer);
    }
    let mut head = HttpResponse::Ok();
    head.content_type("text/event-stream")
        .insert_header((header::CACHE_CONTROL, "no-store"));
    if desk.request.method() == Method::HEAD {
        return Ok(head.finish());
    }
    let body = Watched {
        body: answer.into_body(),
        _watcher: watcher,
    };
    let sessions = state.sessions.clone();
    // Who logs out is shown nothing more; the API ends it when the token opens nothing any more.
    let over = async move {
        match session {
            Some(session) => sessions.ended(session).await,
            None => std::future::pending().await,
        }
    };
    Ok(head.streaming(body.take_until(Box::pin(over))))
}

/// A body that counts as long as it is sent.
struct Watched {
    body: BoxBody,
    _watcher: Watcher,
}

impl futures::Stream for Watched {
    type Item = Result<Bytes, Box<dyn std::error::Error>>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.body.size() {
            BodySize::None => Poll::Ready(None),
            _ => Pin::new(&mut self.body).poll_next(context),
        }
    }
}
