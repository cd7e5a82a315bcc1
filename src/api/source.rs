//! `PUT /applications/A/source`: deploys an archive, without git.

use std::path::Path;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap};
use actix_web::web::{self, Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use futures::StreamExt as _;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::OwnedMutexGuard;
use tokio::task::JoinHandle;

use super::caller::Caller;
use super::problem::Problem;
use super::state::ApiState;
use super::upload_turn::Upload;
use super::{outcome, prefer};
use crate::app::deployer::Action;
use crate::app::supervisor::{Act, OpenPushed, PushedError};
use crate::events::By;
use crate::install::disk_space;
use crate::install::upload::{self, UNDERWAY, UploadError};
use crate::install::yielding_lock::Shared;

/// The largest archive, bytes.
const LARGEST: u64 = 512 << 20;

/// How long the answer waits for git, unless the caller prefers less: less than the front end waits for the answer.
const PATIENCE: Duration = Duration::from_secs(45);

/// How much of it comes between two looks at the disk.
const BETWEEN_LOOKS: u64 = 16 << 20;

pub(super) async fn replace(
    request: HttpRequest,
    caller: Caller,
    state: Data<ApiState>,
    name: web::Path<String>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    check_head(request.headers())?;
    let name = name.into_inner();
    // Who cannot upload hears of it before he sends half a gigabyte.
    let opened = state.ask_app(&name, OpenPushed).await?;
    let pushed = opened.map_err(|error| not_pushed(&error, &name))?;
    let mut uploading = state.uploads.begin(&name)?;
    let dirs = state.inspect(&name).await?.dirs;
    let archive = store(dirs.root(), payload).await?;
    let message = format!("Upload by {caller}");
    let by = By::upload_of(&caller.by());
    let turn = uploading.turn();
    let mut importing = actix_rt::spawn(async move {
        let turn = turn.await;
        // No ref leads to the commit until the app has accepted it.
        let in_use = pushed.turns().in_use.share().await;
        let commit = upload::commit(&pushed, &dirs, archive, message).await?;
        Ok((commit, (turn, in_use)))
    });
    let patience = prefer::wait(&request).map_or(PATIENCE, |wait| wait.min(PATIENCE));
    let Ok(imported) = tokio::time::timeout(patience, &mut importing).await else {
        uploading.is_late();
        actix_rt::spawn(deploy_later(
            state,
            uploading,
            (name.clone(), by),
            importing,
        ));
        return Ok(not_yet(&name));
    };
    let (commit, turn) = imported.map_err(|_| stopping())??;
    let (own, app) = (state.clone(), name.clone());
    let work = async move {
        let action = Action::Deploy { commit };
        let accepted = own.ask_app(&app, Act(action, by)).await??;
        // Only now, so that the one that came last is deployed last.
        drop((turn, uploading));
        Ok(accepted.into())
    };
    outcome::of(&request, &state, &name, StatusCode::OK, work).await
}

type Importing = JoinHandle<Result<(String, (OwnedMutexGuard<()>, Shared)), UploadError>>;

/// Deploys what takes longer than its caller waits. The application's status says if that fails.
async fn deploy_later(
    state: Data<ApiState>,
    uploading: Upload,
    (name, by): (String, By),
    importing: Importing,
) {
    let deployed = async {
        let (commit, turn) = importing.await.map_err(|_| stopping())??;
        state
            .ask_app(&name, Act(Action::Deploy { commit }, by))
            .await??;
        drop(turn);
        Ok::<_, Problem>(())
    };
    if let Err(problem) = deployed.await {
        log::error!("{name}: upload: {problem}");
        uploading.failed(problem.to_string());
    }
}

/// The answer to an upload so large that there is no deployment yet.
fn not_yet(name: &str) -> HttpResponse {
    HttpResponse::Accepted()
        .insert_header((header::LOCATION, format!("/applications/{name}/status")))
        .json(json!({ "name": name, "warnings": [UNDERWAY] }))
}

fn check_head(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let length = text(header::CONTENT_LENGTH).and_then(|length| length.parse().ok());
    if length.is_some_and(|length: u64| length > LARGEST) {
        return Err(too_large());
    }
    match text(header::CONTENT_ENCODING) {
        None | Some("identity") => Ok(()),
        Some(_) => {
            let detail = "An archive is taken as it is: send it without Content-Encoding.";
            Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail))
        }
    }
}

