//! `GET /openapi.json` says what the API is, and the API is what it says.

mod description;
mod hostile;
mod schemathesis;
