//! `POST /hooks/A`: a git service says that somebody has pushed. Nobody but who knows the application's secret is told
//! anything, not even whether there is such an application.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web::{self, Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::hook_body::{self, HookBody};
use super::problem::Problem;
use super::state::ApiState;
use super::{audit, previews, state};
use crate::app::deployer::{Accepted, Action};
use crate::app::supervisor::Act;
use crate::events::By;
use crate::hooks::event::{Event, EventError, Verdict, verdict};
use crate::hooks::secret::Secret;
use crate::hooks::signature::{Proof, Refusal};
use crate::hooks::store::{Hooks, Turn};

pub(super) async fn deliver(
    request: HttpRequest,
    state: Data<ApiState>,
    name: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let field = |name: &str| request.headers().get(name).map(|value| value.as_bytes());
    // Who shows nothing is refused unread.
    let proof = Proof::read(&field).map_err(refused)?;
    let HookBody { bytes, .. } = &hook_body::read(payload).await?;
    let known = known(&state, &name).await?;
    let (secret, now) = (known.secret.as_ref(), Timestamp::now().as_second());
    // The work is the same where there is no such application.
    let nobodys = Secret::of([0; 32]);
    let checked = proof.check(secret.unwrap_or(&nobodys), bytes, now);
    checked.map_err(refused)?;
    let (Some(path), Some(repo)) = (known.path, known.repo) else {
        return Err(refused(Refusal::Wrong));
    };
    if secret.is_none() {
        return Err(refused(Refusal::Wrong));
    }
    audit::is_by_hook_of(&request, &name);
    let event = Event::read(&field, bytes)?;
    let (preview, is_gone) = match &event {
        Event::Push(push) => (
            previews::pushed(&state, &name, push).await?,
            push.is_deletion,
        ),
        _ => (None, false),
    };
    let verdict = verdict(&event, &repo);
    if let (Verdict::Leave(why), None) = (&verdict, &preview) {
        return Ok(left(&name, why));
    }
    let (hooks, marks) = (state.hooks.clone(), proof.marks(&field));
    let begun = web::block(move || hooks.begin(&path, marks)).await;
    let Some(turn) = begun.map_err(|_| stopping())?? else {
        let why = "this delivery came before, and was acted upon then";
        return Ok(left(&name, why));
    };
    // It goes on if the service goes away.
    let name = name.into_inner();
    let done = async move {
        // A branch may be the application's own, and have a preview beside.
        let own = match verdict {
            Verdict::Deploy => Some(deploy(&state, &name).await),
            Verdict::Leave(_) => None,
        };
        let of_preview = match preview {
            Some(preview) if is_gone => Some(previews::branch_is_gone(&state, &preview).await),
            Some(preview) => Some(deploy(&state, &preview.name).await),
            None => None,
        };
        let mut answer = json!({ "name": name, "deployed": false });
        // One that was acted upon is not acted upon again, whatever came of the preview.
        match (of_preview, own) {
            (Some(Err(problem)), Some(Ok(done))) => {
                log::warn!("a webhook of {name}, its preview: {}", problem.detail());
                answer = done;
            }
            (of_preview, own) => {
                for done in [of_preview, own].into_iter().flatten() {
                    answer = done?;
                }
            }
        }
        acted_upon(&name, turn).await;
        Ok(HttpResponse::Accepted().json(answer))
    };
    actix_rt::spawn(done).await.map_err(|_| stopping())?
}

/// What is known of an application. The secret is `None` where it has no webhook; all is, where there is no application.
#[derive(Default)]
struct Known {
    secret: Option<Secret>,
    path: Option<std::path::PathBuf>,
    repo: Option<crate::document::config::Repo>,
}

async fn known(state: &ApiState, name: &str) -> Result<Known, Problem> {
    if state::app_name(name).is_err() {
        return Ok(Known::default());
    }
    let view = match state.inspect(name).await {
        Ok(view) => view,
        Err(problem) if problem.is_not_found() => return Ok(Known::default()),
        Err(problem) => return Err(problem),
    };
    let path = view.dirs.hook();
    let own = path.clone();
    let secret = web::block(move || Hooks::secret(&own)).await;
    Ok(Known {
        secret: secret.map_err(|_| stopping())??,
        path: Some(path),
        repo: Some(view.repo),
    })
}

/// What came of it is on disk: only now the delivery must not come again.
async fn acted_upon(name: &str, turn: Turn) {
    if let Ok(Err(error)) = web::block(move || turn.done()).await {
        log::warn!("{name}: webhook: {error}: a repeated delivery will deploy again");
    }
}

async fn deploy(state: &ApiState, name: &str) -> Result<Value, Problem> {
    let redeploy = Act(Action::Redeploy { use_cache: true }, By::webhook());
    let deployment = match state.ask_app(name, redeploy).await?? {
        Accepted::Underway(ticket) => ticket.deployment,
        Accepted::Already => None,
    };
    Ok(json!({ "name": name, "deployed": true, "deployment": deployment }))
}

/// The answer to a delivery that has no effect: the service shows it to its user.
fn left(name: &str, why: &str) -> HttpResponse {
    HttpResponse::Ok().json(json!({ "name": name, "deployed": false, "reason": why }))
}

fn stopping() -> Problem {
    Problem::unavailable("The server is being stopped.")
}

fn refused(refusal: Refusal) -> Problem {
    let status = match refusal {
        Refusal::Unsigned | Refusal::Malformed(_) => StatusCode::UNAUTHORIZED,
        Refusal::Stale | Refusal::Wrong => StatusCode::FORBIDDEN,
    };
    let text = refusal.to_string();
    let detail = text[..1].to_uppercase() + &text[1..] + ".";
    let problem = Problem::new(status, detail);
    match status {
        // RFC 9110 §15.5.2 wants a challenge; there is no scheme for what services sign with.
        StatusCode::UNAUTHORIZED => problem.with_header(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Signature realm=\"procserver\""),
        ),
        _ => problem,
    }
}

impl From<EventError> for Problem {
    fn from(error: EventError) -> Self {
        let status = match &error {
            EventError::Type(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            EventError::NotJson(_) | EventError::NoPayload => StatusCode::BAD_REQUEST,
            EventError::NoKind | EventError::NoReference => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Self::new(status, format!("The delivery is of no use: {error}."))
    }
}
