//! `GET /applications/A/logs/L`: the last lines, and with `follow` those to come. Without `L` it merges stdout and
//! stderr of all processes, in the order in which they were written.

use std::convert::Infallible;
use std::time::Duration;

use actix_web::http::{Method, StatusCode, header};
use actix_web::web::{Bytes, Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use futures::Stream as Items;
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

use super::caller::Caller;
use super::log_format::LogFormat;
use super::masking::Veil;
use super::problem::Problem;
use super::query::{Query as Parameters, moment};
use super::state::ApiState;
use crate::logs::log::{Chunk, Query};
use crate::logs::merged::Positions;
use crate::logs::record::Stream;

/// Lines shown when the caller names no number and no beginning.
const DEFAULT_TAIL: usize = 100;

/// The streams that are merged when the path names no log.
const MERGED: [Stream; 2] = [Stream::Stdout, Stream::Stderr];

/// Proxies close a connection that is silent for a minute; this also finds clients that are gone.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub(super) async fn read(
    request: HttpRequest,
    caller: Caller,
    state: Data<ApiState>,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let (name, log) = path.into_inner();
    let stream = Stream::parse(&log).ok_or_else(|| no_such_log(&log))?;
    answer(&request, &caller, &state, &name, &[stream]).await
}

/// Reads stdout and stderr of the processes, or only the log that `stream` names.
pub(super) async fn read_merged(
    request: HttpRequest,
    caller: Caller,
    state: Data<ApiState>,
    name: Path<String>,
) -> Result<HttpResponse, Problem> {
    answer(&request, &caller, &state, &name, &MERGED).await
}

async fn answer(
    request: &HttpRequest,
    caller: &Caller,
    state: &Data<ApiState>,
    name: &str,
    streams: &[Stream],
) -> Result<HttpResponse, Problem> {
    let accept = request
        .headers()
        .get(header::ACCEPT)
        .map(|v| v.to_str().unwrap_or_default());
    let format = LogFormat::choose(accept).ok_or_else(not_acceptable)?;
    let mut query = query_of(request, streams, format)?;
    let veil = Veil::between(caller, state, name).await?;
    if let Some(veil) = &veil {
        query.mask = veil.mask().clone();
    }
    let chunks = state.read_log(name, &query).await?;
    let chunks = chunks.map_err(|error| Problem::of_log(&error, name))?;
    Ok(HttpResponse::Ok()
        .content_type(format.content_type())
        .insert_header((header::VARY, "Accept"))
        .streaming(state.until_over(caller, body(chunks, format, veil))))
}

fn query_of(
    request: &HttpRequest,
    streams: &[Stream],
    format: LogFormat,
) -> Result<Query, Problem> {
    let known = [
        "tail", "process", "since", "release", "grep", "follow", "stream",
    ];
    // The path of a log says which one it is.
    let known = &known[..known.len() - usize::from(streams.len() == 1)];
    let parameters = Parameters::read(request, known)?;
    let only = parameters.parse("stream", |name| {
        Stream::parse(name).ok_or("must be stdout, stderr, install or access")
    })?;
    let streams = only.as_ref().map_or(streams, std::slice::from_ref);
    let after = last_event_id(request, streams);
    let since = parameters.parse("since", moment)?;
    let tail = match parameters.parse("tail", tail)? {
        Some(tail) => tail,
        None if !after.is_empty() || since.is_some() => None,
        None => Some(DEFAULT_TAIL),
    };
    // An EventSource reconnects when its stream ends: it always means to follow.
    let follow = parameters
        .flag("follow")?
        .unwrap_or(format == LogFormat::Events);
    let mut query = Query {
        tail,
        process: parameters.parse("process", process)?,
        release: parameters.parse("release", |text| {
            text.parse().map_err(
                |_| "must be the number of a release (of a deployment, for the install log)",
            )
        })?,
        since,
        grep: parameters.parse("grep", grep)?,
        follow: follow && request.method() != Method::HEAD,
        ..Query::all(streams)
    };
    for (stream, id) in after {
        query.go_on_after(stream, id);
    }
    Ok(query)
}

/// The ids of `Last-Event-ID`, one for each stream.
fn last_event_id(request: &HttpRequest, streams: &[Stream]) -> Positions {
    let value = request.headers().get("last-event-id");
    let value = value.and_then(|value| value.to_str().ok());
    let ids = value.into_iter().flat_map(|value| value.trim().split('-'));
    let ids: Vec<u64> = ids.map_while(|id| id.parse().ok()).collect();
    match ids.len() == streams.len() {
        true => streams.iter().copied().zip(ids).collect(),
        false => Positions::new(),
    }
}

fn grep(text: &str) -> Result<String, &'static str> {
    match text.chars().count() {
        1..=1000 => Ok(text.to_owned()),
        _ => Err("must be the text to look for, at most 1000 characters"),
    }
}

fn tail(text: &str) -> Result<Option<usize>, &'static str> {
    match text {
        "all" => Ok(None),
        // All digits and no number: it is too large for one, and more than there is.
        number if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) => {
            Ok(Some(number.parse().unwrap_or(usize::MAX)))
        }
        _ => Err("must be a number of lines, or \"all\""),
    }
}

