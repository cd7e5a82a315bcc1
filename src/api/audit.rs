//! `GET /audit`: the newest lines of the audit log, oldest first. [`Record`] writes the line of a call.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{Method, StatusCode};
use actix_web::web::{self, Data};
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse};
use jiff::Timestamp;

use super::auth;
use super::caller::Caller;
use super::problem::Problem;
use super::query::Query;
use super::state::ApiState;
use crate::audit::{AuditLog, Entry, Outcome, Who, log as audit_log, reader};

const DEFAULT_TAIL: usize = 100;
const LONGEST_TAIL: usize = 10_000;

/// A caller that waits for longer has a line before its answer: a server that is killed meanwhile has done the work.
const SOON: Duration = Duration::from_secs(1);

pub(super) async fn list(
    request: HttpRequest,
    state: Data<ApiState>,
) -> Result<HttpResponse, Problem> {
    let query = Query::read(&request, &["tail", "app"])?;
    let tail = query.parse("tail", |text| {
        let number = text.parse().ok().filter(|tail| *tail <= LONGEST_TAIL);
        number.ok_or("must be a number of lines, at most 10000")
    })?;
    let app = query.text("app").map(str::to_owned);
    let (path, files) = state.audit.files();
    let read = move || {
        let most = tail.unwrap_or(DEFAULT_TAIL);
        reader::newest(&path, files, most, app.as_deref())
    };
    let read = web::block(read).await;
    match read.map_err(|_| Problem::unavailable("The server is being stopped."))? {
        Ok(lines) => Ok(HttpResponse::Ok().json(lines)),
        Err(error) => {
            log::error!("the audit log cannot be read: {error}");
            let detail = "The audit log cannot be read: the server's own log says why.";
            Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail))
        }
    }
}

/// The name of the application that a call is about, where its path does not say so, and whether its webhook was called.
/// It is a request's, for who learns it; the record of the call has the other copy.
#[derive(Clone, Debug, Default)]
struct About(Arc<OnceLock<Learned>>);

#[derive(Debug)]
struct Learned {
    app: String,
    by_hook: bool,
}

/// Notes which application the call is about.
pub(super) fn is_about(request: &HttpRequest, app: &str) {
    if let Some(About(known)) = request.extensions().get() {
        // A call is about one.
        let _first = known.set(Learned {
            app: app.to_owned(),
            by_hook: false,
        });
    }
}

/// Notes that the call is by the webhook of this application, and rightly signed.
pub(super) fn is_by_hook_of(request: &HttpRequest, app: &str) {
    if let Some(About(known)) = request.extensions().get() {
        let _first = known.set(Learned {
            app: app.to_owned(),
            by_hook: true,
        });
    }
}

/// The line of one call. It is written before the call is answered; if it never is, because the caller has gone, then
/// when this is dropped.
pub(super) struct Record {
    log: AuditLog,
    /// As it is known by now.
    entry: Entry,
    about: About,
    is_change: bool,
    is_told: bool,
}

impl Record {
    pub(super) fn begin(request: &ServiceRequest, caller: Option<&Caller>, log: AuditLog) -> Self {
        let who = match caller {
            Some(Caller::Token(token)) => Who::Token {
                name: token.name.clone(),
                id: token.id.clone(),
            },
            Some(Caller::Key(key)) => Who::Key {
                name: key.name.clone(),
                id: key.id.clone(),
            },
            Some(Caller::Account { uid }) => Who::Account { uid: *uid },
            None => Who::Stranger,
        };
        let from = match who {
            Who::Account { .. } => Some("socket".to_owned()),
            _ => auth::address(request.request()).map(|address| address.to_string()),
        };
        let id = request.headers().get("x-request-id");
        let id = id.and_then(|id| id.to_str().ok()).map(str::to_owned);
        let is_change = !matches!(
            *request.method(),
            Method::GET | Method::HEAD | Method::OPTIONS
        );
        let about = About::default();
        request.extensions_mut().insert(about.clone());
        Self {
            log,
            about,
            entry: Entry {
                time: Timestamp::now(),
                who,
                from,
                method: request.method().as_str().chars().take(20).collect(),
                path: request.path().to_owned(),
                app: app_in(request.path()),
                outcome: Outcome::CallerGone,
                request_id: id,
                left_out: 0,
            },
            is_change,
            is_told: false,
        }
    }

    /// Writes the line of somebody who logs in, or tries to.
    pub(super) async fn of_log_in(
        request: &HttpRequest,
        who: Who,
        log: &AuditLog,
        status: StatusCode,
    ) {
        let from = auth::address(request).map(|address| address.to_string());
        let id = request.headers().get("x-request-id");
        log.write(Entry {
            time: Timestamp::now(),
            who,
            from,
            method: request.method().to_string(),
            path: request.path().to_owned(),
            app: None,
            outcome: Outcome::Status(status.as_u16()),
            request_id: id.and_then(|id| id.to_str().ok()).map(str::to_owned),
            left_out: 0,
        })
        .await;
    }

    /// Awaits the answer of the call.
    pub(super) async fn during<T>(&self, answer: impl Future<Output = T>) -> T {
        let mut answer = std::pin::pin!(answer);
        let is_awaited = self.is_change && self.entry.who != Who::Stranger;
        if is_awaited {
            if let Ok(answer) = tokio::time::timeout(SOON, &mut answer).await {
                return answer;
            }
            self.write(Outcome::Waiting).await;
        }
        answer.await
    }

    /// Writes the line; it is in the file when this returns.
    pub(super) async fn end(mut self, response: &ServiceResponse<BoxBody>) {
        let outcome = Outcome::Status(response.status().as_u16());
        if audit_log::is_told(self.is_change, &outcome) {
            self.write(outcome).await;
        }
        self.is_told = true;
    }

    async fn write(&self, outcome: Outcome) {
        self.log.write(self.entry(outcome)).await;
    }

    fn entry(&self, outcome: Outcome) -> Entry {
        let mut entry = Entry {
            outcome,
            ..self.entry.clone()
        };
        if let Some(learned) = self.about.0.get() {
            entry.app = Some(learned.app.clone());
            if learned.by_hook {
                entry.who = Who::Hook;
            }
        }
        entry
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.is_change && !self.is_told && self.entry.who != Who::Stranger {
            self.log.tell(self.entry(Outcome::CallerGone));
        }
    }
}

fn app_in(path: &str) -> Option<String> {
    let of_git = path.strip_prefix("/git/");
    let rest = of_git.or_else(|| path.strip_prefix("/applications/"))?;
    let name = rest.split('/').next().unwrap_or(rest);
    let name = name.trim_end_matches(".git");
    (!name.is_empty()).then(|| name.chars().take(63).collect())
}
