//! The gate of the API: what every call passes but `/healthz`. Who calls is found out, a page of another site refused,
//! and the audit log told, before anybody is answered.

use actix_web::body::{BoxBody, MessageBody, to_bytes};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header;
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{HttpMessage as _, ResponseError as _};

use super::audit::Record;
use super::auth::{self, Access, OF_GIT, Other};
use super::browsers;
use super::caller::{Caller, Introduced};
use super::problem::{self, Problem};
use super::state::ApiState;
use crate::hooks::signature::Proof;

/// Middleware: lets a request in, or answers 401, 403 or 429.
pub(super) async fn pass(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let Some(state) = request.app_data::<Data<ApiState>>().cloned() else {
        let problem = Problem::unavailable("The API is not ready.");
        return Ok(request.into_response(problem.error_response()));
    };
    let admitted = admit(&request, &state);
    let record = Record::begin(&request, admitted.as_ref().ok(), state.audit.clone());
    let answer = async move {
        match admitted {
            Ok(caller) => {
                request.extensions_mut().insert(caller);
                Ok(next.call(request).await?.map_into_boxed_body())
            }
            Err(problem) => Ok(request.into_response(problem.error_response())),
        }
    };
    let response: Result<_, actix_web::Error> = record.during(answer).await;
    let response = response?;
    record.end(&response).await;
    match response.request().path().starts_with(OF_GIT) {
        true => Ok(plain(response).await),
        false => Ok(response),
    }
}

/// An error for git, which shows people plain text alone.
async fn plain(response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    let kind = response.headers().get(header::CONTENT_TYPE);
    if kind.is_none_or(|kind| kind != problem::CONTENT_TYPE) {
        return response;
    }
    let (request, response) = response.into_parts();
    let (mut head, body) = response.into_parts();
    let body = to_bytes(body).await.unwrap_or_default();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let text = body["detail"].as_str().unwrap_or_default();
    let kind = header::HeaderValue::from_static("text/plain; charset=utf-8");
    head.headers_mut().insert(header::CONTENT_TYPE, kind);
    ServiceResponse::new(request, head.set_body(BoxBody::new(format!("{text}\n"))))
}

/// Middleware of a route that is open to who signs: counts those who do not as who fails to log in.
pub(super) async fn pass_signed(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let Some(state) = request.app_data::<Data<ApiState>>().cloned() else {
        let problem = Problem::unavailable("The API is not ready.");
        return Ok(request.into_response(problem.error_response()));
    };
    let record = Record::begin(&request, None, state.audit.clone());
    let admitted = check_browser(&request, &state).and_then(|()| match is_signed(&request) {
        true => Ok(()),
        false => Other::Hook.refuse_if_locked_out(request.request(), &state),
    });
    let response = match admitted {
        Ok(()) => {
            let response = next.call(request).await?.map_into_boxed_body();
            if matches!(response.status().as_u16(), 401 | 403) {
                Other::Hook.count(response.request(), &state);
            }
            response
        }
        Err(problem) => request.into_response(problem.error_response()),
    };
    record.end(&response).await;
    Ok(response)
}

/// What is looked at of a signed webhook from an address that is locked out; bytes.
const LARGEST_OF_LOCKED_OUT: u64 = 1 << 20;

/// Whether a webhook has a signature that is soon checked. Many share the addresses of a git service: a stranger's
/// deliveries from there must not shut out an application's own. Nobody guesses a signature; a plain token is guessed.
fn is_signed(request: &ServiceRequest) -> bool {
    let field = |name: &str| request.headers().get(name).map(|value| value.as_bytes());
    let length = field("content-length").and_then(|length| std::str::from_utf8(length).ok());
    let length = length.and_then(|length| length.parse().ok());
    length.is_some_and(|length: u64| length <= LARGEST_OF_LOCKED_OUT)
        && Proof::read(&field).is_ok_and(|proof| !matches!(proof, Proof::Token(_)))
}

pub(super) fn admit(request: &ServiceRequest, state: &ApiState) -> Result<Caller, Problem> {
    // The page has been through this.
    if let Some(introduced) = request.extensions().get::<Introduced>() {
        return Ok(introduced.caller.clone());
    }
    check_browser(request, state)?;
    auth::identify(request, state)
}

/// Refuses what a page of another site asks for.
pub(super) fn check_browser(request: &ServiceRequest, state: &ApiState) -> Result<(), Problem> {
    // No browser speaks to a Unix socket.
    if matches!(request.conn_data::<Access>(), Some(Access::Socket { .. })) {
        return Ok(());
    }
    let own = &state.routing.reach.api_hosts;
    browsers::check(request.headers(), own, &state.host_name)
}
