//! Puts the API together: [`super::resources`] declares what there is of it.

use std::rc::Rc;

use actix_service::{IntoServiceFactory as _, Service as _, ServiceFactory as _, map_config};
use actix_web::App;
use actix_web::dev::{AppConfig, HttpServiceFactory};
use actix_web::http::StatusCode;
use actix_web::middleware::{DefaultHeaders, from_fn};
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use futures::future::FutureExt as _;

use super::call::{get_or_head, only, post, resource};
use super::needs::Needs;
use super::problem::Problem;
use super::resources::resources;
use super::state::ApiState;
use super::ui::calls::{self, Answerer, Calls, MakeAnswerer};
use super::{gate, git, health, hooks, registry, ui};
use crate::tokens::Scope::Deploy;

/// Puts the API into an actix-web App: `/healthz` open to all, `/hooks` to who signs, `/v2` to nodes, the rest for those that [`gate`]
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
        .service(registry::for_nodes())
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

fn guarded() -> impl HttpServiceFactory {
    let scope = web::scope("").wrap(from_fn(gate::pass));
    let all = resources().into_iter();
    all.fold(scope, |scope, (path, calls)| {
        scope.service(resource(path, calls))
    })
    .default_service(web::to(unknown))
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
