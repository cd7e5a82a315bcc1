//! The routes of the API. Each is declared with what it needs of its caller: there is no other way to add one.

use std::rc::Rc;

use actix_service::{IntoServiceFactory as _, Service as _, ServiceFactory as _, map_config};
use actix_web::App;
use actix_web::dev::{AppConfig, HttpServiceFactory, ServiceRequest};
use actix_web::guard::{self, Guard};
use actix_web::http::StatusCode;
use actix_web::middleware::{DefaultHeaders, Next, from_fn};
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{FromRequest, Handler, HttpRequest, HttpResponse, Resource, Responder, Route};
use futures::future::FutureExt as _;

use super::needs::{self, Needs};
use super::problem::Problem;
use super::state::ApiState;
use super::ui::calls::{self, Answerer, Calls, MakeAnswerer};
use super::{
    actions, applications, attach, audit, backups, certificates, cron, deploy_key, deployments,
    disk, events, gate, git, health, history, hook, hooks, logs, metrics, notify, openapi, pause,
    previews, releases, reload, routes, run, server_status, source, ssh_keys, status, tokens, ui,
};
use crate::tokens::Scope::{Admin, Deploy, Read};

/// Puts the API into an actix-web App: `/healthz` open to all, `/hooks` to who signs, the rest for those that [`gate`]
/// lets in.
pub fn configure(config: &mut ServiceConfig, state: ApiState) {
    let health = web::resource("/healthz")
        .route(web::route().guard(get_or_head()).to(health::show))
        .default_service(only("GET, HEAD".to_owned()));
    let hooks = web::resource("/hooks/{name}")
        .wrap(from_fn(gate::pass_signed))
        .route(web::post().to(hooks::deliver))
        .default_service(only("POST".to_owned()));
    let all = web::scope("")
        .wrap(headers())
        .service(health)
        .service(hooks)
        .service(ui::for_browsers())
        .service(ui::for_the_command_line())
        .service(guarded());
    let calls = Calls::new(answerers(state.clone()));
    config
        .app_data(Data::new(state))
        .app_data(Data::new(calls))
        .service(all);
}

/// What answers the pages of the dashboard: the routes that everybody calls.
fn answerers(state: ApiState) -> MakeAnswerer {
    Rc::new(move || {
        let state = state.clone();
        async move {
            let app = App::new().app_data(Data::new(state)).service(guarded());
            let app = map_config(app, |()| AppConfig::default()).into_factory();
            let service = Rc::new(app.new_service(()).await.ok()?);
            let answer = move |request| {
                let service = Rc::clone(&service);
                async move {
                    let answered = service.call(request).await;
                    calls::into_answer(answered.map(|answer| answer.into_parts().1))
                }
                .boxed_local()
            };
            Some(Rc::new(answer) as Answerer)
        }
        .boxed_local()
    })
}

/// Puts what is served to git over ssh into an actix-web App, and nothing else of the API.
pub fn configure_git(config: &mut ServiceConfig, state: ApiState) {
    let session = resource(
        "/git/{name}.git/session/{service}",
        vec![post(Needs::of_app(Deploy), git::session)],
    );
    let all = web::scope("")
        .wrap(from_fn(gate::pass))
        .service(session)
        .default_service(web::to(unknown));
    config.app_data(Data::new(state)).service(all);
}

/// What a browser must know of every answer: documents hold secrets, and logs hold whatever a stranger made an app print.
fn headers() -> DefaultHeaders {
    DefaultHeaders::new()
        .add(("Cache-Control", "no-store"))
        .add(("X-Content-Type-Options", "nosniff"))
        .add(("Referrer-Policy", "no-referrer"))
        .add((
            "Content-Security-Policy",
            "default-src 'none'; frame-ancestors 'none'",
        ))
}

