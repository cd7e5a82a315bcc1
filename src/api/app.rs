//! The routes of the API.

use actix_web::dev::HttpServiceFactory;
use actix_web::guard::{self, Guard};
use actix_web::http::StatusCode;
use actix_web::middleware::{DefaultHeaders, from_fn};
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, Resource, Route};

use super::problem::Problem;
use super::state::ApiState;
use super::{
    actions, applications, auth, certificates, deploy_key, deployments, events, health, logs,
    releases, routes, server_status, status,
};

/// Puts the API into an actix-web App: `/healthz` open to all, the rest for those that [`auth`] lets in.
pub fn configure(config: &mut ServiceConfig, state: ApiState) {
    config
        .app_data(Data::new(state))
        .service(resource("/healthz", "GET, HEAD").route(get().to(health::show)))
        .service(guarded());
}

fn guarded() -> impl HttpServiceFactory {
    web::scope("")
        // Documents hold secrets, and logs hold whatever a stranger made an app print.
        .wrap(
            DefaultHeaders::new()
                .add(("Cache-Control", "no-store"))
                .add(("X-Content-Type-Options", "nosniff")),
        )
        .wrap(from_fn(auth::require))
        .service(
            resource("/applications", "GET, HEAD, POST")
                .route(get().to(applications::list))
                .route(web::post().to(applications::create)),
        )
        .service(
            resource("/applications/{name}", "GET, HEAD, PUT, PATCH, DELETE")
                .route(get().to(applications::show))
                .route(web::put().to(applications::replace))
                .route(web::patch().to(applications::patch))
                .route(web::delete().to(applications::remove)),
        )
        .service(resource("/applications/{name}/status", "GET, HEAD").route(get().to(status::show)))
        .service(
            resource("/applications/{name}/deploy-key", "GET, HEAD")
                .route(get().to(deploy_key::show)),
        )
        .service(
            resource("/applications/{name}/deployments", "GET, HEAD")
                .route(get().to(deployments::list)),
        )
        .service(
            resource("/applications/{name}/deployments/{id}", "GET, HEAD")
                .route(get().to(deployments::show)),
        )
        .service(
            resource("/applications/{name}/deployments/{id}/cancel", "POST")
                .route(web::post().to(deployments::cancel)),
        )
        .service(
            resource("/applications/{name}/releases", "GET, HEAD").route(get().to(releases::list)),
        )
        .service(
            resource("/applications/{name}/logs", "GET, HEAD").route(get().to(logs::read_merged)),
        )
        .service(
            resource("/applications/{name}/logs/{log}", "GET, HEAD").route(get().to(logs::read)),
        )
        .service(resource("/certificates", "GET, HEAD").route(get().to(certificates::list)))
        .service(
            resource("/certificates/{name}/renew", "POST")
                .route(web::post().to(certificates::renew)),
        )
        .service(resource("/-/status", "GET, HEAD").route(get().to(server_status::show)))
        .service(resource("/routes", "GET, HEAD").route(get().to(routes::show)))
        .service(
            resource(
                "/applications/{name}/{action:start|stop|restart|redeploy|rollback}",
                "POST",
            )
            .route(web::post().to(actions::act)),
        )
        .service(resource("/events", "GET, HEAD").route(get().to(events::follow)))
        .default_service(web::to(unknown))
}

/// A resource that answers 405 with `allow` to every method it has no route for.
fn resource(path: &str, allow: &'static str) -> Resource {
    web::resource(path).default_service(web::to(move |request: HttpRequest| async move {
        Err::<HttpResponse, _>(Problem::method_not_allowed(
            request.method().as_str(),
            allow,
        ))
    }))
}

/// GET, and HEAD, whose body actix-http leaves out.
fn get() -> Route {
    web::route().guard(guard::fn_guard(|context| {
        guard::Get().check(context) || guard::Head().check(context)
    }))
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
