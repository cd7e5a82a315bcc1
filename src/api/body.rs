//! Reads the document of a request: bounded, JSON or JSON5, whatever harmless type the client calls it.

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap};
use actix_web::web::{Bytes, Payload};
use serde_json::Value;

use super::problem::Problem;
use crate::document::json5::{MAX_SIZE, parse_document};

/// The types that clients send a document as; `curl -d` says that it is a form.
const ACCEPTED_TYPES: [&str; 6] = [
    "application/json",
    "application/json5",
    "text/json",
    "text/plain",
    "application/octet-stream",
    "application/x-www-form-urlencoded",
];

/// Returns the document in the body, `None` when there is no body.
pub(super) async fn document(
    request: &HttpRequest,
    payload: Payload,
) -> Result<Option<Value>, Problem> {
    check_type(request.headers())?;
    let bytes = read(payload).await?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    Ok(Some(parse_document(&bytes)?))
}

/// Returns the document in the body, which must be there.
pub(super) async fn required_document(
    request: &HttpRequest,
    payload: Payload,
) -> Result<Value, Problem> {
    document(request, payload).await?.ok_or_else(|| {
        let detail = "The request has no body: send the application document as JSON or JSON5.";
        Problem::new(StatusCode::BAD_REQUEST, detail)
    })
}

async fn read(payload: Payload) -> Result<Bytes, Problem> {
    match payload.to_bytes_limited(MAX_SIZE).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => {
            let status = error.as_response_error().status_code();
            Err(Problem::new(
                status,
                format!("The body could not be read: {error}"),
            ))
        }
        Err(_exceeded) => {
            let detail = format!("The body is larger than {} KiB.", MAX_SIZE / 1024);
            Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail))
        }
    }
}

fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    if let Some(encoding) = headers.get(header::CONTENT_ENCODING)
        && encoding != "identity"
    {
        let detail = "Compressed bodies are not read: send the document without Content-Encoding.";
        return Err(
            Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail).with_header(
                header::ACCEPT_ENCODING,
                header::HeaderValue::from_static("identity"),
            ),
        );
    }
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Ok(());
    };
    let full = value.to_str().unwrap_or_default();
    let essence = full
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    if ACCEPTED_TYPES.contains(&essence.as_str()) || essence.ends_with("+json") {
        return Ok(());
    }
    let shown: String = essence.chars().take(80).collect();
    let detail =
        format!("A body of type \"{shown}\" is not read: send the document as application/json.");
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail))
}

#[cfg(test)]
mod tests {
    use actix_web::ResponseError;
    use actix_web::test::TestRequest;

    use super::*;

    fn status_of(name: &'static str, value: &'static str) -> u16 {
        let request = TestRequest::default()
            .insert_header((name, value))
            .to_http_request();
        check_type(request.headers())
            .map_or_else(|problem| problem.status_code().as_u16(), |()| 200)
    }

    #[test]
    fn only_what_is_clearly_something_else_is_415() {
        for fine in [
            "application/json; charset=utf-8",
            "Application/JSON5",
            "application/x-www-form-urlencoded",
            "text/plain",
            "application/merge-patch+json",
        ] {
            assert_eq!(status_of("content-type", fine), 200, "{fine}");
        }
        for wrong in [
            "multipart/form-data; boundary=x",
            "application/xml",
            "image/png",
        ] {
            assert_eq!(status_of("content-type", wrong), 415, "{wrong}");
        }
        assert_eq!(status_of("content-encoding", "gzip"), 415);
    }
}
