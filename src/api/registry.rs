//! `/v2/…`: gives the images of applications to the nodes of a swarm (OCI distribution specification 1.0, reading alone).
//!
//! A node shows the application's name and the password that the server has told the engine with the image. That opens
//! the images of this application and nothing else of the API; a token opens none of them.

use actix_files::NamedFile;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{HttpServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, ContentType, HeaderName, HeaderValue};
use actix_web::middleware::{Next, from_fn};
use actix_web::mime::Mime;
use actix_web::web::{self, Data, Path};
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, ResponseError};
use serde_json::json;

use super::audit::Record;
use super::auth::{self, Other};
use super::call::{get_or_head, only};
use super::gate;
use super::problem::Problem;
use super::state::ApiState;
use crate::document::name::AppName;
use crate::failpoint;
use crate::swarm::image::Images;
use crate::swarm::image::digest::Digest;
use crate::swarm::image::manifest::MANIFEST;

/// By which clients know that they speak with a registry.
const VERSION: (HeaderName, HeaderValue) = (
    HeaderName::from_static("docker-distribution-api-version"),
    HeaderValue::from_static("registry/2.0"),
);

const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// What nodes ask for.
pub(super) fn for_nodes() -> impl HttpServiceFactory {
    let of = |path: &str, to: actix_web::Route| {
        web::resource(path)
            .route(to.guard(get_or_head()))
            .default_service(only("GET, HEAD".to_owned()))
    };
    web::scope("/v2")
        .wrap(from_fn(pass))
        .service(of("/", web::route().to(greet)))
        .service(of(
            "/{name}/manifests/{reference}",
            web::route().to(manifest),
        ))
        .service(of("/{name}/blobs/{digest}", web::route().to(blob)))
        .default_service(web::to(async || Err::<HttpResponse, _>(Refused::unknown())))
}

/// Whose images the caller may have.
#[derive(Clone, Debug)]
struct Node(AppName);

/// Middleware: lets a node in.
async fn pass(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let state = request.app_data::<Data<ApiState>>().cloned();
    let Some((state, images)) = state.and_then(|state| {
        let images = state.images.clone()?;
        Some((state, images))
    }) else {
        let detail = "This server gives out no images: its settings have no [engine.swarm], or one with a registry.";
        let refused = Refused::new(StatusCode::NOT_FOUND, "UNSUPPORTED", detail);
        return Ok(request.into_response(refused.error_response()));
    };
    // Every client asks once without a password, to learn how one is sent.
    let is_first = !request.headers().contains_key(header::AUTHORIZATION);
    if is_first {
        return Ok(request.into_response(Refused::challenge().error_response()));
    }
    let record = Record::begin(&request, None, state.audit.clone());
    let response = match admit(&request, &state, &images).await {
        Ok(node) => {
            request.extensions_mut().insert(node);
            next.call(request).await?.map_into_boxed_body()
        }
        Err(refused) => request.into_response(refused.error_response()),
    };
    record.end(&response).await;
    Ok(response)
}

async fn admit(
    request: &ServiceRequest,
    state: &ApiState,
    images: &Images,
) -> Result<Node, Refused> {
    gate::check_browser(request, state)?;
    let own = request.request();
    let found = auth::basic(request.headers()).and_then(|(user, password)| {
        let app = AppName::parse(std::str::from_utf8(&user).ok()?).ok()?;
        Some((app, password))
    });
    if let Some((app, password)) = found {
        let (images, of) = (images.clone(), app.clone());
        let opens = web::block(move || images.opens(&of, &password)).await;
        if opens.map_err(|_| Refused::stopping())? {
            return Ok(Node(app));
        }
    }
    // Only now: nobody guesses a password of 256 bits, and an application on the same machine must not shut out its node.
    Other::Pull.refuse_if_locked_out(own, state)?;
    Other::Pull.count(own, state);
    Err(Refused::challenge())
}

/// `GET /v2/`.
async fn greet() -> HttpResponse {
    HttpResponse::Ok().insert_header(VERSION).json(json!({}))
}

