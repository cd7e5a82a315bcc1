//! `POST /applications/A/start`, `stop`, `restart`, `redeploy`, `rollback`.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::Value;

use super::caller::Caller;
use super::problem::Problem;
use super::state::ApiState;
use super::{body, outcome};
use crate::app::deployer::Action;
use crate::app::supervisor::Act;
use crate::document::config::FieldError;

pub(super) async fn act(
    request: HttpRequest,
    caller: Caller,
    state: Data<ApiState>,
    path: Path<(String, String)>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let (name, verb) = path.into_inner();
    let action = match verb.as_str() {
        "start" => Action::Start,
        "stop" => Action::Stop,
        "restart" => Action::Restart,
        "redeploy" => Action::Redeploy {
            use_cache: uses_cache(body::document(&request, payload).await?)?,
        },
        _ => Action::Rollback(wanted_release(body::document(&request, payload).await?)?),
    };
    let (own, app) = (state.clone(), name.clone());
    let work = async move { Ok(own.ask_app(&app, Act(action, caller.by())).await??.into()) };
    outcome::of(&request, &state, &name, StatusCode::OK, work).await
}

/// Reads `{release?}`.
fn wanted_release(document: Option<Value>) -> Result<Option<u64>, Problem> {
    match only_field(document, "release", "{release: 3}")? {
        None => Ok(None),
        Some(release) => match release.as_u64() {
            Some(id) => Ok(Some(id)),
            None => wrong("/release", "must be the number of a kept release"),
        },
    }
}

/// Reads `{cache?}`.
fn uses_cache(document: Option<Value>) -> Result<bool, Problem> {
    match only_field(document, "cache", "{cache: false}")? {
        None => Ok(true),
        Some(cache) => match cache.as_bool() {
            Some(cache) => Ok(cache),
            None => wrong("/cache", "must be true or false"),
        },
    }
}

/// The value of the only field that there may be.
fn only_field(
    document: Option<Value>,
    name: &str,
    example: &str,
) -> Result<Option<Value>, Problem> {
    let mut fields = match document {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(fields)) => fields,
        Some(_) => {
            let detail = format!("must be an object, such as {example}, or nothing");
            return wrong("", &detail);
        }
    };
    if let Some(unknown) = fields.keys().find(|field| *field != name) {
        let shown: String = unknown.chars().take(80).collect();
        let pointer = format!("/{}", shown.replace('~', "~0").replace('/', "~1"));
        let detail = format!("there is no such field here: known is {name}");
        return wrong(&pointer, &detail);
    }
    Ok(fields.shift_remove(name))
}

fn wrong<T>(pointer: &str, detail: &str) -> Result<T, Problem> {
    Err(Problem::invalid(&[FieldError {
        pointer: pointer.to_owned(),
        detail: detail.to_owned(),
    }]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_rollback_names_a_release_or_none() {
        assert_eq!(wanted_release(None), Ok(None));
        assert_eq!(wanted_release(Some(json!({}))), Ok(None));
        assert_eq!(wanted_release(Some(json!({"release": 3}))), Ok(Some(3)));
        for wrong in [
            json!(3),
            json!({"release": "3"}),
            json!({"release": -1}),
            json!({"relase": 3}),
        ] {
            assert!(wanted_release(Some(wrong.clone())).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_redeploy_uses_caches_unless_it_is_told_not_to() {
        assert_eq!(uses_cache(None), Ok(true));
        // As clients write that they have nothing to say.
        assert_eq!(uses_cache(Some(Value::Null)), Ok(true));
        assert_eq!(uses_cache(Some(json!({"cache": false}))), Ok(false));
        for wrong in [json!(false), json!({"cache": 0}), json!({"cahce": false})] {
            assert!(uses_cache(Some(wrong.clone())).is_err(), "{wrong}");
        }
    }
}
