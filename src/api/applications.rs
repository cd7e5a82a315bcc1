//! `/applications` and `/applications/A`: list, add, show, replace, patch, remove.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix::dev::ToEnvelope;
use actix::{Actor, Handler, Message};
use actix_web::http::StatusCode;
use actix_web::web::{self, Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use jiff::Timestamp;
use serde_json::Value;

use super::app_url::Called;
use super::body;
use super::comments;
use super::orphans;
use super::outcome::{self, Begun};
use super::overlaps;
use super::precondition::{self, Precondition};
use super::problem::Problem;
use super::query::Query;
use super::state::{ApiState, app_name};
use crate::account::{Account, PER_APP};
use crate::app::apps::{Apps, AppsError, Create, List, Patch, Remove, Replace, TakeTurn};
use crate::app::deployer::Accepted;
use crate::document::config::{AppConfig, FieldError};
use crate::document::merge_patch::merge_patch;
use crate::document::name::AppName;
use crate::process::usage;
use crate::settings::default_user::DefaultUser;

/// How often a patch is applied anew because somebody edited the file of the document at the same time.
const PATCH_ATTEMPTS: u32 = 50;
/// An edited document reaches its app soon.
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(20);

/// `GET /applications`, and with `?orphans=true` the directories that are left of former ones.
pub(super) async fn list(
    request: HttpRequest,
    state: Data<ApiState>,
) -> Result<HttpResponse, Problem> {
    if Query::read(&request, &["orphans"])?.flag("orphans")? == Some(true) {
        return orphans::list(&state).await;
    }
    let mut apps = state.ask_apps(List).await?;
    let pids: Vec<u32> = apps.iter().flat_map(|app| app.pids.clone()).collect();
    let used = match pids.is_empty() {
        true => HashMap::new(),
        false => web::block(move || usage::of_sessions(&pids))
            .await
            .unwrap_or_default(),
    };
    let certificates = Arc::clone(&state.certificates.certificates.borrow());
    let has_certificate = |host: &str| certificates.has_valid(host, Timestamp::now);
    let called = Called::by(&request, &has_certificate);
    for app in &mut apps {
        let own = app.pids.iter().filter_map(|pid| used.get(pid));
        app.memory_bytes = own.map(|usage| usage.memory_bytes).sum();
        app.url = called.url(&app.name, &app.reach);
    }
    Ok(HttpResponse::Ok().json(apps))
}

/// `POST /applications`.
pub(super) async fn create(
    request: HttpRequest,
    state: Data<ApiState>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let document = body::required_document(&request, payload).await?;
    let config = checked(document, None, &state).await?;
    let name = config.name.clone();
    let notes = overlaps(&config, &state);
    let asked = ask(state.clone(), Create(config));
    let asked = async { Ok(asked.await?.noting(notes)) };
    outcome::of(&request, &state, name.as_str(), StatusCode::CREATED, asked).await
}

/// `GET /applications/A`: the document, as PUT takes it.
pub(super) async fn show(
    state: Data<ApiState>,
    name: Path<String>,
) -> Result<HttpResponse, Problem> {
    let document = state.inspect(&name).await?.document;
    let etag = precondition::etag(&document);
    Ok(HttpResponse::Ok().insert_header(etag).json(document))
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
    let precondition = Precondition::of(&request);
    let config = checked(document, None, &state).await?;
    let (own, app) = (state.clone(), name.clone());
    let work = async move {
        let mut notes = comments::lost(&own, &app).await;
        notes.extend(overlaps(&config, &own));
        let base = precondition.base(&own, &app).await?;
        let answer = own.ask_apps(Replace { base, config }).await?;
        Ok(precondition::outcome(answer)?.noting(notes))
    };
    outcome::of(&request, &state, name.as_str(), StatusCode::OK, work).await
}

fn overlaps(config: &AppConfig, state: &ApiState) -> Vec<String> {
    overlaps::told(config, &state.routing.table.borrow())
}

/// Asks Apps for something that takes time.
async fn ask<M>(state: Data<ApiState>, message: M) -> Result<Begun, Problem>
where
    M: Message<Result = Result<Accepted, AppsError>> + Send + 'static,
    Apps: Handler<M>,
    <Apps as Actor>::Context: ToEnvelope<Apps, M>,
{
    Ok(state.ask_apps(message).await??.into())
}

/// `PATCH /applications/A`: a JSON merge patch (RFC 7396). Fields that it does not name stay; the App does the least
/// work.
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
    let precondition = Precondition::of(&request);
    let work = apply(state.clone(), name.clone(), precondition, patch);
    outcome::of(&request, &state, name.as_str(), StatusCode::OK, work).await
}

async fn apply(
    state: Data<ApiState>,
    name: AppName,
    precondition: Precondition,
    patch: Value,
) -> Result<Begun, Problem> {
    for _ in 0..PATCH_ATTEMPTS {
        // While it holds the turn, nobody else changes the document through the API.
        let turn = state.ask_apps(TakeTurn(name.clone())).await??;
        let base = state.inspect(name.as_str()).await?.document;
        precondition.check(&base, &name)?;
        let document = named(merge_patch(base.clone(), patch.clone()), &name)?;
        if document == base {
            return Ok(Begun::unchanged());
        }
        let config = checked(document, Some(&base), &state).await?;
        if config.document == base {
            return Ok(Begun::unchanged());
        }
        let mut notes = comments::lost(&state, &name).await;
        let is_renamed = ["hosts", "domain"]
            .iter()
            .any(|field| base[*field] != config.document[*field]);
        if is_renamed {
            notes.extend(overlaps(&config, &state));
        }
        match state.ask_apps(Patch { turn, base, config }).await? {
            Err(AppsError::Stale(_)) => actix_rt::time::sleep(BETWEEN_ATTEMPTS).await,
            answer => return Ok(Begun::from(answer?).noting(notes)),
        }
    }
    Err(AppsError::Stale(name).into())
}

