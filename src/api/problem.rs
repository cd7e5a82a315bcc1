//! [`Problem`]: every error of the API, as application/problem+json (RFC 9457).

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use serde_json::{Map, Value, json};

use crate::document::config::FieldError;

/// The media type of RFC 9457.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// An error for the caller: what is wrong, where, and what to do next.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem(Box<Parts>);

/// Boxed, so that results stay small.
#[derive(Clone, Debug, PartialEq)]
struct Parts {
    status: StatusCode,
    detail: String,
    members: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem of `status` with a sentence for the caller.
    #[must_use]
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            status,
            detail: detail.into(),
            members: Map::new(),
            headers: Vec::new(),
        }))
    }

    /// 422 with one entry per wrong field.
    #[must_use]
    pub fn invalid(errors: &[FieldError]) -> Self {
        let detail = match errors {
            [only] if only.pointer.is_empty() => format!("The document {}.", only.detail),
            [only] => format!("{}: {}", only.pointer, only.detail),
            _ => format!("The document has {} errors, see \"errors\".", errors.len()),
        };
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail).with("errors", json!(errors))
    }

    /// 503: an actor is being restarted, or answers too late.
    #[must_use]
    pub fn unavailable(detail: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
            .with_header(header::RETRY_AFTER, HeaderValue::from_static("2"))
    }

    /// 405 with the methods that are allowed.
    #[must_use]
    pub fn method_not_allowed(method: &str, allow: &str) -> Self {
        let detail = format!("{method} is not allowed here: use one of {allow}");
        let problem = Self::new(StatusCode::METHOD_NOT_ALLOWED, detail);
        match HeaderValue::from_str(allow) {
            Ok(allow) => problem.with_header(header::ALLOW, allow),
            Err(_not_ascii) => problem,
        }
    }

    /// The sentence for the caller.
    #[must_use]
    pub(super) fn detail(&self) -> &str {
        &self.0.detail
    }

    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.0.status == StatusCode::NOT_FOUND
    }

    #[must_use]
    pub fn with(mut self, member: &str, value: Value) -> Self {
        self.0.members.insert(member.to_owned(), value);
        self
    }

    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// A whole response, where no server writes one: the connection is closed behind it.
    #[must_use]
    pub(super) fn as_response(&self) -> Vec<u8> {
        let (body, status) = (self.body().to_string(), self.0.status);
        let title = status.canonical_reason().unwrap_or("Error");
        let head = format!(
            "HTTP/1.1 {} {title}\r\nContent-Type: {CONTENT_TYPE}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            status.as_u16(),
            body.len()
        );
        [head.into_bytes(), body.into_bytes()].concat()
    }

    fn body(&self) -> Value {
        let mut body = Map::new();
        // "about:blank" says: the status tells all there is to tell about the kind (RFC 9457 §4.2.1).
        body.insert("type".to_owned(), "about:blank".into());
        let title = self.0.status.canonical_reason().unwrap_or("Error");
        body.insert("title".to_owned(), title.into());
        body.insert("status".to_owned(), self.0.status.as_u16().into());
        body.insert("detail".to_owned(), self.0.detail.as_str().into());
        body.extend(self.0.members.clone());
        Value::Object(body)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.status, self.0.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.0.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.0.status);
        for (name, value) in &self.0.headers {
            response.insert_header((name.clone(), value.clone()));
        }
        response
            .content_type(CONTENT_TYPE)
            .body(self.body().to_string())
    }
}

#[cfg(test)]
mod tests {
    use actix_web::body::to_bytes;

    use super::*;

    #[actix_web::test]
    async fn a_problem_is_rendered_by_rfc_9457() {
        let errors = vec![FieldError {
            pointer: "/port".into(),
            detail: "must be a whole number".into(),
        }];
        let response = Problem::invalid(&errors).error_response();
        assert_eq!(response.status(), 422);
        assert_eq!(field(&response, "content-type"), CONTENT_TYPE);
        let body = to_bytes(response.into_body()).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            body,
            json!({
                "type": "about:blank",
                "title": "Unprocessable Entity",
                "status": 422,
                "detail": "/port: must be a whole number",
                "errors": [{"pointer": "/port", "detail": "must be a whole number"}],
            })
        );
    }

    #[test]
    fn a_wrong_method_is_told_the_right_ones() {
        let response = Problem::method_not_allowed("PATCH", "GET, PUT").error_response();
        assert_eq!(response.status(), 405);
        assert_eq!(field(&response, "allow"), "GET, PUT");
    }

    fn field(response: &HttpResponse, name: &str) -> String {
        let value = response.headers().get(name).unwrap();
        value.to_str().unwrap().to_owned()
    }
}