async fn manifest(
    request: HttpRequest,
    state: Data<ApiState>,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Refused> {
    let kind: Mime = MANIFEST.parse().unwrap_or(mime_of_blobs());
    give(&request, &state, &path, kind, Images::manifest).await
}

async fn blob(
    request: HttpRequest,
    state: Data<ApiState>,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Refused> {
    give(&request, &state, &path, mime_of_blobs(), Images::blob).await
}

fn mime_of_blobs() -> Mime {
    ContentType::octet_stream().0
}

/// Gives what `find` finds, or a range of it.
async fn give(
    request: &HttpRequest,
    state: &ApiState,
    (name, digest): &(String, String),
    kind: Mime,
    find: fn(&Images, &AppName, &Digest) -> std::io::Result<Option<std::fs::File>>,
) -> Result<HttpResponse, Refused> {
    let node = request.extensions().get::<Node>().cloned();
    let (Some(Node(app)), Some(images)) = (node, state.images.clone()) else {
        return Err(Refused::challenge());
    };
    // An image has no tag: what a node runs must be what was deployed.
    let Ok(digest) = Digest::parse(digest) else {
        return Err(Refused::unknown());
    };
    if name != app.as_str() {
        return Err(Refused::unknown());
    }
    let found = web::block(move || {
        failpoint::reach("an image is fetched");
        find(&images, &app, &digest)
    });
    let found = found.await;
    let found = found.map_err(|_| Refused::stopping())?;
    let file = found.map_err(|error| Refused::unreadable(&error))?;
    let file = file.ok_or_else(Refused::unknown)?;
    let named = NamedFile::from_file(file, "blob").map_err(|error| Refused::unreadable(&error))?;
    let named = named
        .disable_content_disposition()
        .prefer_utf8(false)
        .set_content_type(kind);
    let mut response = named.into_response(request);
    let fields = response.headers_mut();
    if let Ok(value) = HeaderValue::try_from(digest.to_string()) {
        fields.insert(DIGEST, value);
    }
    fields.insert(VERSION.0, VERSION.1);
    Ok(response)
}

/// An error as registries write it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{code}: {detail}")]
struct Refused {
    status: StatusCode,
    code: &'static str,
    detail: String,
    /// Problems of the API have fields, such as `Retry-After`.
    problem: Option<Problem>,
}

impl Refused {
    fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            problem: None,
        }
    }

    fn challenge() -> Self {
        let detail =
            "Images are for the nodes of the swarm, which have a password from this server.";
        Self::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", detail)
    }

    fn unknown() -> Self {
        let detail = "This application has no such image: it may be of a release that is not kept any more (redeploy).";
        Self::new(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", detail)
    }

    fn unreadable(error: &std::io::Error) -> Self {
        log::error!("an image cannot be read: {error}");
        let detail = "The image cannot be read: the server's own log says why.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", detail)
    }

    fn stopping() -> Self {
        let detail = "The server is being stopped.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", detail)
    }
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        let status = problem.status_code();
        let code = match status {
            StatusCode::TOO_MANY_REQUESTS => "TOOMANYREQUESTS",
            _ => "DENIED",
        };
        let detail = problem.detail().to_owned();
        Self {
            problem: Some(problem),
            ..Self::new(status, code, detail)
        }
    }
}

