//! The doors of the dashboard: `/ui` for browsers, on hosts of the API alone, and `/-/ui` for `procserver dashboard`, which
//! calls as every client does.
//!
//! A browser has a cookie for all that is on a host, so no app may be beside it: apps by path are on other hosts.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::{DefaultHeaders, Next};
use actix_web::web::Data;
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, ResponseError as _};
use jiff::Timestamp;

use super::error_page;
use super::secret::Secret;
use super::visitor::Visitor;
use crate::api::app_url::is_secure;
use crate::api::audit::Record;
use crate::api::caller::Caller;
use crate::api::problem::Problem;
use crate::api::state::ApiState;
use crate::api::{auth, gate};
use crate::front::http::authority::Authority;

/// Nothing but what this server itself has is loaded, no script stands in a page, and nobody shows one within another.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

pub(super) fn headers() -> DefaultHeaders {
    DefaultHeaders::new()
        .add((header::CONTENT_SECURITY_POLICY, POLICY))
        .add((header::X_FRAME_OPTIONS, "DENY"))
        // With less, browsers send forms with the origin "null".
        .add((header::REFERRER_POLICY, "same-origin"))
        .add(("Cross-Origin-Opener-Policy", "same-origin"))
        .add(("Cross-Origin-Resource-Policy", "same-origin"))
}

/// Middleware: lets a browser in that is logged in, or that wants to.
pub(super) async fn of_browsers(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let Some(state) = request.app_data::<Data<ApiState>>().cloned() else {
        return Ok(error_page::shown(unready(request)).await);
    };
    // No page either: it has no style there, and apps are beside it.
    if !is_on_api_host(request.request(), &state) {
        let problem = Problem::new(StatusCode::NOT_FOUND, "There is nothing here.");
        return Ok(request.into_response(problem.error_response()));
    }
    if let Err(problem) = gate::check_browser(&request, &state) {
        let problem = led_here(request.request()).unwrap_or(problem);
        let response = request.into_response(problem.error_response());
        return Ok(error_page::shown(response).await);
    }
    if !is_open(request.path()) {
        let Some(visitor) = logged_in(request.request(), &state) else {
            let answer = to_login(request.request());
            return Ok(request.into_response(answer));
        };
        request.extensions_mut().insert(visitor);
    }
    let response = next.call(request).await?.map_into_boxed_body();
    Ok(error_page::shown(response).await)
}

/// Middleware: lets in whom the API lets in.
pub(super) async fn of_the_command_line(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let Some(state) = request.app_data::<Data<ApiState>>().cloned() else {
        return Ok(error_page::shown(unready(request)).await);
    };
    // What a page does leaves its own line in the audit log.
    let caller = match gate::admit(&request, &state) {
        Ok(caller) => caller,
        Err(problem) => {
            let record = Record::begin(&request, None, state.audit.clone());
            let response = request.into_response(problem.error_response());
            record.end(&response).await;
            return Ok(error_page::shown(response).await);
        }
    };
    // The command line has made it up: it knows its browser by other means.
    let secret = Secret::of(request.headers(), false);
    let form_key = secret.map(|secret| secret.form_key()).unwrap_or_default();
    request.extensions_mut().insert(Visitor {
        caller,
        form_key,
        session: None,
    });
    let response = next.call(request).await?.map_into_boxed_body();
    Ok(error_page::shown(response).await)
}

fn unready(request: ServiceRequest) -> ServiceResponse<BoxBody> {
    let problem = Problem::unavailable("The API is not ready.");
    request.into_response(problem.error_response())
}

fn is_on_api_host(request: &HttpRequest, state: &ApiState) -> bool {
    let host = request.headers().get(header::HOST);
    let host = host.and_then(|host| Authority::parse(host.to_str().ok()?));
    host.is_some_and(|host| state.routing.reach.is_api_host(&host.routed()))
}

/// What somebody is told whom a link of another site has led here. Such a request has no cookie, and an answer to it gives
/// none: it would take the place of the one that the browser has.
fn led_here(request: &HttpRequest) -> Option<Problem> {
    let said = |name: &str| request.headers().get(name)?.to_str().ok();
    let is_led = matches!(*request.method(), Method::GET | Method::HEAD)
        && matches!(said("sec-fetch-site"), Some("cross-site" | "same-site"))
        && said("sec-fetch-mode") == Some("navigate")
        && said("sec-fetch-dest") == Some("document");
    let detail = "A page of another site led here, and nobody is known who comes so: go on by the link below.";
    let vary = HeaderValue::from_static("Sec-Fetch-Site, Sec-Fetch-Mode, Sec-Fetch-Dest");
    is_led.then(|| Problem::new(StatusCode::FORBIDDEN, detail).with_header(header::VARY, vary))
}

/// What is shown to everybody: the form for a token, and what it looks like.
fn is_open(path: &str) -> bool {
    path == "/ui/login" || path.starts_with("/ui/assets/")
}

/// Who has logged in with this browser, by a token that still opens something.
pub(super) fn logged_in(request: &HttpRequest, state: &ApiState) -> Option<Visitor> {
    let secret = Secret::of(request.headers(), is_secure(request))?;
    let now = Timestamp::now();
    let token = state.sessions.find(&secret.digest(), now)?;
    let token = state.tokens.known().of_digest(&token, now).cloned()?;
    auth::note_use(&token, state, now);
    Some(Visitor {
        caller: Caller::Token(token),
        form_key: secret.form_key(),
        session: Some(secret),
    })
}

/// To the form for a token, and back to this page.
fn to_login(request: &HttpRequest) -> HttpResponse {
    let accepts = request.headers().get(header::ACCEPT);
    let accepts = accepts.map(HeaderValue::as_bytes).unwrap_or_default();
    if accepts.starts_with(b"text/event-stream") {
        let problem = Problem::new(StatusCode::UNAUTHORIZED, "Log in first.");
        return problem.error_response();
    }
    let path = request.path();
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let place = match is_read && is_page(path) && path != "/ui" {
        true => format!("/ui/login?next={path}"),
        false => "/ui/login".to_owned(),
    };
    let mut answer = HttpResponse::SeeOther();
    answer.insert_header((header::LOCATION, place)).finish()
}

/// Whether a path is one of the dashboard, plainly written: nobody is led elsewhere by a link to log in.
pub(super) fn is_page(path: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b'.');
    (path == "/ui" || path.starts_with("/ui/"))
        && path.len() <= 200
        && path.bytes().all(plain)
        && !path.contains("//")
        && !path.contains("/.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_led_elsewhere() {
        for page in ["/ui", "/ui/apps/shop", "/ui/apps/a-b/deployments/3"] {
            assert!(is_page(page), "{page}");
        }
        for other in [
            "",
            "/",
            "//evil.example",
            "/uix",
            "/ui//evil.example",
            "/ui/../x",
            "/ui/\\evil",
            "/ui/%2e",
            "https://evil.example/ui",
            "/ui?x",
            "/ui/a\r\nb",
        ] {
            assert!(!is_page(other), "{other}");
        }
    }
}
