//! Answers calls that take time: 202 at once, or the outcome when the caller wants to wait for it.

use std::time::{Duration, Instant};

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Map, Value, json};

use super::prefer;
use super::problem::Problem;
use super::state::ApiState;
use super::status;
use crate::app::deployer::Accepted;
use crate::app::operations::{Outcome, Ticket};

const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// What a call has set going.
#[derive(Debug)]
pub(super) struct Begun {
    accepted: Accepted,
    /// The new document says what the old one said.
    is_unchanged: bool,
    /// Warnings of this call, not of the application.
    notes: Vec<String>,
}

impl Begun {
    /// Nothing: the new document says what the old one said.
    pub(super) fn unchanged() -> Self {
        Self {
            is_unchanged: true,
            ..Accepted::Already.into()
        }
    }

    pub(super) fn noting(self, notes: Vec<String>) -> Self {
        Self { notes, ..self }
    }
}

impl From<Accepted> for Begun {
    fn from(accepted: Accepted) -> Self {
        Self {
            accepted,
            is_unchanged: false,
            notes: Vec::new(),
        }
    }
}

/// A request is on disk or refused long before that, unless the disk does not answer.
const ACCEPTANCE: Duration = Duration::from_secs(3);

/// The answer leaves warnings out that take longer.
const WARNINGS: Duration = Duration::from_secs(1);

/// Does `work`, which accepts a request, and answers 202, or after `Prefer: wait` either `done` or the failure. A
/// caller that waits gets its answer in time even if the disk does not answer; `work` then goes on.
pub(super) async fn of(
    request: &HttpRequest,
    state: &ApiState,
    name: &str,
    done: StatusCode,
    work: impl Future<Output = Result<Begun, Problem>> + 'static,
) -> Result<HttpResponse, Problem> {
    let begun = Instant::now();
    let work = actix_rt::spawn(work);
    let wait = prefer::wait(request);
    let ended = match wait {
        None => work.await,
        Some(wait) => match tokio::time::timeout(wait.max(ACCEPTANCE), work).await {
            Ok(ended) => ended,
            Err(_elapsed) => return Ok(unwritten(state, name, wait).await),
        },
    };
    let stopping = |_| Problem::unavailable("The server is being stopped.");
    let Begun {
        accepted: what,
        is_unchanged,
        notes,
    } = ended.map_err(stopping)??;
    match (what, wait) {
        (Accepted::Already, _) => {
            let mut body = progress(state, name, None, notes).await;
            if is_unchanged {
                body["changed"] = false.into();
            }
            let mut response = HttpResponse::Ok();
            if done == StatusCode::CREATED {
                // Nothing has been pushed to it yet.
                response.status(done);
                response.insert_header((header::LOCATION, format!("/applications/{name}")));
            }
            Ok(response.json(body))
        }
        (Accepted::Underway(ticket), Some(wait)) => {
            let left = wait.saturating_sub(begun.elapsed());
            answer(state, name, ticket, notes, done, wait, left).await
        }
        (Accepted::Underway(ticket), None) => {
            let body = progress(state, name, ticket.deployment, notes).await;
            Ok(accepted(name, ticket.deployment).json(body))
        }
    }
}

/// Answers 202 for a request that is not on disk yet.
async fn unwritten(state: &ApiState, name: &str, wait: Duration) -> HttpResponse {
    let warning = "the server's disk does not answer: what was asked for is done when it does";
    let body = progress(state, name, None, vec![warning.to_owned()]).await;
    accepted(name, None).insert_header(applied(wait)).json(body)
}

/// Answers for `ticket` within `left`, which is what remains of `wait`.
async fn answer(
    state: &ApiState,
    name: &str,
    ticket: Ticket,
    notes: Vec<String>,
    done: StatusCode,
    wait: Duration,
    left: Duration,
) -> Result<HttpResponse, Problem> {
    let mut deployment = ticket.deployment;
    let mut overtaken = None;
    let mut outcome = outcome_within(ticket, left, state.closes()).await?;
    if let Some(Outcome::Overtaken(by, end)) = outcome {
        // What it did counts for the one that was overtaken, too.
        overtaken = Some(json!({ "deployment": deployment, "by": by }));
        (deployment, outcome) = (by, Some(*end));
    }
    let mut body = Map::new();
    body.extend(overtaken.map(|overtaken| ("overtaken".to_owned(), overtaken)));
    match outcome {
        None => {
            let mut builder = accepted(name, deployment);
            builder.insert_header(applied(wait));
            Ok(builder.json(progress(state, name, deployment, notes).await))
        }
        Some(Outcome::Done | Outcome::Overtaken(..)) => {
            let mut response = HttpResponse::build(done);
            if done == StatusCode::CREATED {
                response.insert_header((header::LOCATION, format!("/applications/{name}")));
            }
            if let Value::Object(progress) = progress(state, name, deployment, notes).await {
                body.extend(progress);
            }
            Ok(response.insert_header(applied(wait)).json(body))
        }
        Some(Outcome::Failed(failure)) => {
            if !notes.is_empty() {
                body.insert("warnings".to_owned(), notes.into());
            }
            let mut problem = Problem::of_failure(&failure)
                .with("name", name.into())
                .with("deployment", json!(deployment))
                .with("failure", json!(failure));
            for (member, value) in body {
                problem = problem.with(&member, value);
            }
            Err(problem)
        }
        Some(Outcome::Dropped(why)) => Err(Problem::of_dropped(why)
            .with("name", name.into())
            .with("deployment", json!(deployment))),
    }
}

