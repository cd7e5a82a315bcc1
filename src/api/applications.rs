//! `/applications` and `/applications/A`: list, add, show, replace, patch, remove.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::{self, Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::Value;

use super::body;
use super::outcome;
use super::problem::Problem;
use super::query::Query;
use super::state::{ApiState, app_name};
use crate::app::account::{Account, AccountError};
use crate::app::apps::{AppsError, Create, List, Patch, Remove, Replace, TakeTurn};
use crate::app::config::{AppConfig, FieldError};
use crate::app::merge_patch::merge_patch;
use crate::app::name::AppName;
use crate::app::supervisor::Accepted;

/// How often a patch is applied anew because somebody edited the file of the document at the same time.
const PATCH_ATTEMPTS: u32 = 50;
/// An edited document reaches its app soon.
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(20);

/// `GET /applications`.
pub(super) async fn list(state: Data<ApiState>) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(state.ask_apps(List).await?))
}

/// `POST /applications`.
pub(super) async fn create(
    request: HttpRequest,
    state: Data<ApiState>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let document = body::required_document(&request, payload).await?;
    let config = checked(document, &state).await?;
    let name = config.name.clone();
    let ticket = state.ask_apps(Create(config)).await??;
    outcome::answer(&request, &state, name.as_str(), ticket, StatusCode::CREATED).await
}

/// `GET /applications/A`: the document, as PUT takes it.
pub(super) async fn show(
    state: Data<ApiState>,
    name: Path<String>,
) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(state.inspect(&name).await?.document))
}

/// `PUT /applications/A`.
pub(super) async fn replace(
    request: HttpRequest,
    state: Data<ApiState>,
    name: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let name = app_name(&name)?;
    let document = named(body::required_document(&request, payload).await?, &name)?;
    let config = checked(document, &state).await?;
    let ticket = state.ask_apps(Replace(config)).await??;
    outcome::answer(&request, &state, name.as_str(), ticket, StatusCode::OK).await
}

/// `PATCH /applications/A`: a JSON merge patch (RFC 7396); what is not named stays, and as little as possible is done.
pub(super) async fn patch(
    request: HttpRequest,
    state: Data<ApiState>,
    name: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let name = app_name(&name)?;
    let patch = body::required_document(&request, payload).await?;
    if !patch.is_object() {
        let detail = "must be an object with the fields to change, null to remove one (RFC 7396)";
        return Err(wrong_field("", detail.to_owned()));
    }
    for _ in 0..PATCH_ATTEMPTS {
        // From the look at the document on, nobody else changes it through the API.
        let turn = state.ask_apps(TakeTurn(name.clone())).await??;
        let base = state.inspect(name.as_str()).await?.document;
        let document = named(merge_patch(base.clone(), patch.clone()), &name)?;
        if document == base {
            return Ok(outcome::unchanged(&state, name.as_str()).await);
        }
        let config = checked(document, &state).await?;
        match state.ask_apps(Patch { turn, base, config }).await? {
            Ok(Accepted::Already) => return Ok(outcome::already(&state, name.as_str()).await),
            Ok(Accepted::Underway(ticket)) => {
                return outcome::answer(&request, &state, name.as_str(), ticket, StatusCode::OK)
                    .await;
            }
            Err(AppsError::Stale(_)) => actix_rt::time::sleep(BETWEEN_ATTEMPTS).await,
            Err(error) => return Err(error.into()),
        }
    }
    Err(AppsError::Stale(name).into())
}

/// `DELETE /applications/A`, `?keep=storage`.
pub(super) async fn remove(
    request: HttpRequest,
    state: Data<ApiState>,
    name: Path<String>,
) -> Result<HttpResponse, Problem> {
    let keep = Query::read(&request, &["keep"])?.parse("keep", |what| match what {
        "storage" => Ok(true),
        _ => Err("must be \"storage\", or absent to remove everything"),
    })?;
    let name = app_name(&name)?;
    let message = Remove {
        name: name.to_string(),
        keep_storage: keep.unwrap_or(false),
    };
    let ticket = state.ask_apps(message).await??;
    outcome::answer(&request, &state, name.as_str(), ticket, StatusCode::OK).await
}