/// `DELETE /applications/A`, with `?keep=storage`, or with `?orphan=true` for what is left of a former one.
pub(super) async fn remove(
    request: HttpRequest,
    state: Data<ApiState>,
    name: Path<String>,
) -> Result<HttpResponse, Problem> {
    let query = Query::read(&request, &["keep", "orphan"])?;
    let keep = query.parse("keep", |what| match what {
        "storage" => Ok(true),
        _ => Err("must be \"storage\", or absent to remove everything"),
    })?;
    let name = app_name(&name)?;
    if query.flag("orphan")? == Some(true) {
        return orphans::remove(&state, &name).await;
    }
    let precondition = Precondition::of(&request);
    let (own, app) = (state.clone(), name.clone());
    let work = async move {
        let message = Remove {
            name: app.to_string(),
            base: precondition.base(&own, &app).await?,
            keep_storage: keep.unwrap_or(false),
        };
        precondition::outcome(own.ask_apps(message).await?)
    };
    outcome::of(&request, &state, name.as_str(), StatusCode::OK, work).await
}

/// Returns `document` with the name of the path. Its own name may be absent, or must be the same.
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

/// Checks the document by its own rules, then by this machine's accounts.
async fn checked(
    document: Value,
    base: Option<&Value>,
    state: &ApiState,
) -> Result<AppConfig, Problem> {
    let config = AppConfig::from_document(document, &state.rules)?;
    check_env(&config, base)?;
    if state.can_switch {
        check_account(&config, state).await?;
    }
    Ok(config)
}

/// Refuses variables that would not do what they say. Those of `base` may stay, so that the rest of the document can be
/// changed.
fn check_env(config: &AppConfig, base: Option<&Value>) -> Result<(), Problem> {
    let mut errors = Vec::new();
    for (name, value) in &config.env {
        let before = base.and_then(|base| base["env"][name].as_str());
        let why = if name.starts_with("PROCSERVER_") {
            "is one of the names that the server gives processes itself: choose one that does not begin with PROCSERVER_"
        } else if name == "PATH" && value.contains('$') {
            "is taken as it is written, \"$\" is not expanded: write the directories out, as in \"/opt/tool/bin:/usr/local/bin:/usr/bin:/bin\", or set it in the Procfile: web: PATH=$HOME/bin:$PATH ./serve"
        } else {
            continue;
        };
        if before != Some(value) {
            errors.push(FieldError {
                pointer: format!("/env/{name}"),
                detail: why.to_owned(),
            });
        }
    }
    match errors.is_empty() {
        true => Ok(()),
        false => Err(Problem::invalid(&errors)),
    }
}

async fn check_account(config: &AppConfig, state: &ApiState) -> Result<(), Problem> {
    let default = match &state.default_user {
        DefaultUser::PerApp { .. } => PER_APP.to_owned(),
        DefaultUser::Named(user) => user.clone(),
    };
    let user = config.user.clone().unwrap_or(default);
    let group = config.group.clone();
    // NSS may ask a network: not on this thread.
    let allow_root = state.rules.allow_root_apps;
    let look_up = move || {
        if user == PER_APP {
            // It is made with the first release.
            let check = |group: String| Account::check_group(&group, allow_root);
            return group.map_or(Ok(()), check);
        }
        let account = Account::look_up(&user, group.as_deref())?;
        if !allow_root {
            account.is_not_root()?;
        }
        Ok(())
    };
    let found = web::block(look_up)
        .await
        .map_err(|_| Problem::unavailable("The server is being stopped."))?;
    let names_user = config.user.is_some();
    found.map_err(|error| Problem::of_account(&error, names_user))
}

fn wrong_field(pointer: &str, detail: String) -> Problem {
    let pointer = pointer.to_owned();
    Problem::invalid(&[FieldError { pointer, detail }])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::document::config::Rules;

    #[test]
    fn variables_that_would_not_do_what_they_say_are_refused_where_they_are_new() {
        let config = |env: serde_json::Value| {
            let document = json!({"name": "a", "repo": {"url": "https://h/a.git"}, "env": env});
            AppConfig::from_document(document, &Rules::default()).unwrap()
        };
        let old = json!({"env": {"PROCSERVER_X": "1"}});
        for (env, pointer) in [
            (json!({"PROCSERVER_X": "1"}), "/env/PROCSERVER_X"),
            (json!({"PATH": "$HOME/bin:$PATH"}), "/env/PATH"),
        ] {
            let refused = check_env(&config(env), None).unwrap_err().to_string();
            assert!(refused.contains(pointer), "{refused}");
        }
        assert_eq!(check_env(&config(old["env"].clone()), Some(&old)), Ok(()));
        assert_eq!(
            check_env(&config(json!({"PATH": "/bin", "A": "$B"})), None),
            Ok(())
        );
    }

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
            checked(document, None, state)
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
        state.default_user = DefaultUser::Named("root".into());
        assert!(check(&state, "strategy", "rolling").await.is_err());
        state.can_switch = false;
        assert_eq!(check(&state, "user", "no-such-user").await, Ok(()));
    }
}
