//! Carries what the browser asks for to the server, and back.

use std::net::TcpListener;
use std::time::Instant;

use actix_web::dev::Server;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::web::{self, Data, Payload};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};

use super::guest::{Guests, Link};
use crate::cli::client::{Client, ClientArgs};
use crate::front::own_cookie::OWN;

/// A form is no larger; bytes.
const LARGEST: usize = 1 << 20;

/// What the server is told of a request.
const ASKED: [HeaderName; 3] = [
    header::ACCEPT,
    header::CONTENT_TYPE,
    HeaderName::from_static("last-event-id"),
];

/// What the browser is told of an answer.
const ANSWERED: [HeaderName; 10] = [
    header::CONTENT_TYPE,
    header::CACHE_CONTROL,
    header::ETAG,
    header::LOCATION,
    header::RETRY_AFTER,
    header::CONTENT_SECURITY_POLICY,
    header::X_CONTENT_TYPE_OPTIONS,
    header::X_FRAME_OPTIONS,
    header::REFERRER_POLICY,
    HeaderName::from_static("cross-origin-opener-policy"),
];

struct Relay {
    guests: Guests,
    client: Client,
}

/// Serves until a signal ends it.
pub(super) fn serve(
    listeners: Vec<TcpListener>,
    guests: Guests,
    args: ClientArgs,
) -> anyhow::Result<Server> {
    // Made anew on the thread that serves; what it is made of was good before.
    Client::new(&args)?;
    let app = move || {
        let relay = Client::new(&args).ok().map(|client| {
            let guests = guests.clone();
            Data::new(Relay { guests, client })
        });
        let app = App::new().default_service(web::to(answer));
        match relay {
            Some(relay) => app.app_data(relay),
            None => app,
        }
    };
    let mut server = HttpServer::new(app).workers(1).shutdown_timeout(1);
    for listener in listeners {
        server = server.listen(listener)?;
    }
    Ok(server.run())
}

async fn answer(request: HttpRequest, relay: Data<Relay>, payload: Payload) -> HttpResponse {
    if !relay.guests.is_called_rightly(request.headers()) {
        return refusal(StatusCode::FORBIDDEN, ELSEWHERE);
    }
    let path = request.path();
    // What looks at a link before it is followed (HEAD) does not use it up.
    if request.method() == Method::GET
        && path == "/ui"
        && let Some(given) = request.query_string().strip_prefix("link=")
    {
        return match relay.guests.open(given, Instant::now()) {
            Link::Opened(cookie) => opened(&cookie),
            Link::Wrong => refusal(StatusCode::FORBIDDEN, NOBODY),
            Link::Over if relay.guests.knows(request.headers()) => opened(""),
            Link::Over => refusal(
                StatusCode::FORBIDDEN,
                "This link was used, or is too old: end \"procserver dashboard\" and start it again.",
            ),
        };
    }
    if !relay.guests.knows(request.headers()) {
        return refusal(StatusCode::FORBIDDEN, NOBODY);
    }
    match is_page(path) {
        true => carry(&relay, &request, payload).await,
        false => refusal(StatusCode::NOT_FOUND, "There is nothing here but /ui."),
    }
}

const ELSEWHERE: &str =
    "Use the link that \"procserver dashboard\" printed, with the host name that it has.";

const NOBODY: &str = "Open the link that \"procserver dashboard\" printed.";

fn refusal(status: StatusCode, text: &'static str) -> HttpResponse {
    HttpResponse::build(status)
        .content_type("text/plain; charset=utf-8")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(text)
}

/// To the pages. Not by a redirect: a browser that came by a link of another site would leave a strict cookie out.
fn opened(cookie: &str) -> HttpResponse {
    let mut answer = HttpResponse::Ok();
    if !cookie.is_empty() {
        answer.insert_header((header::SET_COOKIE, cookie));
    }
    answer
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .body("<!doctype html><html lang=\"en\"><title>procserver</title><meta http-equiv=\"refresh\" content=\"0;url=/ui\"><a href=\"/ui\">To the dashboard</a>")
}

/// Whether a path is one of the pages, whoever resolves it.
fn is_page(path: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-_.%~".contains(&b);
    let lower = path.to_ascii_lowercase();
    let leaves = ["//", "/.", "%2e", "%2f", "%5c", "%25"];
    (path == "/ui" || path.starts_with("/ui/"))
        && path.bytes().all(plain)
        && !leaves.iter().any(|sign| lower.contains(sign))
}

async fn carry(relay: &Relay, request: &HttpRequest, payload: Payload) -> HttpResponse {
    let Ok(Ok(body)) = payload.to_bytes_limited(LARGEST).await else {
        return refusal(StatusCode::PAYLOAD_TOO_LARGE, "This is too large.");
    };
    let asked = ASKED.into_iter().filter_map(|name| {
        let value = request.headers().get(&name)?.clone();
        Some((name, value))
    });
    let mut fields: Vec<(HeaderName, HeaderValue)> = asked.collect();
    let form = format!("{OWN}={}", relay.guests.form());
    fields.extend(HeaderValue::from_str(&form).map(|form| (header::COOKIE, form)));
    let path = match request.uri().path_and_query() {
        Some(path) => format!("/-{path}"),
        None => "/-/ui".to_owned(),
    };
    let method = request.method().clone();
    match relay.client.relay(method, &path, &fields, body).await {
        Err(error) => HttpResponse::BadGateway()
            .content_type("text/plain; charset=utf-8")
            .body(error.to_string()),
        Ok(response) => {
            let mut answer = HttpResponse::build(response.status());
            for name in &ANSWERED {
                if let Some(value) = response.headers().get(name) {
                    answer.insert_header((name.clone(), value.clone()));
                }
            }
            answer.streaming(response)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_are_carried() {
        for page in ["/ui", "/ui/", "/ui/apps/a-b/cron/a%20b/run"] {
            assert!(is_page(page), "{page}");
        }
        for other in [
            "/",
            "/tokens",
            "/uix",
            "/ui/../tokens",
            "/ui/%2e%2E/tokens",
            "/ui//x",
            "/ui/%2Fx",
            "/ui/a\\b",
            "/ui/%252e",
        ] {
            assert!(!is_page(other), "{other}");
        }
    }
}
