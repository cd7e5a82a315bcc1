//! `/applications/A/previews`: branches of an application beside it.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

use super::applications::{checked, told};
use super::caller::Caller;
use super::outcome::{self, Begun};
use super::problem::Problem;
use super::state::{ApiState, app_name};
use super::{audit, body, previews_of, whole_machine};
use crate::app::apps::AppsError;
use crate::app::apps::{Create, Remove, Replace};
use crate::app::status::Summary;
use crate::app::supervisor::OpenBranches;
use crate::document::config::{AppConfig, FieldError, Reference};
use crate::document::name::AppName;
use crate::document::preview::{Previews, name_of};
use crate::document::preview_document::document_of;
use crate::document::preview_request::PreviewRequest;
use crate::events::{By, Report};
use crate::hooks::event::Push;

/// `GET /applications/A/previews`.
pub(super) async fn list(
    caller: Caller,
    state: Data<ApiState>,
    name: Path<String>,
) -> Result<HttpResponse, Problem> {
    // 404 where there is no such application.
    state.inspect(&name).await?;
    let all = previews_of::seen_by(&caller, &state, &app_name(&name)?).await?;
    let shown: Vec<Value> = all.iter().map(shown).collect();
    Ok(HttpResponse::Ok().json(shown))
}

fn shown(summary: &Summary) -> Value {
    let preview = summary.preview.as_ref();
    json!({
        "name": summary.name,
        "branch": preview.and_then(|preview| preview.branch.as_deref()),
        "state": summary.state,
        "commit": summary.commit,
        "host": summary.reach.host,
        "expires_at": preview.and_then(|preview| preview.expires_at),
    })
}

/// `POST /applications/A/previews`: makes one, or makes it anew of the application's present document.
pub(super) async fn make(
    request: HttpRequest,
    caller: Caller,
    state: Data<ApiState>,
    name: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let asked = PreviewRequest::read(&body::required_document(&request, payload).await?)?;
    let app = app_name(&name)?;
    let document = state.inspect(app.as_str()).await?.document;
    let config = AppConfig::from_document(document, &state.rules)?;
    check_app(&config, &asked.branch)?;
    let preview = name_of(&app, &asked.branch).map_err(|why| wrong_branch(&why))?;
    if !caller.sees(preview.as_str()) {
        let detail = format!(
            "The preview would be the application \"{preview}\", for which your token is not."
        );
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    audit::is_about(&request, preview.as_str());
    let siblings = previews_of::of(&state, &app).await?;
    let present = siblings.iter().find(|one| one.name == preview.as_str());
    present.map_or(Ok(()), |present| same_branch(present, &asked.branch))?;
    let config = config_of(&asked, config, &preview, &state, &caller).await?;
    refuse_missing(&state, &app, &asked.branch).await?;
    let own = state.clone();
    let is_new = present.is_none();
    let work = async move {
        let by = caller.by();
        let accepted = match is_new {
            true => own.ask_apps(Create(config, by)).await?,
            false => {
                let base = None;
                own.ask_apps(Replace { base, config, by }).await?
            }
        };
        accepted
            .map(Begun::from)
            .map_err(|error| told(error, &caller))
    };
    let done = match is_new {
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    };
    outcome::of(&request, &state, preview.as_str(), done, work).await
}

/// Two branches may have one name.
fn same_branch(present: &Summary, branch: &str) -> Result<(), Problem> {
    let preview = present.preview.as_ref();
    let of_branch = preview.and_then(|preview| preview.branch.as_deref());
    if of_branch == Some(branch) {
        return Ok(());
    }
    let (name, other) = (&present.name, of_branch.unwrap_or("another one"));
    Err(conflict(format!(
        "The preview \"{name}\" is of the branch {other}: remove it first, or rename one of the branches."
    )))
}

/// Refuses a branch that is not in the repository, where that can be asked in time: a preview of it could only fail.
async fn refuse_missing(state: &ApiState, app: &AppName, branch: &str) -> Result<(), Problem> {
    let Some(branches) = state.ask_app(app.as_str(), OpenBranches).await? else {
        return Ok(());
    };
    match branches.has(branch).await {
        Some(false) => Err(wrong_branch(
            "is not in the repository (repo.url): push it first",
        )),
        Some(true) | None => Ok(()),
    }
}

/// The checked document of a new preview of `app`.
async fn config_of(
    asked: &PreviewRequest,
    app: AppConfig,
    preview: &AppName,
    state: &ApiState,
    caller: &Caller,
) -> Result<AppConfig, Problem> {
    let expires = app.previews.as_ref().map(|previews| previews.expires);
    let expires = asked
        .expires
        .or(expires)
        .unwrap_or(Previews::default().expires);
    let document = document_of(&app, &asked.branch, preview, expires);
    // Only what it says beyond the application's document is the caller's.
    let mut base = app.document;
    base["preview"] = document["preview"].clone();
    let config = checked(document, None, state).await?;
    whole_machine::check(caller, &state.host_name, &config.document, &base)?;
    Ok(config)
}

fn check_app(config: &AppConfig, branch: &str) -> Result<(), Problem> {
    let app = &config.name;
    if let Some(preview) = &config.preview {
        return Err(conflict(format!(
            "\"{app}\" is a preview itself: make one of \"{}\".",
            preview.app
        )));
    }
    if config.repo.origin.url().is_none() {
        return Err(conflict(format!(
            "The code of \"{app}\" is pushed or uploaded to this server: previews are of branches of repo.url."
        )));
    }
    match &config.repo.reference {
        Reference::Branch(own) if own == branch => Err(wrong_branch(
            "is the branch that the application itself is of",
        )),
        _ => Ok(()),
    }
}

/// What a push means for the previews of an application: `None` if none is of its branch.
pub(super) async fn pushed(
    state: &ApiState,
    app: &str,
    push: &Push,
) -> Result<Option<Summary>, Problem> {
    let Some(branch) = push.reference.strip_prefix("refs/heads/") else {
        return Ok(None);
    };
    let is_of_branch = |one: &Summary| {
        let preview = one.preview.as_ref();
        preview.and_then(|preview| preview.branch.as_deref()) == Some(branch)
    };
    let all = previews_of::of(state, &app_name(app)?).await?;
    Ok(all.into_iter().find(is_of_branch))
}

/// Removes a preview whose branch is gone.
pub(super) async fn branch_is_gone(state: &ApiState, preview: &Summary) -> Result<Value, Problem> {
    let name = &preview.name;
    let remove = Remove {
        name: name.clone(),
        base: None,
        keep_storage: false,
        by: By::webhook(),
    };
    match state.ask_apps(remove).await? {
        Ok(_) => state.events.report(Report::PreviewRemoved {
            app: name.as_str().into(),
            why: "its branch is gone",
        }),
        // A service may tell it by two events.
        Err(AppsError::BeingRemoved(_) | AppsError::NoSuchApp(_)) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(json!({ "name": name, "deployed": false, "removed": true }))
}

fn conflict(detail: String) -> Problem {
    Problem::new(StatusCode::CONFLICT, detail)
}

fn wrong_branch(detail: &str) -> Problem {
    Problem::invalid(&[FieldError {
        pointer: "/branch".to_owned(),
        detail: detail.to_owned(),
    }])
}
