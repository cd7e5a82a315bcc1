//! [`Settings`]: where spans are sent, and of how many requests.

/// Where spans are sent, and of how many requests.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Of a collector that takes OTLP/HTTP: `http://127.0.0.1:4318/v1/traces`.
    pub url: awc::http::Uri,
    /// The part of the requests, 0 to 1.
    pub sample: f64,
}
