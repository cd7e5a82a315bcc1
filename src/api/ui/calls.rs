//! [`Calls`]: how a page calls the API: as any client does, by its routes, in this process.
//!
//! So a page shows and does what its caller may see and do, through the same masks, and leaves the same lines in the audit
//! log. Who calls was found out before; nothing else can introduce anybody (see [`Introduced`]).

use std::rc::Rc;

use actix_web::body::to_bytes_limited;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode, Uri};
use actix_web::web::Bytes;
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse};
use futures::future::LocalBoxFuture;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::OnceCell;

use super::visitor::Visitor;
use crate::api::auth::Access;
use crate::api::caller::Introduced;
use crate::api::problem::Problem;

/// An answer that a page is made of is no larger; bytes.
const LARGEST: usize = 16 << 20;

/// What the API is told of the page's own request, since it makes URLs and lines of the audit log of it.
const PASSED_ON: [&str; 4] = ["host", "x-forwarded-proto", "x-real-ip", "x-request-id"];

/// Answers a request as the API does.
pub(in crate::api) type Answerer =
    Rc<dyn Fn(actix_http::Request) -> LocalBoxFuture<'static, Result<HttpResponse, Problem>>>;

/// Makes the one of a thread, when it is needed first.
pub(in crate::api) type MakeAnswerer = Rc<dyn Fn() -> LocalBoxFuture<'static, Option<Answerer>>>;

/// The API, for pages. Cheap to clone.
#[derive(Clone)]
pub(in crate::api) struct Calls {
    make: MakeAnswerer,
    made: Rc<OnceCell<Option<Answerer>>>,
}

/// A call of the API.
pub(super) struct Call<'a> {
    method: Method,
    path: &'a str,
    accept: &'static str,
    body: Option<Value>,
    /// A field more.
    field: Option<(HeaderName, HeaderValue)>,
}

impl<'a> Call<'a> {
    pub(super) fn new(method: Method, path: &'a str, accept: &'static str) -> Self {
        Self {
            method,
            path,
            accept,
            body: None,
            field: None,
        }
    }

    pub(super) fn sending(mut self, body: Option<Value>) -> Self {
        self.body = body;
        self
    }

    /// Goes on where a stream was left; or changes what is still as it was seen.
    pub(super) fn with(mut self, name: HeaderName, value: Option<HeaderValue>) -> Self {
        self.field = value.map(|value| (name, value));
        self
    }
}

impl Calls {
    pub(in crate::api) fn new(make: MakeAnswerer) -> Self {
        Self {
            make,
            made: Rc::default(),
        }
    }

    /// GETs a document.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        page: &HttpRequest,
        visitor: &Visitor,
        path: &str,
    ) -> Result<T, Problem> {
        Ok(self.get_tagged(page, visitor, path).await?.0)
    }

    /// GETs a document, and the tag of its state.
    pub(super) async fn get_tagged<T: DeserializeOwned>(
        &self,
        page: &HttpRequest,
        visitor: &Visitor,
        path: &str,
    ) -> Result<(T, Option<HeaderValue>), Problem> {
        let call = Call::new(Method::GET, path, "application/json");
        let answer = self.answer(page, visitor, call).await?;
        let tag = answer.headers().get(header::ETAG).cloned();
        let bytes = whole(answer).await?;
        let document = serde_json::from_slice(&bytes).map_err(|error| {
            log::error!("a page cannot read what {path} answers: {error}");
            Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "The page cannot be made: the server's own log says why.",
            )
        })?;
        Ok((document, tag))
    }

    /// GETs lines of NDJSON. One that makes no sense is left out.
    pub(super) async fn lines<T: DeserializeOwned>(
        &self,
        page: &HttpRequest,
        visitor: &Visitor,
        path: &str,
    ) -> Result<Vec<T>, Problem> {
        let call = Call::new(Method::GET, path, "application/x-ndjson");
        let bytes = whole(self.answer(page, visitor, call).await?).await?;
        let lines = bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty());
        Ok(lines
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect())
    }

    /// Sends a change, of what is still in the state of `tag`. Returns what the API answers.
    pub(super) async fn change(
        &self,
        page: &HttpRequest,
        visitor: &Visitor,
        call: Call<'_>,
    ) -> Result<Value, Problem> {
        let bytes = whole(self.answer(page, visitor, call).await?).await?;
        Ok(serde_json::from_slice(&bytes).unwrap_or_default())
    }

    /// The answer as it comes; an error of the API is one.
    pub(super) async fn answer(
        &self,
        page: &HttpRequest,
        visitor: &Visitor,
        call: Call<'_>,
    ) -> Result<HttpResponse, Problem> {
        let unavailable = || Problem::unavailable("The API is not ready.");
        let answerer = self.made.get_or_init(|| (self.make)()).await.as_ref();
        let answerer = answerer.ok_or_else(unavailable)?;
        answerer(request(page, visitor, call)?).await
    }
}

fn request(
    page: &HttpRequest,
    visitor: &Visitor,
    call: Call<'_>,
) -> Result<actix_http::Request, Problem> {
    let no_such = |_| Problem::new(StatusCode::NOT_FOUND, "There is no such page.");
    let uri: Uri = call.path.parse().map_err(no_such)?;
    let body = call.body.map(|body| Bytes::from(body.to_string()));
    let mut request = actix_http::Request::with_payload(body.unwrap_or_default().into());
    *request.uri_mut() = uri;
    let head = request.head_mut();
    head.method = call.method;
    head.peer_addr = page.peer_addr();
    for name in PASSED_ON {
        if let Some(value) = page.headers().get(name) {
            head.headers
                .insert(HeaderName::from_static(name), value.clone());
        }
    }
    head.headers
        .insert(header::ACCEPT, HeaderValue::from_static(call.accept));
    if let Some((name, value)) = call.field {
        head.headers.insert(name, value);
    }
    let introduced = Introduced {
        caller: visitor.caller.clone(),
        over_tcp: !matches!(page.conn_data::<Access>(), Some(Access::Socket { .. })),
    };
    request.extensions_mut().insert(introduced);
    Ok(request)
}

/// The body of an answer; an error where it is one.
async fn whole(answer: HttpResponse) -> Result<Bytes, Problem> {
    let status = answer.status();
    let body = match to_bytes_limited(answer.into_body(), LARGEST).await {
        Ok(Ok(body)) => body,
        _ => {
            let detail = "There is too much to show here: the command line shows it.";
            return Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail));
        }
    };
    match status.is_success() {
        true => Ok(body),
        false => Err(Problem::read(status, &body)),
    }
}

/// An error as the API's own answer, which the page's error is made of.
pub(in crate::api) fn into_answer(
    answered: Result<HttpResponse, actix_web::Error>,
) -> Result<HttpResponse, Problem> {
    match answered {
        Ok(answer) => Ok(answer),
        Err(error) => Ok(error.as_response_error().error_response()),
    }
}

impl Problem {
    /// What another part of the server answered.
    fn read(status: StatusCode, body: &[u8]) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let detail = body["detail"].as_str().unwrap_or_default().to_owned();
        let problem = Self::new(status, detail);
        match body.get("errors") {
            Some(errors) => problem.with("errors", errors.clone()),
            None => problem,
        }
    }
}
