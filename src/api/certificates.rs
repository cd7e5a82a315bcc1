//! `GET /certificates`: what answers handshakes, and what is wrong with it. `POST /certificates/NAME/renew`: an order at
//! once.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{Data, Path};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::problem::Problem;
use super::state::ApiState;
use crate::acme::acme::Renew;
use crate::document::host_name::HostName;
use crate::tls::certificate::Certificate;
use crate::tls::store::FileState;

const NO_ACME: &str = "No certificate authority is asked for certificates here: write agree_terms = true under [acme] in \
    procserver.toml. Certificates from files are read again by themselves when they change.";

/// A certificate as it is listed; times are in UTC.
#[derive(Serialize)]
struct Listed<'a> {
    /// DNS names, and addresses.
    names: Vec<String>,
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
            names: certificate.map_or_else(Vec::new, |certificate| {
                let addresses = certificate.addresses.iter().map(ToString::to_string);
                certificate.names.iter().cloned().chain(addresses).collect()
            }),
            issuer: certificate.map(|certificate| &*certificate.issuer),
            source: "file",
            not_after: certificate.map(|certificate| certificate.not_after),
            state: State::at(now, certificate),
            error: file.error.as_deref(),
        }
    }
}

pub(super) async fn list(state: Data<ApiState>) -> HttpResponse {
    HttpResponse::Ok().json(rows(&state))
}

/// All of them as JSON objects: those of files, then those of the certificate authority.
pub(super) fn rows(state: &ApiState) -> Vec<Value> {
    let files = state.certificates.files.borrow().clone();
    let now = Timestamp::now();
    let ordered = state.acme_results.rows.borrow().clone();
    let listed = files.iter().map(|file| json!(Listed::at(now, file)));
    listed.chain(ordered.iter().map(|row| json!(row))).collect()
}

pub(super) async fn renew(
    state: Data<ApiState>,
    name: Path<String>,
) -> Result<HttpResponse, Problem> {
    let Some(acme) = state.acme.get() else {
        return Err(Problem::new(StatusCode::NOT_FOUND, NO_ACME));
    };
    // As it is kept: an A-label in lower case. What is no name is nobody's.
    let name = name.into_inner();
    let name = HostName::parse(&name).map_or(name, |known| known.as_str().to_owned());
    match acme.send(Renew(name.clone())).await? {
        Ok(()) => Ok(HttpResponse::Accepted().json(json!({ "name": name }))),
        Err(not_wanted) => Err(Problem::new(StatusCode::NOT_FOUND, not_wanted.to_string())),
    }
}
