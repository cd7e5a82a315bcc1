//! `/ui/login` and `/ui/logout`: a browser gets a session for a token, and loses it.

use actix_web::http::{StatusCode, header};
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse, ResponseError as _};
use askama::Template;
use jiff::Timestamp;

use super::door::{is_page, logged_in};
use super::form::{self, Form};
use super::page::{self, Page};
use super::secret::{Secret, end_cookie};
use super::sessions::LASTS;
use super::visitor::Visitor;
use crate::api::app_url::is_secure;
use crate::api::audit::Record;
use crate::api::auth;
use crate::api::problem::Problem;
use crate::api::state::ApiState;
use crate::audit::Who;

#[derive(Template)]
#[template(path = "login.html", config = "src/api/ui/askama.toml")]
struct LoginPage {
    page: Page,
    /// Where to go then.
    next: String,
    error: Option<String>,
    /// Whether the token would travel unencrypted.
    is_plain: bool,
}

/// `GET /ui/login`.
pub(super) async fn show(
    request: HttpRequest,
    state: Data<ApiState>,
) -> Result<HttpResponse, Problem> {
    if logged_in(&request, &state).is_some() {
        return Ok(to("/ui"));
    }
    let query = web::Query::<Vec<(String, String)>>::from_query(request.query_string());
    let query = query.map(web::Query::into_inner).unwrap_or_default();
    let next = query.into_iter().find(|(name, _)| name == "next");
    let next = next.map(|(_, next)| next).unwrap_or_default();
    form_for(&request, &next, None)
}

/// The form. Before it is known who uses it, a browser is known by a secret that opens nothing.
fn form_for(
    request: &HttpRequest,
    next: &str,
    error: Option<Problem>,
) -> Result<HttpResponse, Problem> {
    let is_secure = is_secure(request);
    let secret = Secret::new()?;
    let mut page = Page::of_nobody("Log in");
    page.form_key = secret.form_key();
    let host = request.connection_info().host().to_owned();
    let is_local = ["localhost", "127.0.0.1", "[::1]"]
        .iter()
        .any(|local| host == *local || host.starts_with(&format!("{local}:")));
    let status = error.as_ref().map_or(StatusCode::OK, Problem::status_code);
    let wait = error.as_ref().and_then(|problem| {
        let refusal = problem.error_response();
        refusal.headers().get(header::RETRY_AFTER).cloned()
    });
    let shown = LoginPage {
        page,
        next: if is_page(next) {
            next.to_owned()
        } else {
            String::new()
        },
        error: error.map(|problem| problem.detail().to_owned()),
        is_plain: !is_secure && !is_local,
    };
    let mut answer = page::answer_with(status, &shown)?;
    if let Some(wait) = wait {
        answer.headers_mut().insert(header::RETRY_AFTER, wait);
    }
    let cookie = secret.set_cookie(is_secure, 3600);
    if let Ok(cookie) = header::HeaderValue::from_str(&cookie) {
        answer.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(answer)
}

/// `POST /ui/login`.
pub(super) async fn log_in(
    request: HttpRequest,
    state: Data<ApiState>,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let form = Form::read(&request, &mut payload.into_inner()).await?;
    let is_secure = is_secure(&request);
    let known = Secret::of(request.headers(), is_secure);
    let next = form.text("next");
    if known.is_none_or(|secret| secret.form_key() != form.key()) {
        return form_for(&request, next, Some(form::stale()));
    }
    let found = auth::log_in(&request, &state, form.text("token"));
    let token = match found {
        Ok(token) => token,
        Err(problem) => {
            let status = problem.status_code();
            Record::of_log_in(&request, Who::Stranger, &state.audit, status).await;
            return form_for(&request, next, Some(problem));
        }
    };
    // A new one, whatever the browser had: nobody has given it this one.
    let secret = Secret::new()?;
    let (sessions, own, opens) = (state.sessions.clone(), secret.digest(), token.digest);
    let begun = web::block(move || sessions.begin(own, opens, Timestamp::now())).await;
    if let Ok(Err(error)) = begun {
        // It is in memory.
        log::warn!("a session is not written: {error}");
    }
    let who = Who::Token {
        name: token.name.clone(),
        id: token.id.clone(),
    };
    Record::of_log_in(&request, who, &state.audit, StatusCode::SEE_OTHER).await;
    let mut answer = to(if is_page(next) { next } else { "/ui" });
    set_cookie(&mut answer, &secret.set_cookie(is_secure, LASTS.as_secs()));
    Ok(answer)
}

/// `POST /ui/logout`.
pub(super) async fn log_out(
    request: HttpRequest,
    state: Data<ApiState>,
    visitor: Visitor,
    _form: Form,
) -> HttpResponse {
    let mut answer = to("/ui/login");
    if let Some(secret) = &visitor.session {
        let (sessions, own) = (state.sessions.clone(), secret.digest());
        if let Ok(Err(error)) = web::block(move || sessions.end(&own)).await {
            log::warn!("that somebody has logged out is not written: {error}");
            answer = half_logged_out().error_response();
        }
    }
    set_cookie(&mut answer, &end_cookie(is_secure(&request)));
    answer
}

/// Who has the cookie elsewhere could use it again.
fn half_logged_out() -> Problem {
    let detail = "You are logged out, but the disk does not take it: a server that starts now would take the session up \
                  again. Make room on the disk of the data directory, then log in and out once more; removing the token \
                  ends all its sessions.";
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
}

fn set_cookie(answer: &mut HttpResponse, cookie: &str) {
    if let Ok(cookie) = header::HeaderValue::from_str(cookie) {
        answer.headers_mut().append(header::SET_COOKIE, cookie);
    }
}

/// To another page, which is asked for anew.
pub(super) fn to(place: &str) -> HttpResponse {
    let mut answer = HttpResponse::SeeOther();
    answer.insert_header((header::LOCATION, place)).finish()
}