/// The resources, and their calls.
fn resources() -> Vec<(&'static str, Vec<Call>)> {
    vec![
        (
            "/applications",
            vec![
                get(Needs::of_apps(Read), applications::list),
                post(Needs::of_apps(Admin), applications::create),
            ],
        ),
        (
            "/applications/{name}",
            vec![
                get(Needs::of_app(Read), applications::show),
                put(Needs::of_app(Admin), applications::replace),
                // Of the scale alone; all else needs admin, which the resource looks at.
                patch(Needs::of_app(Deploy), applications::patch),
                delete(Needs::of_app(Admin), applications::remove),
            ],
        ),
        (
            "/applications/{name}/previews",
            vec![
                get(Needs::of_app(Read), previews::list),
                post(Needs::of_app(Admin), previews::make),
            ],
        ),
        (
            "/applications/{name}/status",
            vec![get(Needs::of_app(Read), status::show)],
        ),
        (
            "/applications/{name}/disk",
            vec![get(Needs::of_app(Read), disk::show)],
        ),
        (
            "/applications/{name}/history",
            vec![get(Needs::of_app(Read), history::show)],
        ),
        (
            "/applications/{name}/deploy-key",
            vec![get(Needs::of_app(Read), deploy_key::show)],
        ),
        (
            "/applications/{name}/source",
            vec![put(Needs::of_app(Deploy), source::replace)],
        ),
        (
            "/applications/{name}/hook",
            vec![
                // The secret is masked where secrets are not seen.
                get(Needs::of_app(Read), hook::show),
                post(Needs::of_app(Admin), hook::make),
            ],
        ),
        (
            "/applications/{name}/deployments",
            vec![get(Needs::of_app(Read), deployments::list)],
        ),
        (
            "/applications/{name}/deployments/{id}",
            vec![get(Needs::of_app(Read), deployments::show)],
        ),
        (
            "/applications/{name}/deployments/{id}/cancel",
            vec![post(Needs::of_app(Deploy), deployments::cancel)],
        ),
        (
            "/applications/{name}/releases",
            vec![get(Needs::of_app(Read), releases::list)],
        ),
        (
            "/applications/{name}/logs",
            vec![get(Needs::of_app(Read), logs::read_merged)],
        ),
        (
            "/applications/{name}/logs/{log}",
            vec![get(Needs::of_app(Read), logs::read)],
        ),
        (
            "/applications/{name}/cron",
            vec![get(Needs::of_app(Read), cron::list)],
        ),
        (
            "/applications/{name}/cron/{id}/run",
            vec![post(Needs::of_app(Deploy), cron::start)],
        ),
        (
            "/applications/{name}/run",
            vec![
                get(Needs::of_app(Read), run::list),
                post(Needs::of_app(Deploy), run::start),
            ],
        ),
        (
            "/applications/{name}/run/{id}",
            vec![
                get(Needs::of_app(Read), run::show),
                delete(Needs::of_app(Deploy), run::end),
            ],
        ),
        (
            "/applications/{name}/run/{id}/attach",
            // Who attaches types the input of the process.
            vec![get(Needs::of_app(Deploy), attach::attach)],
        ),
        (
            "/applications/{name}/{action:start|stop|restart|redeploy|rollback}",
            vec![post(Needs::of_app(Deploy), actions::act)],
        ),
        (
            "/applications/{name}/pause",
            vec![post(Needs::of_app(Deploy), pause::pause)],
        ),
        (
            "/applications/{name}/resume",
            vec![post(Needs::of_app(Deploy), pause::resume)],
        ),
        (
            "/certificates",
            vec![get(Needs::of_server(Read), certificates::list)],
        ),
        (
            "/certificates/{name}/renew",
            vec![post(Needs::of_server(Admin), certificates::renew)],
        ),
        (
            "/-/reload",
            vec![
                get(Needs::of_server(Read), reload::show),
                post(Needs::of_server(Admin), reload::start),
            ],
        ),
        (
            "/-/backup",
            // It holds every secret.
            vec![post(Needs::of_server(Admin), backups::take)],
        ),
        (
            "/-/restore",
            vec![post(Needs::of_server(Admin), backups::restore)],
        ),
        (
            "/-/status",
            vec![get(Needs::of_server(Read), server_status::show)],
        ),
        ("/metrics", vec![get(Needs::of_apps(Read), metrics::show)]),
        (
            "/-/history",
            vec![get(Needs::of_apps(Read), history::show_all)],
        ),
        ("/openapi.json", vec![get(Needs::of_apps(Read), describe)]),
        // Who reads code may find secrets in it: so to clone takes as much as to push.
        (
            "/git/{name}.git/info/refs",
            vec![get(Needs::of_app(Deploy), git::refs)],
        ),
        (
            "/git/{name}.git/git-upload-pack",
            vec![post(Needs::of_app(Deploy), git::upload)],
        ),
        (
            "/git/{name}.git/git-receive-pack",
            vec![post(Needs::of_app(Deploy), git::receive)],
        ),
        (
            "/-/notify/test",
            vec![post(Needs::of_server(Admin), notify::test)],
        ),
        ("/routes", vec![get(Needs::of_apps(Read), routes::show)]),
        ("/events", vec![get(Needs::of_apps(Read), events::tell)]),
        ("/audit", vec![get(Needs::of_server(Admin), audit::list)]),
        (
            "/tokens",
            vec![
                get(Needs::of_server(Admin), tokens::list),
                post(Needs::of_server(Admin), tokens::create),
            ],
        ),
        (
            "/tokens/{id}",
            vec![delete(Needs::of_server(Admin), tokens::revoke)],
        ),
        (
            "/-/ssh-keys",
            vec![
                get(Needs::of_server(Admin), ssh_keys::list),
                post(Needs::of_server(Admin), ssh_keys::add),
            ],
        ),
        (
            "/-/ssh-keys/{id}",
            vec![delete(Needs::of_server(Admin), ssh_keys::remove)],
        ),
    ]
}

