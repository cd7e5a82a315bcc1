//! `/git/NAME.git`: the repository of an application that is pushed to, by git's smart HTTP (gitprotocol-http(5)).
//!
//! The real git does the work ([`GitService`]): a request's body goes to its stdin, its stdout is the answer, and neither
//! is ever held as a whole. While it receives a push, its hook asks what becomes of the refs (`receiving`).
//!
//! Once a deploy has begun, it goes on without the client, too: the app moves the branch, and not git.

mod body;
mod pkt_line;
mod receiving;
mod wish;

use std::convert::Infallible;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web::{Bytes, Data, Path, Payload};
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::mpsc;

use receiving::Receiving;

use super::caller::Caller;
use super::problem::Problem;
use super::query::Query;
use super::state::ApiState;
use crate::app::supervisor::{OpenPushed, PackPushed, PushedError};
use crate::events::By;
use crate::install::git_request::{Exchange, Service};
use crate::install::git_service::GitService;
use crate::install::pushed::{Pushed, Slot};

/// How long git may take to receive or send what a client wants, without the deploy.
const PATIENCE: Duration = Duration::from_hours(1);

/// How long a client may say nothing over ssh, whose packs are made before they are sent. Who says nothing while its
/// push is deployed has said all.
const IDLE: Duration = Duration::from_mins(15);

/// How much of an answer is sent at a time; bytes.
const PIECE: usize = 32 * 1024;

/// The most that is read of what git says to nobody; bytes.
const MOST_REMARKS: u64 = 4096;

/// `GET /git/NAME.git/info/refs?service=git-receive-pack`.
pub(super) async fn refs(
    request: HttpRequest,
    state: Data<ApiState>,
    name: Path<String>,
) -> Result<HttpResponse, Problem> {
    let asked = Query::read(&request, &["service"])?;
    let service = asked.text("service").and_then(Service::named).ok_or_else(|| {
        let detail = "This is a git repository: git clone reads it. Its old \"dumb\" protocol is not spoken here.";
        Problem::new(StatusCode::BAD_REQUEST, detail)
    })?;
    let pushed = open(&state, &name).await?;
    let kind = format!("application/x-{}-advertisement", service.name());
    // Version 2 begins without it.
    let mut greeting = Vec::new();
    if !(service == Service::Upload && protocol(&request) == Some("version=2")) {
        greeting = pkt_line::line(&format!("# service={}\n", service.name()));
        greeting.extend(pkt_line::FLUSH);
    }
    let protocol = protocol(&request).map(str::to_owned);
    let (sender, receiver) = mpsc::channel(4);
    actix_rt::spawn(async move {
        let slot = pushed.turns().serving.take().await;
        let started = GitService::start(
            &pushed,
            &slot,
            service,
            Exchange::Advertisement,
            protocol.as_deref(),
        )
        .await;
        let Some(git) = told(started, &name) else {
            return;
        };
        let (stdin, stdout, _, stderr, mut running) = git.into_parts();
        drop(stdin);
        let _ = sender.send(Bytes::from(greeting)).await;
        let work = async {
            tokio::join!(
                pass_on(stdout, sender),
                remarks(stderr, &name),
                running.ended()
            );
        };
        if tokio::time::timeout(PATIENCE, work).await.is_err() {
            running.kill().await;
        }
    });
    Ok(answer(kind, receiver))
}

/// `POST /git/NAME.git/git-upload-pack`: somebody fetches.
pub(super) async fn upload(
    request: HttpRequest,
    state: Data<ApiState>,
    name: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let how = (Service::Upload, Exchange::Request);
    serve(request, state, &name, payload, how).await
}

/// `POST /git/NAME.git/git-receive-pack`: somebody pushes.
pub(super) async fn receive(
    request: HttpRequest,
    state: Data<ApiState>,
    name: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let how = (Service::Receive, Exchange::Request);
    serve(request, state, &name, payload, how).await
}

/// `POST /git/NAME.git/session/SERVICE` at the socket for git over ssh: the bodies of request and answer are what client
/// and git say to each other, at the same time.
pub(super) async fn session(
    request: HttpRequest,
    state: Data<ApiState>,
    path: Path<(String, String)>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let (name, service) = path.into_inner();
    let service = Service::named(&service).ok_or_else(|| {
        let detail = "git push, git fetch and git clone are all that works here.";
        Problem::new(StatusCode::NOT_FOUND, detail)
    })?;
    let how = (service, Exchange::Whole);
    serve(request, state, &name, payload, how).await
}

