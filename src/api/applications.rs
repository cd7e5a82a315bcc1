//! `/applications` and `/applications/A`: list, add, show, replace, patch, remove.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::{self, Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::app_url::Called;
use super::audit;
use super::body;
use super::caller::Caller;
use super::comments;
use super::engine_changes;
use super::needs;
use super::orphans;
use super::outcome::{self, Begun};
use super::overlaps;
use super::precondition::{self, Precondition};
use super::previews_of;
use super::problem::Problem;
use super::query::Query;
use super::state::{ApiState, app_name};
use super::whole_machine;
use crate::account::{Account, AccountError, PER_APP};
use crate::app::apps::{AppsError, Create, List, Patch, Remove, Replace, TakeTurn};
use crate::app::status::Summary;
use crate::document::config::{AppConfig, FieldError};
use crate::document::mask::{self, DOTS};
use crate::document::merge_patch::merge_patch;
use crate::document::name::{AppName, NameError};
use crate::process::usage;
use crate::settings::default_user::DefaultUser;
use crate::ssh_keys::user::is_of_ssh;
use crate::tokens::Scope;

/// How often a patch is applied anew because somebody edited the file of the document at the same time.
const PATCH_ATTEMPTS: u32 = 50;
/// An edited document reaches its app soon.
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(20);

/// `GET /applications`, and with `?orphans=true` the directories that are left of former ones.
pub(super) async fn list(
    request: HttpRequest,
    caller: Caller,
    state: Data<ApiState>,
) -> Result<HttpResponse, Problem> {
    if Query::read(&request, &["orphans"])?.flag("orphans")? == Some(true) {
        return orphans::list(&state, &caller).await;
    }
    let mut apps = state.ask_apps(List).await?;
    apps.retain(|app| caller.sees(&app.name));
    if !caller.sees_secrets() {
        mask_failures(&mut apps, &state).await;
    }
    let pids: Vec<u32> = apps.iter().flat_map(|app| app.pids.clone()).collect();
    let used = match pids.is_empty() {
        true => HashMap::new(),
        false => web::block(move || usage::of_sessions(&pids))
            .await
            .unwrap_or_default(),
    };
    let certificates = Arc::clone(&state.certificates.certificates.borrow());
    let has_certificate = |host: &str| certificates.has_valid(host, Timestamp::now);
    let called = Called::by(&request, &has_certificate).knowing(&state.routing.reach);
    for app in &mut apps {
        let own = app.pids.iter().filter_map(|pid| used.get(pid));
        let own = own.map(|usage| usage.memory_bytes);
        let on_swarm = app.tasks.iter().filter_map(|task| state.meters.of(task));
        app.memory_bytes = own.chain(on_swarm.map(|usage| usage.memory_bytes)).sum();
        app.url = called.url(&app.name, &app.reach);
    }
    Ok(HttpResponse::Ok().json(apps))
}

/// Hides what the reason of a failure may tell of secrets; all of it where these are not known.
async fn mask_failures(apps: &mut [Summary], state: &ApiState) {
    for app in apps {
        if let Some(failure) = &mut app.last_failure {
            let mask = state.mask_of(&app.name).await;
            failure.reason = mask.map_or(DOTS.to_owned(), |mask| mask.text(&failure.reason));
        }
    }
}