/// A call as it is declared: the method, the path, and what it needs.
#[must_use]
pub fn declared() -> Vec<(&'static str, &'static str, Needs)> {
    let calls = |(path, calls): (&'static str, Vec<Call>)| {
        let call = move |call: Call| (call.method, path, call.needs);
        calls.into_iter().map(call)
    };
    resources().into_iter().flat_map(calls).collect()
}

/// `GET /openapi.json`.
async fn describe(request: HttpRequest) -> Result<HttpResponse, Problem> {
    openapi::show(&request, declared)
}

fn guarded() -> impl HttpServiceFactory {
    let scope = web::scope("").wrap(from_fn(gate::pass));
    let all = resources().into_iter();
    all.fold(scope, |scope, (path, calls)| {
        scope.service(resource(path, calls))
    })
    .default_service(web::to(unknown))
}

/// A method of a resource.
struct Call {
    method: &'static str,
    needs: Needs,
    route: Route,
}

impl Call {
    fn new<F, A>(method: &'static str, guard: impl Guard + 'static, needs: Needs, to: F) -> Self
    where
        F: Handler<A>,
        A: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        let checked = from_fn(move |request: ServiceRequest, next: Next<_>| {
            needs::require(needs, request, next)
        });
        Self {
            method,
            needs,
            route: web::route().guard(guard).to(to).wrap(checked),
        }
    }
}

macro_rules! methods {
    ($($name:ident, $method:literal, $guard:expr;)*) => {$(
        fn $name<F, A>(needs: Needs, to: F) -> Call
        where
            F: Handler<A>,
            A: FromRequest + 'static,
            F::Output: Responder + 'static,
        {
            Call::new($method, $guard, needs, to)
        }
    )*};
}

methods! {
    get, "GET", get_or_head();
    post, "POST", guard::Post();
    put, "PUT", guard::Put();
    patch, "PATCH", guard::Patch();
    delete, "DELETE", guard::Delete();
}

/// GET, and HEAD, whose body actix-http leaves out.
fn get_or_head() -> impl Guard {
    guard::fn_guard(|context| guard::Get().check(context) || guard::Head().check(context))
}

/// A resource that answers 405 to every method it has no call for.
fn resource(path: &str, calls: Vec<Call>) -> Resource {
    let methods = calls.iter().map(|call| match call.method {
        "GET" => "GET, HEAD",
        other => other,
    });
    let allow = methods.collect::<Vec<_>>().join(", ");
    let resource = web::resource(path).default_service(only(allow));
    calls
        .into_iter()
        .fold(resource, |resource, call| resource.route(call.route))
}

/// Answers 405 with `allow`.
fn only(allow: String) -> Route {
    web::to(move |request: HttpRequest| {
        let problem = Problem::method_not_allowed(request.method().as_str(), &allow);
        std::future::ready(Err::<HttpResponse, _>(problem))
    })
}

async fn unknown(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let path: String = request.path().chars().take(200).collect();
    let detail = format!("There is nothing at {path}: GET /applications lists the applications.");
    Err(Problem::new(StatusCode::NOT_FOUND, detail))
}

#[cfg(test)]
mod tests {
    use actix_web::App;
    use actix_web::http::Method;
    use actix_web::test::{self, TestRequest};
    use serde_json::Value;

    use super::*;

