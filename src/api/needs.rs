//! [`Needs`]: what a call asks of who makes it. Every route is declared with one.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{HttpMessage as _, ResponseError as _};

use super::caller::Caller;
use super::masking;
use super::problem::Problem;
use super::state::ApiState;
use crate::app::apps::AppsError;
use crate::document::mask::Mask;
use crate::tokens::Scope;

/// What a call asks of who makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// The least scope.
    pub scope: Scope,
    pub of: Of,
}

/// What a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// The application that the path names as `{name}`. One that a token is not for is 404, as one that is not there:
    /// nobody is told which names are taken.
    App,
    /// All of them: the resource leaves out those that a token is not for.
    Apps,
    /// The server: tokens for some applications are not for it.
    Server,
}

impl Needs {
    pub(super) const fn of_app(scope: Scope) -> Self {
        Self { scope, of: Of::App }
    }

    pub(super) const fn of_apps(scope: Scope) -> Self {
        let of = Of::Apps;
        Self { scope, of }
    }

    pub(super) const fn of_server(scope: Scope) -> Self {
        let of = Of::Server;
        Self { scope, of }
    }

    fn check(self, caller: &Caller, app: Option<&str>) -> Result<(), Problem> {
        match (self.of, app) {
            (Of::App, Some(app)) if !caller.sees(app) => {
                let shown = app.chars().take(80).collect();
                Err(AppsError::NoSuchApp(shown).into())
            }
            (Of::Server, _) if caller.is_bound() => Err(forbidden_to_bound(caller)),
            _ => suffices(caller, self.scope),
        }
    }
}

/// Refuses a caller whose scope is less than `scope`.
pub(super) fn suffices(caller: &Caller, scope: Scope) -> Result<(), Problem> {
    let has = caller.scope();
    if has >= scope {
        return Ok(());
    }
    let detail = format!(
        "This needs a token with the scope \"{scope}\"; yours has \"{has}\": \
         ask who runs the server for one (procserver token create NAME --scope {scope})."
    );
    let problem = Problem::new(StatusCode::FORBIDDEN, detail);
    Err(problem
        .with("needs", scope.name().into())
        .with("has", has.name().into()))
}

fn forbidden_to_bound(caller: &Caller) -> Problem {
    let apps = match caller {
        Caller::Token(token) => token.apps.iter().flatten(),
        Caller::Key(key) => key.apps.iter().flatten(),
        Caller::Account { .. } => return Problem::unavailable("An account is bound to nothing."),
    };
    let apps: Vec<_> = apps.map(ToString::to_string).collect();
    let detail = format!(
        "This is about the whole server, and your token is for {} only: it needs a token without \"apps\".",
        apps.join(", ")
    );
    Problem::new(StatusCode::FORBIDDEN, detail).with("apps", apps.into())
}

/// Middleware of one route: lets a request through, or answers 403 or 404.
pub(super) async fn require(
    needs: Needs,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    match admitted(needs, &request).await {
        Err(problem) => Ok(request.into_response(problem.error_response())),
        Ok(None) => Ok(next.call(request).await?.map_into_boxed_body()),
        Ok(Some(HiddenApp { state, app, mask })) => {
            let response = next.call(request).await?.map_into_boxed_body();
            // The call may have taken long, or changed the document itself.
            let newest = state.mask_of(&app).await.unwrap_or_default();
            Ok(masking::masked(response, &mask.and(&newest)).await)
        }
    }
}

/// An application whose secrets the caller may not see.
struct HiddenApp {
    state: Data<ApiState>,
    app: String,
    mask: Mask,
}

async fn admitted(needs: Needs, request: &ServiceRequest) -> Result<Option<HiddenApp>, Problem> {
    let caller = request.extensions().get::<Caller>().cloned();
    let caller = caller.ok_or_else(|| Problem::unavailable("Nobody looked who calls."))?;
    let app = request.match_info().get("name").map(str::to_owned);
    needs.check(&caller, app.as_deref())?;
    let (Of::App, false, Some(app)) = (needs.of, caller.sees_secrets(), app) else {
        return Ok(None);
    };
    let state = request.app_data::<Data<ApiState>>().cloned();
    let state = state.ok_or_else(|| Problem::unavailable("The API is not ready."))?;
    let mask = match state.mask_of(&app).await {
        // What is not there has no secrets.
        Err(problem) if problem.status_code() == StatusCode::NOT_FOUND => Mask::default(),
        mask => mask?,
    };
    Ok(Some(HiddenApp { state, app, mask }))
}