async fn serve(
    request: HttpRequest,
    state: Data<ApiState>,
    name: &str,
    payload: Payload,
    how: (Service, Exchange),
) -> Result<HttpResponse, Problem> {
    let (service, name) = (how.0, name.to_owned());
    let pushed = open(&state, &name).await?;
    if service == Service::Receive && pushed.turns().receiving.is_full() {
        let detail =
            "Two pushes to this application are at work already: try again when one is over.";
        return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, detail)
            .with_header(header::RETRY_AFTER, HeaderValue::from_static("10")));
    }
    let (sender, receiver) = mpsc::channel(4);
    let kind = format!("application/x-{}-result", service.name());
    actix_rt::spawn(async move {
        let slots = match service {
            Service::Upload => &pushed.turns().serving,
            Service::Receive => &pushed.turns().receiving,
        };
        let slot = slots.take().await;
        run(
            &request, &state, &name, &pushed, &slot, payload, how, sender,
        )
        .await;
        if service == Service::Receive {
            drop(slot);
            // What was refused has come all the same. An app that is gone has nothing to pack.
            let _ = state.ask_app(&name, PackPushed).await;
        }
    });
    Ok(answer(kind, receiver))
}

/// Runs git to its end.
#[allow(clippy::too_many_arguments, reason = "all of a request, once")]
async fn run(
    request: &HttpRequest,
    state: &Data<ApiState>,
    name: &str,
    pushed: &Pushed,
    slot: &Slot<'_>,
    payload: Payload,
    (service, exchange): (Service, Exchange),
    sender: mpsc::Sender<Bytes>,
) {
    let started = GitService::start(pushed, slot, service, exchange, protocol(request)).await;
    let Some(git) = told(started, name) else {
        return;
    };
    let (stdin, stdout, hook, stderr, mut running) = git.into_parts();
    // A body that broke off is the end of git's input: then git says what is missing, and takes nothing.
    let idle = match exchange {
        Exchange::Whole => IDLE,
        // The front end has such a limit, and has the whole body before git is asked.
        Exchange::Advertisement | Exchange::Request => PATIENCE,
    };
    let fed = async {
        if let Err(error) = body::feed(request.headers(), payload, stdin, idle).await {
            log::debug!("{name}: the body of a request to git: {error}");
        }
    };
    let deployed = async {
        let Some(hook) = hook else { return };
        let receiving = Receiving {
            state: state.clone(),
            app: name.to_owned(),
            pushed: pushed.clone(),
            by: pusher(request),
        };
        if let Err(error) = receiving.answer(hook).await {
            log::debug!("{name}: a push was not answered: {error}");
        }
    };
    let passed = async { tokio::join!(pass_on(stdout, sender), remarks(stderr, name)) };
    let work = async { tokio::join!(fed, deployed, passed, running.ended()) };
    // The steps of a deploy have limits of their own, which may be longer.
    if tokio::time::timeout(3 * PATIENCE, work).await.is_err() {
        running.kill().await;
    }
}

/// Who pushes.
fn pusher(request: &HttpRequest) -> By {
    let caller = request.extensions().get::<Caller>().map(Caller::by);
    // The gate has let somebody in.
    By::push_of(&caller.unwrap_or_else(By::server))
}

async fn open(state: &ApiState, name: &str) -> Result<Pushed, Problem> {
    let opened = state.ask_app(name, OpenPushed).await?;
    opened.map_err(|error| {
        let status = match error {
            PushedError::Fetched | PushedError::BeingRemoved => StatusCode::CONFLICT,
            PushedError::Failed(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Problem::new(status, error.to_string())
    })
}

/// Tells the server's log why git does not run.
fn told<T, E: std::fmt::Display>(started: Result<T, E>, name: &str) -> Option<T> {
    started
        .inspect_err(|error| log::error!("{name}: git cannot be started for a client: {error}"))
        .ok()
}

/// The version of git's protocol that the client wants.
fn protocol(request: &HttpRequest) -> Option<&str> {
    request.headers().get("git-protocol")?.to_str().ok()
}

/// Hands git's answer on. Where the client is gone, it is read all the same: git must come to its end.
async fn pass_on(mut stdout: Receiver, sender: mpsc::Sender<Bytes>) {
    let mut piece = vec![0; PIECE];
    while let Ok(length @ 1..) = stdout.read(&mut piece).await {
        let _ = sender.send(Bytes::copy_from_slice(&piece[..length])).await;
    }
}

/// Writes what git says to nobody into the server's log.
async fn remarks(stderr: Option<tokio::process::ChildStderr>, name: &str) {
    let Some(mut stderr) = stderr else { return };
    let mut text = Vec::new();
    let _ = (&mut stderr)
        .take(MOST_REMARKS)
        .read_to_end(&mut text)
        .await;
    let text = String::from_utf8_lossy(&text);
    for line in text.lines() {
        log::debug!("{name}: git: {line}");
    }
    // Nobody waits for the rest, but git must be able to write it.
    let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
}

fn answer(kind: String, receiver: mpsc::Receiver<Bytes>) -> HttpResponse {
    let pieces = futures::stream::unfold(receiver, |mut receiver| async move {
        let piece = receiver.recv().await?;
        Some((Ok::<_, Infallible>(piece), receiver))
    });
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, kind))
        .streaming(pieces)
}
