//! `GET /certificates`: what answers handshakes, and what is wrong with it.

use actix_web::HttpResponse;
use actix_web::web::Data;
use jiff::Timestamp;
use serde::Serialize;

use super::state::ApiState;
use crate::tls::certificate::Certificate;
use crate::tls::store::FileState;

/// A certificate as it is listed; times are in UTC.
#[derive(Serialize)]
struct Listed<'a> {
    names: &'a [String],
    issuer: Option<&'a str>,
    source: &'static str,
    not_after: Option<Timestamp>,
    state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Valid,
    /// Its time has not begun.
    Pending,
    /// There is none that could be used.
    Failing,
    Expired,
}

impl State {
    fn at(now: Timestamp, certificate: Option<&Certificate>) -> Self {
        match certificate {
            None => Self::Failing,
            Some(certificate) if certificate.is_valid_at(now) => Self::Valid,
            Some(certificate) if now < certificate.not_before => Self::Pending,
            Some(_) => Self::Expired,
        }
    }
}

impl<'a> Listed<'a> {
    fn at(now: Timestamp, file: &'a FileState) -> Self {
        let certificate = file.certificate.as_deref();
        Self {
            names: certificate.map_or(&[], |certificate| &certificate.names),
            issuer: certificate.map(|certificate| &*certificate.issuer),
            source: "file",
            not_after: certificate.map(|certificate| certificate.not_after),
            state: State::at(now, certificate),
            error: file.error.as_deref(),
        }
    }
}

pub(super) async fn list(state: Data<ApiState>) -> HttpResponse {
    let files = state.certificates.files.borrow().clone();
    let now = Timestamp::now();
    let listed: Vec<_> = files.iter().map(|file| Listed::at(now, file)).collect();
    HttpResponse::Ok().json(listed)
}
