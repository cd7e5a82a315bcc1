//! Errors of the API as pages.

use actix_web::HttpMessage as _;
use actix_web::body::{BoxBody, to_bytes};
use actix_web::dev::ServiceResponse;
use actix_web::http::header;
use askama::Template;
use serde_json::Value;

use super::page::{self, Page};
use super::visitor::Visitor;
use super::words::plain;
use crate::api::problem::CONTENT_TYPE;

#[derive(Template)]
#[template(path = "error.html", config = "src/api/ui/askama.toml")]
struct ErrorPage {
    page: Page,
    detail: String,
    /// Fields that are wrong, and why.
    errors: Vec<(String, String)>,
}

/// The response, as a page where it is a problem and somebody reads it.
pub(super) async fn shown(response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    let kind = response.headers().get(header::CONTENT_TYPE);
    let accepts = response.request().headers().get(header::ACCEPT);
    let accepts = accepts
        .and_then(|accept| accept.to_str().ok())
        .unwrap_or("");
    if kind.is_none_or(|kind| kind != CONTENT_TYPE) || !accepts.contains("text/html") {
        return response;
    }
    let (request, response) = response.into_parts();
    let (head, body) = response.into_parts();
    let body = to_bytes(body).await.unwrap_or_default();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let text = |value: &Value| plain(value.as_str().unwrap_or_default());
    let errors = body["errors"].as_array().into_iter().flatten();
    let visitor = request.extensions().get::<Visitor>().cloned();
    let title = head.status().canonical_reason().unwrap_or("Error");
    let page = match &visitor {
        Some(visitor) => Page::new(title, "", visitor),
        None => Page::of_nobody(title),
    };
    let shown = ErrorPage {
        page,
        detail: text(&body["detail"]),
        errors: errors
            .map(|error| (text(&error["pointer"]), text(&error["detail"])))
            .collect(),
    };
    match page::answer_with(head.status(), &shown) {
        Ok(mut answer) => {
            for (name, value) in head.headers() {
                if name != header::CONTENT_TYPE {
                    answer.headers_mut().append(name.clone(), value.clone());
                }
            }
            ServiceResponse::new(request, answer)
        }
        Err(_) => ServiceResponse::new(request, head.set_body(BoxBody::new(()))),
    }
}
