//! `/applications/A/hook`: where its git service sends webhooks, and the secret by which it signs them.

use actix_web::web::{self, Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::app_url::Called;
use super::body;
use super::caller::Caller;
use super::problem::Problem;
use super::state::ApiState;
use crate::app::supervisor::View;
use crate::document::config::FieldError;
use crate::document::mask::DOTS;
use crate::hooks::secret::Secret;
use crate::hooks::store::Hooks;
use crate::router::reach::ApiPlace;

/// `GET`: the secret is `null` where there is none yet.
pub(super) async fn show(
    request: HttpRequest,
    caller: Caller,
    state: Data<ApiState>,
    name: Path<String>,
) -> Result<HttpResponse, Problem> {
    let view = state.inspect(&name).await?;
    let path = view.dirs.hook();
    let secret = web::block(move || Hooks::secret(&path)).await;
    let secret = secret.map_err(|_| stopping())??;
    let secret = secret.map(|secret| match caller.sees_secrets() {
        true => secret.text().to_owned(),
        false => DOTS.to_owned(),
    });
    Ok(answer(&request, &state, &name, &view, json!(secret)))
}

/// `POST {}` makes a secret where there is none, `{new: true}` a new one in any case, `{secret: "…"}` takes this one.
pub(super) async fn make(
    request: HttpRequest,
    caller: Caller,
    state: Data<ApiState>,
    name: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let wish = Wish::read(body::document(&request, payload).await?)?;
    let view = state.inspect(&name).await?;
    let (hooks, path) = (state.hooks.clone(), view.dirs.hook());
    let is_new = !matches!(wish, Wish::Any);
    let made = web::block(move || match wish {
        Wish::Any => hooks.secret_or_new(&path),
        Wish::New => hooks.renew(&path, None),
        Wish::This(secret) => hooks.renew(&path, Some(secret)),
    });
    let secret = made.await.map_err(|_| stopping())??;
    if is_new {
        log::info!("{name}: the secret of the webhook was replaced by {caller}");
    }
    let secret = json!(secret.text());
    Ok(answer(&request, &state, &name, &view, secret))
}

enum Wish {
    /// One that is there will do.
    Any,
    New,
    This(Secret),
}

impl Wish {
    fn read(document: Option<Value>) -> Result<Self, Problem> {
        let wrong = |pointer: &str, detail: String| {
            let pointer = pointer.to_owned();
            Err(Problem::invalid(&[FieldError { pointer, detail }]))
        };
        let fields = match document {
            None => return Ok(Self::Any),
            Some(Value::Object(fields)) => fields,
            Some(_) => return wrong("", "must be an object, such as {new: true}".to_owned()),
        };
        let unknown = |field: &&String| !matches!(field.as_str(), "new" | "secret");
        if let Some(unknown) = fields.keys().find(unknown) {
            let shown: String = unknown.chars().take(80).collect();
            let detail = format!("there is no field \"{shown}\" here: known are new and secret");
            return wrong("", detail);
        }
        match (fields.get("new"), fields.get("secret")) {
            (None | Some(Value::Bool(false)), None) => Ok(Self::Any),
            (Some(Value::Bool(true)), None) => Ok(Self::New),
            (None, Some(Value::String(text))) => match Secret::parse(text) {
                Ok(secret) => Ok(Self::This(secret)),
                Err(error) => wrong("/secret", error.to_string()),
            },
            (None, Some(_)) => wrong("/secret", "must be a text".to_owned()),
            (Some(_), Some(_)) => wrong("/new", "cannot be there beside secret".to_owned()),
            (Some(_), None) => wrong("/new", "must be true or false".to_owned()),
        }
    }
}

fn answer(
    request: &HttpRequest,
    state: &ApiState,
    name: &str,
    view: &View,
    secret: Value,
) -> HttpResponse {
    let reach = &state.routing.reach;
    let certificates = state.certificates.certificates.borrow().clone();
    let has_certificate = |host: &str| certificates.has_valid(host, Timestamp::now);
    let called = Called::by(request, &has_certificate);
    let path = format!("/hooks/{name}");
    let api_host = reach.api_hosts.first().map(String::as_str);
    // Where a service of another machine finds the API.
    let url = match (reach.api, api_host) {
        (ApiPlace::Socket, _) | (ApiPlace::ApiHosts, None) => None,
        (_, host) => Some(called.api(&path, host, &view.summary.reach)),
    };
    HttpResponse::Ok().json(json!({
        "name": name,
        "url": url,
        "path": path,
        "secret": secret,
    }))
}

fn stopping() -> Problem {
    Problem::unavailable("The server is being stopped.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_for_a_new_secret_for_this_one_or_for_any() {
        let read = |document: Value| Wish::read(Some(document));
        assert!(matches!(Wish::read(None), Ok(Wish::Any)));
        assert!(matches!(read(json!({})), Ok(Wish::Any)));
        assert!(matches!(read(json!({"new": true})), Ok(Wish::New)));
        let own = json!({"secret": "chosen-by-somebody"});
        assert!(matches!(read(own), Ok(Wish::This(_))));
        for wrong in [
            json!([]),
            json!({"new": 1}),
            json!({"secret": "short"}),
            json!({"secret": null}),
            json!({"new": true, "secret": "chosen-by-somebody"}),
            json!({"nwe": true}),
        ] {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