    async fn call(request: TestRequest) -> (u16, Option<String>, Value) {
        let app =
            test::init_service(App::new().configure(|c| configure(c, ApiState::without_apps())))
                .await;
        let response = match test::try_call_service(&app, request.to_request()).await {
            Ok(response) => response.map_into_boxed_body().into_parts().1,
            Err(error) => error.error_response(),
        };
        let status = response.status().as_u16();
        let allow = response
            .headers()
            .get("allow")
            .map(|v| v.to_str().unwrap().to_owned());
        let body = actix_web::body::to_bytes(response.into_body())
            .await
            .unwrap();
        (
            status,
            allow,
            serde_json::from_slice(&body).unwrap_or_default(),
        )
    }

    fn authorized(method: Method, path: &str) -> TestRequest {
        TestRequest::with_uri(path)
            .method(method)
            .insert_header(("authorization", "Bearer the-token"))
    }

    #[actix_web::test]
    async fn healthz_alone_is_open() {
        assert_eq!(call(TestRequest::with_uri("/applications")).await.0, 401);
        assert_eq!(call(TestRequest::with_uri("/none")).await.0, 401);
        assert_eq!(
            call(
                TestRequest::with_uri("/applications")
                    .insert_header(("authorization", "Bearer the-tokem"))
            )
            .await
            .0,
            401
        );
        assert_eq!(call(TestRequest::with_uri("/healthz")).await.0, 503);
    }

    #[actix_web::test]
    async fn an_unknown_path_is_404_and_a_wrong_method_405_with_allow() {
        for path in ["/", "/none", "/applications/", "/applications/a/none"] {
            let (status, _, body) = call(authorized(Method::GET, path)).await;
            assert_eq!(
                (status, &body["status"]),
                (404, &Value::from(404)),
                "{path}"
            );
        }
        for (method, path, allowed) in [
            (
                Method::POST,
                "/applications/a",
                "GET, HEAD, PUT, PATCH, DELETE",
            ),
            (Method::DELETE, "/applications", "GET, HEAD, POST"),
            (Method::GET, "/applications/a/restart", "POST"),
            (Method::POST, "/healthz", "GET, HEAD"),
        ] {
            let (status, allow, _) = call(authorized(method, path)).await;
            assert_eq!((status, allow.as_deref()), (405, Some(allowed)), "{path}");
        }
    }

    #[actix_web::test]
    async fn a_document_is_checked_before_anything_is_asked() {
        for (body, type_, status) in [
            ("", "application/json", 400),
            ("{", "application/json", 400),
            ("{}", "application/x-www-form-urlencoded", 422),
            ("{}", "multipart/form-data", 415),
            (
                "{name: 'a', repo: {url: 'https://h/a.git'}}",
                "application/json",
                503,
            ),
        ] {
            let request = authorized(Method::POST, "/applications")
                .insert_header(("content-type", type_))
                .set_payload(body);
            assert_eq!(call(request).await.0, status, "{body}");
        }
        let large =
            authorized(Method::POST, "/applications").set_payload(vec![b' '; 1024 * 1024 + 1]);
        assert_eq!(call(large).await.0, 413);
    }

    #[actix_web::test]
    async fn the_name_in_the_path_counts() {
        let document = |name| format!("{{name: '{name}', repo: {{url: 'https://h/a.git'}}}}");
        let put = |body: String| authorized(Method::PUT, "/applications/a").set_payload(body);
        let (status, _, body) = call(put(document("b"))).await;
        assert_eq!(
            (status, &body["errors"][0]["pointer"]),
            (422, &Value::from("/name"))
        );
        assert_eq!(call(put(document("a"))).await.0, 503);
        assert_eq!(
            call(put("{repo: {url: 'https://h/a.git'}}".into())).await.0,
            503
        );
        assert_eq!(call(put("[]".into())).await.0, 422);
    }

    #[actix_web::test]
    async fn a_log_asks_for_what_there_is() {
        for (query, accept, status) in [
            ("stdout", "*/*", 503),
            ("nothing", "*/*", 404),
            ("stdout?tail=ten", "*/*", 422),
            ("stdout?folow=true", "*/*", 422),
            ("stdout?since=yesterday", "*/*", 422),
            ("stdout", "image/png", 406),
        ] {
            let request = authorized(Method::GET, &format!("/applications/a/logs/{query}"))
                .insert_header(("accept", accept));
            assert_eq!(call(request).await.0, status, "{query}");
        }
    }
}