fn not_pushed(error: &PushedError, name: &str) -> Problem {
    match error {
        PushedError::Fetched => {
            let detail = format!(
                "The code of {name} comes from repo.url: \"procserver redeploy {name}\" fetches it. To upload it instead, \
                 change the document (PATCH {{\"repo\": {{\"url\": null, \"push\": true}}}})."
            );
            Problem::new(StatusCode::CONFLICT, detail)
        }
        PushedError::BeingRemoved => Problem::new(StatusCode::CONFLICT, error.to_string()),
        PushedError::Failed(_) => {
            log::error!("{name}: upload: {error}");
            Problem::new(StatusCode::INSUFFICIENT_STORAGE, error.to_string())
        }
    }
}

fn too_large() -> Problem {
    let most = LARGEST >> 20;
    let detail = format!(
        "The archive is larger than {most} MiB: leave out what is built or downloaded (.slugignore)."
    );
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

/// Stores the body in a file without a name: nothing is left of it however this ends.
async fn store(directory: &Path, mut payload: Payload) -> Result<std::fs::File, Problem> {
    let own = directory.to_owned();
    let made = web::block(move || tempfile::tempfile_in(own)).await;
    let made = made.map_err(|_| stopping())?.map_err(|e| not_stored(&e))?;
    let mut file = tokio::fs::File::from_std(made);
    let (mut length, mut looked) = (0, 0);
    while let Some(piece) = payload.next().await {
        let piece = piece.map_err(|error| {
            let detail = format!("The archive broke off after {length} bytes: {error}");
            Problem::new(StatusCode::BAD_REQUEST, detail)
        })?;
        length += piece.len() as u64;
        if length > LARGEST {
            return Err(too_large());
        }
        if length >= looked {
            looked = length + BETWEEN_LOOKS;
            check_room(directory).await?;
        }
        file.write_all(&piece).await.map_err(|e| not_stored(&e))?;
    }
    file.flush().await.map_err(|e| not_stored(&e))?;
    Ok(file.into_std().await)
}

async fn check_room(directory: &Path) -> Result<(), Problem> {
    let own = directory.to_owned();
    let looked = web::block(move || disk_space::has_room_for(&own, BETWEEN_LOOKS)).await;
    match looked.map_err(|_| stopping())? {
        Ok(true) => Ok(()),
        Ok(false) => {
            let detail = "The disk has no space for the archive: free some, then try again.";
            Err(Problem::new(StatusCode::INSUFFICIENT_STORAGE, detail))
        }
        Err(error) => Err(not_stored(&error)),
    }
}

fn not_stored(error: &std::io::Error) -> Problem {
    log::error!("an upload cannot be stored: {error}");
    let detail = format!("The archive cannot be stored: {error}");
    Problem::new(StatusCode::INSUFFICIENT_STORAGE, detail)
}

fn stopping() -> Problem {
    Problem::unavailable("The server is being stopped.")
}

impl From<UploadError> for Problem {
    fn from(error: UploadError) -> Self {
        let status = match &error {
            UploadError::Archive(_) => StatusCode::UNPROCESSABLE_ENTITY,
            UploadError::Busy => StatusCode::CONFLICT,
            UploadError::NoSpace(_) => StatusCode::INSUFFICIENT_STORAGE,
            UploadError::Failed(_) => {
                log::error!("API: {error}");
                StatusCode::INSUFFICIENT_STORAGE
            }
        };
        let text = error.to_string();
        Self::new(status, text[..1].to_uppercase() + &text[1..])
    }
}