/// Returns how `ticket` ended, `None` when it did not within `wait`. Gives up when the server `closes`.
async fn outcome_within(
    mut ticket: Ticket,
    wait: Duration,
    closes: impl Future<Output = ()>,
) -> Result<Option<Outcome>, Problem> {
    let over = ticket.outcome.wait_for(Option::is_some);
    let over = tokio::time::timeout(wait, over);
    let over = tokio::select! {
        biased;
        over = over => over,
        () = closes => {
            return Err(Problem::unavailable(
                "The server is being stopped before this ended: what was accepted goes on, or is `interrupted`, when it is started again.",
            ));
        }
    };
    match over {
        Err(_elapsed) => Ok(None),
        Ok(Ok(outcome)) => Ok(outcome.clone()),
        // The App went away before it could tell: it crashed, and its supervisor starts a fresh one.
        Ok(Err(_closed)) => Err(Problem::unavailable(
            "The application was restarted before this ended: GET its status to see where it is.",
        )),
    }
}

fn accepted(name: &str, deployment: Option<u64>) -> actix_web::HttpResponseBuilder {
    let location = match deployment {
        Some(id) => format!("/applications/{name}/deployments/{id}"),
        None => format!("/applications/{name}/status"),
    };
    let mut response = HttpResponse::Accepted();
    response.insert_header((header::LOCATION, location));
    response
}

fn applied(wait: Duration) -> (HeaderName, String) {
    (PREFERENCE_APPLIED, format!("wait={}", wait.as_secs()))
}

/// Returns `{name, deployment, state, warnings}`, without a state when the app is gone by now.
async fn progress(
    state: &ApiState,
    name: &str,
    deployment: Option<u64>,
    mut warnings: Vec<String>,
) -> Value {
    let mut body = Map::new();
    body.insert("name".to_owned(), name.into());
    if let Some(id) = deployment {
        body.insert("deployment".to_owned(), id.into());
    }
    if let Ok(view) = state.inspect(name).await {
        body.insert("state".to_owned(), json!(view.summary.state));
        let own = tokio::time::timeout(WARNINGS, status::warnings(view)).await;
        warnings.extend(own.unwrap_or_default());
    }
    if !warnings.is_empty() {
        body.insert("warnings".to_owned(), warnings.into());
    }
    Value::Object(body)
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::sync::watch;

    use super::*;

    fn ticket() -> (watch::Sender<Option<Outcome>>, Ticket) {
        let (sender, outcome) = watch::channel(None);
        let deployment = Some(7);
        (
            sender,
            Ticket {
                deployment,
                outcome,
            },
        )
    }

    #[actix_web::test]
    async fn an_outcome_is_awaited_up_to_the_deadline() {
        let (sender, waiting) = ticket();
        let none = outcome_within(waiting.clone(), Duration::from_millis(1), pending()).await;
        assert_eq!(none, Ok(None));
        sender.send_replace(Some(Outcome::Done));
        let done = outcome_within(waiting, Duration::from_mins(1), ready(())).await;
        assert_eq!(done, Ok(Some(Outcome::Done)));
    }

    #[actix_web::test]
    async fn an_outcome_that_nobody_can_tell_is_503() {
        let (sender, waiting) = ticket();
        drop(sender);
        let lost = outcome_within(waiting, Duration::from_mins(1), pending()).await;
        assert!(lost.is_err());
    }

    #[actix_web::test]
    async fn a_server_that_stops_keeps_nobody_waiting() {
        let (_sender, waiting) = ticket();
        let told = outcome_within(waiting, Duration::from_mins(1), ready(())).await;
        assert!(told.is_err());
    }
}