/// `document` with the name that the path gives: its own may be absent, and must else be the same.
fn named(mut document: Value, name: &AppName) -> Result<Value, Problem> {
    if let Value::Object(fields) = &mut document {
        match fields.get("name") {
            None => {
                fields.shift_insert(0, "name".to_owned(), name.as_str().into());
            }
            Some(given) if given == name.as_str() => {}
            Some(_) => {
                let detail = format!(
                    "must be \"{name}\" as in the path, or absent: an application keeps its name"
                );
                return Err(wrong_field("/name", detail));
            }
        }
    }
    Ok(document)
}

/// The document as true: by its own rules, then by this machine's accounts.
async fn checked(document: Value, state: &ApiState) -> Result<AppConfig, Problem> {
    let config = AppConfig::from_document(document, &state.rules)?;
    if state.can_switch {
        check_account(&config, state).await?;
    }
    Ok(config)
}

async fn check_account(config: &AppConfig, state: &ApiState) -> Result<(), Problem> {
    let user = config
        .user
        .clone()
        .unwrap_or_else(|| state.default_user.clone());
    let group = config.group.clone();
    // NSS may ask a network: not on this thread.
    let allow_root = state.rules.allow_root_apps;
    let look_up = move || {
        let account = Account::look_up(&user, group.as_deref())?;
        if !allow_root {
            account.is_not_root()?;
        }
        Ok(account)
    };
    let found = web::block(look_up)
        .await
        .map_err(|_| Problem::unavailable("The server is being stopped."))?;
    match found {
        Ok(_) => Ok(()),
        Err(error @ AccountError::NoGroup(_)) => Err(wrong_field("/group", error.to_string())),
        Err(error @ AccountError::NoUser(_)) if config.user.is_none() => {
            let detail = format!("is absent, and of the setting default_user: {error}");
            Err(wrong_field("/user", detail))
        }
        Err(error @ (AccountError::NoUser(_) | AccountError::Root(_))) => {
            Err(wrong_field("/user", error.to_string()))
        }
        Err(error @ AccountError::Lookup(..)) => Err(Problem::unavailable(&error.to_string())),
    }
}

fn wrong_field(pointer: &str, detail: String) -> Problem {
    let pointer = pointer.to_owned();
    Problem::invalid(&[FieldError { pointer, detail }])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_gets_the_name_of_its_path() {
        let name = AppName::parse("a").unwrap();
        let named = |document| named(document, &name);
        assert_eq!(
            named(json!({"repo": 1})),
            Ok(json!({"name": "a", "repo": 1}))
        );
        assert_eq!(named(json!({"name": "a"})), Ok(json!({"name": "a"})));
        assert!(named(json!({"name": "b"})).is_err() && named(json!({"name": null})).is_err());
    }

    #[actix_web::test]
    async fn an_account_must_exist_where_it_can_be_switched_to() {
        let mut state = ApiState::without_apps();
        state.can_switch = true;
        let check = async |state: &ApiState, field: &str, value: &str| {
            let mut document = json!({"name": "a", "repo": {"url": "https://h/a.git"}});
            document[field] = value.into();
            checked(document, state)
                .await
                .map(|_| ())
                .map_err(|problem| problem.to_string())
        };
        assert_eq!(check(&state, "user", "nobody").await, Ok(()));
        let no_user = check(&state, "user", "no-such-user").await.unwrap_err();
        assert!(
            no_user.contains("/user") && no_user.contains("useradd"),
            "{no_user}"
        );
        let no_group = check(&state, "group", "no-such-group").await.unwrap_err();
        assert!(no_group.contains("/group"), "{no_group}");
        state.default_user = "root".into();
        assert!(check(&state, "strategy", "rolling").await.is_err());
        state.can_switch = false;
        assert_eq!(check(&state, "user", "no-such-user").await, Ok(()));
    }
}