/// `POST /applications`.
pub(super) async fn create(
    request: HttpRequest,
    caller: Caller,
    state: Data<ApiState>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let document = body::required_document(&request, payload).await?;
    let config = checked(document, None, &state).await?;
    let name = config.name.clone();
    audit::is_about(&request, name.as_str());
    let reserved = |error: NameError| wrong_field("/name", error.to_string());
    name.check_new().map_err(reserved)?;
    if !caller.sees(name.as_str()) {
        let detail = format!(
            "Your token is not for an application \"{name}\", whether there is one or not."
        );
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    whole_machine::check(&caller, &state.host_name, &config.document, &Value::Null)?;
    same_preview(&config.document, &Value::Null)?;
    let notes = overlaps(&config, &state, &caller);
    let own = state.clone();
    let asked = async move {
        let answer = own.ask_apps(Create(config, caller.by())).await?;
        let accepted = answer.map_err(|error| told(error, &caller))?;
        Ok(Begun::from(accepted).noting(notes))
    };
    outcome::of(&request, &state, name.as_str(), StatusCode::CREATED, asked).await
}

/// `GET /applications/A`: the document, as PUT takes it.
pub(super) async fn show(
    caller: Caller,
    state: Data<ApiState>,
    name: Path<String>,
) -> Result<HttpResponse, Problem> {
    let document = state.inspect(&name).await?.document;
    let etag = precondition::etag(&document, &caller);
    Ok(HttpResponse::Ok().insert_header(etag).json(document))
}

/// `PUT /applications/A`.
pub(super) async fn replace(
    request: HttpRequest,
    caller: Caller,
    state: Data<ApiState>,
    name: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let name = app_name(&name)?;
    let document = named(body::required_document(&request, payload).await?, &name)?;
    let precondition = Precondition::of(&request, &caller);
    let config = checked(document, None, &state).await?;
    let (own, app) = (state.clone(), name.clone());
    let work = async move {
        let mut notes = comments::lost(&own, &app).await;
        notes.extend(overlaps(&config, &own, &caller));
        let mut base = precondition.base(&own, &app).await?;
        let present = own.inspect(app.as_str()).await?.document;
        same_preview(&config.document, &present)?;
        notes.extend(engine_changes::told(&present, &config));
        if caller.is_bound() {
            // What was looked at is what is replaced.
            whole_machine::check(&caller, &own.host_name, &config.document, &present)?;
            base.get_or_insert(present);
        }
        let answer = own
            .ask_apps(Replace {
                base,
                config,
                by: caller.by(),
            })
            .await?;
        let answer = answer.map_err(|error| without_owner(error, &caller));
        Ok(precondition::outcome(answer)?.noting(notes))
    };
    outcome::of(&request, &state, name.as_str(), StatusCode::OK, work).await
}

/// What is to be said of names and patterns of other apps, to those who see all of them.
fn overlaps(config: &AppConfig, state: &ApiState, caller: &Caller) -> Vec<String> {
    match caller.is_bound() {
        true => Vec::new(),
        false => overlaps::told(config, &state.routing.table.borrow()),
    }
}

/// `PATCH /applications/A`: a JSON merge patch (RFC 7396). Fields that it does not name stay; the App does the least
/// work.
pub(super) async fn patch(
    request: HttpRequest,
    caller: Caller,
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
    let is_of_scale = |fields: &Map<String, Value>| fields.keys().all(|field| field == "scale");
    if !patch.as_object().is_some_and(is_of_scale) {
        needs::suffices(&caller, Scope::Admin)?;
    }
    let precondition = Precondition::of(&request, &caller);
    let work = apply(state.clone(), caller, name.clone(), precondition, patch);
    outcome::of(&request, &state, name.as_str(), StatusCode::OK, work).await
}

async fn apply(
    state: Data<ApiState>,
    caller: Caller,
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
        whole_machine::check(&caller, &state.host_name, &config.document, &base)?;
        same_preview(&config.document, &base)?;
        let mut notes = comments::lost(&state, &name).await;
        let is_renamed = ["hosts", "domain"]
            .iter()
            .any(|field| base[*field] != config.document[*field]);
        if is_renamed {
            notes.extend(overlaps(&config, &state, &caller));
        }
        notes.extend(engine_changes::told(&base, &config));
        let patch = Patch {
            turn,
            base,
            config,
            by: caller.by(),
        };
        match state.ask_apps(patch).await? {
            Err(AppsError::Stale(_)) => actix_rt::time::sleep(BETWEEN_ATTEMPTS).await,
            Err(error) => return Err(told(error, &caller)),
            Ok(accepted) => return Ok(Begun::from(accepted).noting(notes)),
        }
    }
    Err(AppsError::Stale(name).into())
}

/// Refuses to make a preview of what is none, or the other way round: a preview goes with its application.
fn same_preview(document: &Value, base: &Value) -> Result<(), Problem> {
    let of = |document: &Value| document["preview"]["of"].clone();
    if of(document) == of(base) {
        return Ok(());
    }
    let detail =
        "is set by the server when it makes a preview, and stays: procserver preview NAME BRANCH";
    Err(wrong_field("/preview/of", detail.to_owned()))
}

/// The answer to a refused change.
pub(super) fn told(error: AppsError, caller: &Caller) -> Problem {
    without_owner(error, caller).into()
}

/// Leaves out which application a host or port belongs to, for those who do not see that one.
fn without_owner(error: AppsError, caller: &Caller) -> AppsError {
    let (what, owner) = match &error {
        AppsError::TooManyPreviews { app, previews } => {
            let seen = previews.iter().filter(|name| caller.sees(name.as_str()));
            return AppsError::TooManyPreviews {
                app: app.clone(),
                previews: seen.cloned().collect(),
            };
        }
        AppsError::HostOfApp { host, owner } => (format!("the host \"{host}\""), owner),
        AppsError::PortOfApp { port, owner } => (format!("port {port}"), owner),
        _ => return error,
    };
    match caller.sees(owner.as_str()) {
        true => error,
        false => AppsError::Taken(what),
    }
}

/// `DELETE /applications/A`, with `?keep=storage`, or with `?orphan=true` for what is left of a former one.
pub(super) async fn remove(
    request: HttpRequest,
    caller: Caller,
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
    let precondition = Precondition::of(&request, &caller);
    let (own, app) = (state.clone(), name.clone());
    let work = async move {
        own.uploads.forget(app.as_str());
        let message = Remove {
            name: app.to_string(),
            base: precondition.base(&own, &app).await?,
            keep_storage: keep.unwrap_or(false),
            by: caller.by(),
        };
        let previews = previews_of::seen_by(&caller, &own, &app).await?;
        let begun = precondition::outcome(own.ask_apps(message).await?)?;
        Ok(match previews.is_empty() {
            true => begun,
            false => begun.noting(vec![format!(
                "its previews are removed with it: {}",
                previews_of::names(&previews)
            )]),
        })
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
pub(super) async fn checked(
    document: Value,
    base: Option<&Value>,
    state: &ApiState,
) -> Result<AppConfig, Problem> {
    let dotted = mask::dotted(&document, base);
    if !dotted.is_empty() {
        return Err(dotted.into());
    }
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
    let home_of_ssh = state.ssh_keys.place().home();
    let look_up = move || {
        if user == PER_APP {
            // It is made with the first release.
            let check = |group: String| Account::check_group(&group, allow_root);
            return group.map_or(Ok(()), check);
        }
        let account = Account::look_up(&user, group.as_deref())?;
        if is_of_ssh(&user, &home_of_ssh) {
            return Err(AccountError::OfSsh(user));
        }
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