fn process(text: &str) -> Result<String, &'static str> {
    let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if !text.is_empty() && text.len() <= 100 && text.bytes().all(valid) {
        Ok(text.to_owned())
    } else {
        Err("must be a process such as \"web.1\" or a type such as \"web\"")
    }
}

/// The body of the response. It buffers no more than the channel does; when the client is gone, the log finds the
/// channel closed.
fn body(
    chunks: Receiver<Chunk>,
    format: LogFormat,
    veil: Option<Veil>,
) -> impl Items<Item = Result<Bytes, Infallible>> {
    let begin = (chunks, Positions::new(), veil);
    futures::stream::unfold(
        begin,
        move |(mut chunks, mut positions, mut veil)| async move {
            loop {
                match (
                    timeout(KEEP_ALIVE, chunks.recv()).await,
                    format.keep_alive(),
                ) {
                    (Ok(None), _) => return None,
                    (Ok(Some(chunk)), _) => {
                        let chunk = match &mut veil {
                            Some(veil) => veil.over(chunk).await,
                            None => chunk,
                        };
                        let rendered = format.render(&chunk, &mut positions);
                        // An empty piece would end a chunked body.
                        if !rendered.is_empty() {
                            return Some((Ok(Bytes::from(rendered)), (chunks, positions, veil)));
                        }
                    }
                    (Err(_elapsed), Some(nothing)) => {
                        let nothing = Bytes::from_static(nothing.as_bytes());
                        return Some((Ok(nothing), (chunks, positions, veil)));
                    }
                    (Err(_elapsed), None) => {}
                }
            }
        },
    )
}

fn no_such_log(log: &str) -> Problem {
    let shown: String = log.chars().take(80).collect();
    let names: Vec<&str> = Stream::ALL.into_iter().map(Stream::name).collect();
    let detail = format!(
        "There is no log \"{shown}\": the logs are {}.",
        names.join(", ")
    );
    Problem::new(StatusCode::NOT_FOUND, detail)
}

fn not_acceptable() -> Problem {
    let detail =
        "A log is text/plain, application/x-ndjson or text/event-stream: accept one of them.";
    Problem::new(StatusCode::NOT_ACCEPTABLE, detail)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use futures::StreamExt;
    use jiff::Timestamp;

    use super::*;

    fn query(text: &str, format: LogFormat) -> Query {
        let request = TestRequest::with_uri(&format!("/l?{text}")).to_http_request();
        query_of(&request, &[Stream::Stdout], format).unwrap()
    }

    #[test]
    fn the_parameters_say_which_lines() {
        let plain = query("", LogFormat::Text);
        assert_eq!((plain.tail, plain.follow), (Some(100), false));
        let all = query(
            "tail=all&process=web.1&release=3&follow=true",
            LogFormat::Ndjson,
        );
        assert_eq!((all.tail, all.release, all.follow), (None, Some(3), true));
        assert_eq!(all.process.as_deref(), Some("web.1"));
        let since = query("since=2026-11-22T10:15:30Z", LogFormat::Text);
        assert_eq!(
            (since.tail, since.since),
            (None, Some("2026-11-22T10:15:30Z".parse().unwrap()))
        );
        assert!(query("since=10m", LogFormat::Text).since.unwrap() < Timestamp::now());
        let unescaped = query("since=2026-11-22T12:15:30+02:00", LogFormat::Text);
        assert_eq!(unescaped.since, since.since);
        assert!(query("", LogFormat::Events).follow);
        assert!(!query("follow=false", LogFormat::Events).follow);
    }

    #[test]
    fn an_event_source_goes_on_after_the_last_event() {
        let request = TestRequest::default()
            .insert_header(("Last-Event-ID", "41"))
            .to_http_request();
        let query = query_of(&request, &[Stream::Stdout], LogFormat::Events).unwrap();
        assert_eq!((query.after(Stream::Stdout), query.tail), (Some(41), None));
        let request = TestRequest::default()
            .insert_header(("Last-Event-ID", "41-7"))
            .to_http_request();
        let query = query_of(&request, &MERGED, LogFormat::Events).unwrap();
        let after = [Stream::Stdout, Stream::Stderr].map(|stream| query.after(stream));
        assert_eq!((after, query.tail), ([Some(41), Some(7)], None));
    }

    #[actix_web::test]
    async fn the_body_ends_with_the_log_and_the_log_hears_of_a_client_that_is_gone() {
        let (sender, receiver) = tokio::sync::mpsc::channel(4);
        let mut followed = Box::pin(body(receiver, LogFormat::Ndjson, None));
        sender.send(Chunk::Lines(Vec::new().into())).await.unwrap();
        sender.send(Chunk::Lost(1)).await.unwrap();
        assert_eq!(
            followed.next().await,
            Some(Ok(Bytes::from("{\"lost\":1}\n")))
        );
        drop(followed);
        tokio::time::timeout(Duration::from_secs(5), sender.closed())
            .await
            .unwrap();
        let (sender, receiver) = tokio::sync::mpsc::channel(4);
        drop(sender);
        assert_eq!(
            Box::pin(body(receiver, LogFormat::Text, None)).next().await,
            None
        );
    }
}
