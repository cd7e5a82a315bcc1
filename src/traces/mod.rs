//! Spans of requests for OpenTelemetry, where the settings name who collects them: one a request, of some requests.
//!
//! [`context`] reads and writes `traceparent` (W3C Trace Context), [`span`] is what is told of a request, in OTLP's JSON
//! (both pure). [`tracer::Tracer`] chooses requests, one for each worker; [`exporter`] sends spans on a thread of its own,
//! from a queue that is bounded. What does not fit, or is not taken, is counted: no request waits.

pub mod context;
pub mod exporter;
pub mod settings;
pub mod span;
pub mod tracer;