impl ResponseError for Refused {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = match &self.problem {
            Some(problem) => problem.error_response(),
            None => HttpResponse::new(self.status),
        };
        let fields = response.headers_mut();
        fields.insert(VERSION.0, VERSION.1);
        let json = HeaderValue::from_static("application/json");
        fields.insert(header::CONTENT_TYPE, json);
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Basic realm=\"procserver\"");
            fields.insert(header::WWW_AUTHENTICATE, challenge);
        }
        let errors = json!({ "errors": [{ "code": self.code, "message": self.detail }] });
        response.set_body(BoxBody::new(errors.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use actix_web::App;
    use actix_web::body::{BodySize, MessageBody as _, to_bytes};
    use actix_web::http::Method;
    use actix_web::test::{self, TestRequest};
    use base64::Engine as _;
    use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};
    use serde_json::Value;
    use tempfile::TempDir;

    use super::*;
    use crate::api::app::configure;
    use crate::swarm::image::Origin;
    use crate::swarm::image::images::tests::release;

    /// A server with an image of each of two applications.
    struct Shop {
        state: ApiState,
        manifest: Digest,
        /// User and password of each, as Basic has them.
        shop: String,
        blog: String,
        _home: TempDir,
    }

    impl Shop {
        fn new() -> Self {
            let home = tempfile::tempdir().unwrap();
            let images = Images::open(home.path(), Origin::Here(None)).unwrap();
            let plant = |app: &str| {
                let (manifest, secret) = images.plant(&release(home.path(), app, 1)).unwrap();
                let told = BASE64_URL_SAFE.decode(secret.for_engine(app, "")).unwrap();
                let told: Value = serde_json::from_slice(&told).unwrap();
                let password = told["password"].as_str().unwrap();
                let both = BASE64_STANDARD.encode(format!("{app}:{password}"));
                (manifest, format!("Basic {both}"))
            };
            let ((manifest, shop), (_, blog)) = (plant("shop"), plant("blog"));
            let state = ApiState {
                images: Some(images),
                ..ApiState::without_apps()
            };
            Self {
                state,
                manifest,
                shop,
                blog,
                _home: home,
            }
        }

        async fn ask(&self, path: &str, fields: &[(&str, &str)]) -> HttpResponse {
            let mut request = TestRequest::with_uri(path);
            for field in fields {
                request = request.insert_header(*field);
            }
            self.send(request).await
        }

        async fn send(&self, request: TestRequest) -> HttpResponse {
            let state = self.state.clone();
            let app = test::init_service(App::new().configure(|c| configure(c, state))).await;
            let answered = test::try_call_service(&app, request.to_request()).await;
            answered.unwrap().map_into_boxed_body().into_parts().1
        }

        fn manifest_path(&self) -> String {
            format!("/v2/shop/manifests/{}", self.manifest)
        }
    }

    fn field<'a>(response: &'a HttpResponse, name: &str) -> &'a str {
        let value = response.headers().get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    async fn body(response: HttpResponse) -> Vec<u8> {
        to_bytes(response.into_body()).await.unwrap().to_vec()
    }

    #[actix_web::test]
    async fn who_asks_without_a_password_is_told_how_to_send_one() {
        let shop = Shop::new();
        for path in ["/v2/", &shop.manifest_path(), "/v2/none/blobs/x", "/v2/x"] {
            let response = shop.ask(path, &[]).await;
            assert_eq!(response.status(), 401, "{path}");
            assert!(field(&response, "www-authenticate").starts_with("Basic realm="));
            assert_eq!(
                field(&response, "docker-distribution-api-version"),
                "registry/2.0"
            );
            let told: Value = serde_json::from_slice(&body(response).await).unwrap();
            assert_eq!(told["errors"][0]["code"], "UNAUTHORIZED");
        }
    }

    #[actix_web::test]
    async fn a_node_gets_manifest_and_layers_whole_and_in_parts() {
        let shop = Shop::new();
        let own = ("authorization", &*shop.shop);
        assert_eq!(shop.ask("/v2/", &[own]).await.status(), 200);
        let response = shop.ask(&shop.manifest_path(), &[own]).await;
        assert_eq!(response.status(), 200);
        assert_eq!(field(&response, "content-type"), MANIFEST);
        assert_eq!(
            field(&response, "docker-content-digest"),
            shop.manifest.to_string()
        );
        let manifest = body(response).await;
        assert_eq!(Digest::of(&manifest), shop.manifest);
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        let layers = manifest["layers"].as_array().unwrap();
        for blob in layers.iter().chain([&manifest["config"]]) {
            let (digest, size) = (blob["digest"].as_str().unwrap(), &blob["size"]);
            let path = format!("/v2/shop/blobs/{digest}");
            let head = TestRequest::with_uri(&path).method(Method::HEAD);
            let head = shop.send(head.insert_header(own)).await;
            assert_eq!(head.status(), 200);
            let sized = BodySize::Sized(size.as_u64().unwrap());
            assert_eq!(head.body().size(), sized);
            let whole = body(shop.ask(&path, &[own]).await).await;
            assert_eq!(Digest::of(&whole).to_string(), digest);
            let part = shop.ask(&path, &[own, ("range", "bytes=5-")]).await;
            assert_eq!(part.status(), 206);
            assert_eq!(body(part).await, &whole[5..]);
        }
    }

    #[actix_web::test]
    async fn a_password_opens_the_images_of_one_application() {
        let shop = Shop::new();
        let other = ("authorization", &*shop.blog);
        assert_eq!(shop.ask("/v2/", &[other]).await.status(), 200);
        for path in [
            &*shop.manifest_path(),
            &shop.manifest_path().replace("shop", "blog"),
            "/v2/blog/manifests/latest",
            "/v2/blog/blobs/..%2f..%2ftoken",
            "/v2/_catalog",
        ] {
            let response = shop.ask(path, &[other]).await;
            assert_eq!(response.status(), 404, "{path}");
        }
        let response = shop.ask("/applications", &[other]).await;
        assert_eq!(response.status(), 401);
        let push = TestRequest::with_uri("/v2/blog/blobs/uploads/").method(Method::POST);
        let push = shop.send(push.insert_header(other)).await;
        assert!(push.status().is_client_error(), "{push:?}");
    }

    #[actix_web::test]
    async fn guesses_lock_out_and_a_token_opens_no_image() {
        let shop = Shop::new();
        let token = [("authorization", "Bearer the-token")];
        assert_eq!(shop.ask("/v2/", &token).await.status(), 401);
        let guess = BASE64_STANDARD.encode("shop:the-token");
        let guess = format!("Basic {guess}");
        let asked_with = async |value: &str| {
            let fields = [("authorization", value), ("x-real-ip", "192.0.2.7")];
            shop.ask("/v2/", &fields).await.status().as_u16()
        };
        for _ in 0..10 {
            assert_eq!(asked_with(&guess).await, 401);
        }
        assert_eq!(asked_with(&guess).await, 429);
        // The application that guesses may run on the node that fetches.
        assert_eq!(asked_with(&shop.shop).await, 200);
        // Others are listened to.
        let own = [("authorization", &*shop.shop)];
        assert_eq!(shop.ask("/v2/", &own).await.status(), 200);
    }

    #[actix_web::test]
    async fn a_server_without_a_swarm_has_no_images() {
        let shop = Shop::new();
        let state = ApiState::without_apps();
        let none = Shop { state, ..shop };
        let own = [("authorization", &*none.shop)];
        assert_eq!(none.ask("/v2/", &own).await.status(), 404);
    }
}
