//! [`Span`]: what is told of one request, and how a batch of them is written (pure).
//! <https://opentelemetry.io/docs/specs/otlp/#otlphttp>, names by its semantic conventions of HTTP.

use std::sync::Arc;

use serde_json::{Value, json};

use super::context::{Ids, written};

/// Kind of a span: of who serves.
const SERVER: u8 = 2;

/// The state of a span that failed.
const ERROR: u8 = 2;

/// The methods that are told by their names (RFC 9110 §9, RFC 5789); others are the client's to make up, and stand under
/// [`OTHER`].
const METHODS: [&str; 9] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
];

/// What the conventions call all other methods, and what they put in the name of the span.
const OTHER: &str = "_OTHER";
const NAME_OF_OTHER: &str = "HTTP";

/// What is told of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub ids: Ids,
    /// The span of who asks.
    pub parent: Option<[u8; 8]>,
    pub method: Box<str>,
    /// Without the query, which may have secrets.
    pub path: Box<str>,
    pub host: Box<str>,
    pub is_secure: bool,
    pub app: Option<Arc<str>>,
    /// The process that was asked, and its release.
    pub process: Option<(Arc<str>, u64)>,
    pub status: u16,
    /// Nanoseconds since 1970.
    pub began: u64,
    pub ended: u64,
}

/// A batch as OTLP's JSON, by the server on the machine `host_name`.
#[must_use]
pub fn batch(spans: &[Span], host_name: &str) -> Value {
    let resource = [
        text("service.name", "procserver"),
        text("service.version", env!("CARGO_PKG_VERSION")),
        text("host.name", host_name),
    ];
    let spans: Vec<Value> = spans.iter().map(written_span).collect();
    json!({"resourceSpans": [{
        "resource": {"attributes": resource},
        "scopeSpans": [{"scope": {"name": "procserver.proxy"}, "spans": spans}],
    }]})
}

fn written_span(span: &Span) -> Value {
    let scheme = if span.is_secure { "https" } else { "http" };
    let is_known = METHODS.contains(&&*span.method);
    let (method, in_name) = match is_known {
        true => (&*span.method, &*span.method),
        false => (OTHER, NAME_OF_OTHER),
    };
    let mut attributes = vec![
        text("http.request.method", method),
        text("url.path", &span.path),
        text("url.scheme", scheme),
        number("http.response.status_code", span.status.into()),
    ];
    if !is_known {
        attributes.push(text("http.request.method_original", &span.method));
    }
    if !span.host.is_empty() {
        attributes.push(text("server.address", &span.host));
    }
    if let Some(app) = &span.app {
        attributes.push(text("procserver.application", app));
    }
    if let Some((process, release)) = &span.process {
        attributes.push(text("procserver.process", process));
        attributes.push(number("procserver.release", *release));
    }
    // Names are few: a path is the client's to choose.
    let name = match &span.app {
        Some(app) => format!("{in_name} {app}"),
        None => in_name.to_owned(),
    };
    let mut written = json!({
        "traceId": self::written(&span.ids.trace),
        "spanId": self::written(&span.ids.span),
        "name": name,
        "kind": SERVER,
        "startTimeUnixNano": span.began.to_string(),
        "endTimeUnixNano": span.ended.to_string(),
        "attributes": attributes,
    });
    if let Some(parent) = &span.parent {
        written["parentSpanId"] = self::written(parent).into();
    }
    if span.status >= 500 || span.status == 0 {
        written["status"] = json!({"code": ERROR});
    }
    written
}

fn text(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

/// Numbers of 64 bits are text in protobuf's JSON.
fn number(key: &str, value: u64) -> Value {
    json!({"key": key, "value": {"intValue": value.to_string()}})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(method: &str) -> Span {
        Span {
            ids: Ids {
                trace: [0xab; 16],
                span: [1; 8],
            },
            parent: Some([2; 8]),
            method: method.into(),
            path: "/a".into(),
            host: "blog.test".into(),
            is_secure: true,
            app: Some("blog".into()),
            process: Some(("web.1".into(), 3)),
            status: 502,
            began: 1_700_000_000_000_000_000,
            ended: 1_700_000_000_250_000_000,
        }
    }

    #[test]
    fn a_span_is_as_otlp_has_it() {
        let written = batch(&[span("GET")], "host");
        let span = &written["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
        assert_eq!(span["traceId"], "ab".repeat(16));
        assert_eq!(span["parentSpanId"], "02".repeat(8));
        assert_eq!(
            (&span["name"], &span["kind"]),
            (&"GET blog".into(), &2.into())
        );
        assert_eq!(span["startTimeUnixNano"], "1700000000000000000");
        assert_eq!(span["status"]["code"], 2);
        let status = json!({"key": "http.response.status_code", "value": {"intValue": "502"}});
        assert!(
            span["attributes"].as_array().unwrap().contains(&status),
            "{span}"
        );
    }

    /// <https://opentelemetry.io/docs/specs/semconv/http/http-spans/>
    #[test]
    fn a_method_that_a_client_made_up_is_in_no_name() {
        let written = written_span(&span("get"));
        assert_eq!(written["name"], "HTTP blog");
        let attributes = written["attributes"].as_array().unwrap();
        assert!(attributes.contains(&text("http.request.method", "_OTHER")));
        assert!(attributes.contains(&text("http.request.method_original", "get")));
        let known = written_span(&span("PATCH")).to_string();
        assert!(!known.contains("method_original"), "{known}");
    }
}
