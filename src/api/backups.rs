//! `POST /-/backup`: a backup, as it is made. `POST /-/restore`: takes one.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::web::{self, Bytes, Data, Payload};
use actix_web::{HttpRequest, HttpResponse, ResponseError as _};
use futures::StreamExt as _;
use futures::stream;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{mpsc, oneshot};

use super::backup_turn::Backups;
use super::caller::Caller;
use super::problem::Problem;
use super::query::Query;
use super::state::{ApiState, app_name};
use crate::app::apps::List;
use crate::app::supervisor::{OpenPushed, PushedError};
use crate::app_dirs::AppDirs;
use crate::backup::carry::{Carried, Carrier};
use crate::backup::error::BackupError;
use crate::backup::restore::{Plan, Request, Work, prepare};
use crate::backup::take::{CodeOf, Order, take as take_backup};
use crate::document::name::AppName;
use crate::install::carried_code;

/// Pieces that wait for the client, of at most [`PIECE`] bytes each.
const WAITING: usize = 8;
const PIECE: usize = 64 << 10;

fn backups(state: &ApiState) -> Result<Backups, Problem> {
    let none = || Problem::unavailable("Backups are not made here.");
    state.backups.clone().ok_or_else(none)
}

/// Names with commas between them.
fn names(query: &Query) -> Result<Vec<AppName>, Problem> {
    let text = query.text("only").unwrap_or_default();
    let names = text.split(',').filter(|name| !name.is_empty());
    names.map(app_name).collect()
}

pub(super) async fn take(
    request: HttpRequest,
    state: Data<ApiState>,
    caller: Caller,
) -> Result<HttpResponse, Problem> {
    let query = Query::read(&request, &["only", "pause"])?;
    let backups = backups(&state)?;
    let turn = backups.turn()?;
    let all = state.ask_apps(List).await?.into_iter();
    let all: Vec<AppName> = all
        .filter_map(|app| AppName::parse(&app.name).ok())
        .collect();
    let only = names(&query)?;
    if let Some(missing) = only.iter().find(|name| !all.contains(name)) {
        return Err(BackupError::NoSuchApp(missing.to_string()).into());
    }
    let whole = only.is_empty();
    let order = Order {
        settings: Arc::clone(&backups.carrier.settings),
        applications: documents(&state, if whole { all } else { only }).await?,
        whole,
        pause: query.flag("pause")?.unwrap_or(true),
        code_of: codes(state.clone()),
    };
    let (sender, pieces) = mpsc::channel(WAITING);
    actix_rt::task::spawn_blocking(move || {
        let out = Pieces {
            sender,
            piece: Vec::with_capacity(PIECE),
        };
        if let Err(error) = take_backup(&order, out) {
            log::warn!("{error}");
        }
        drop(turn);
    });
    let body = stream::unfold(pieces, |mut pieces| async move {
        let piece = pieces.recv().await?;
        Some((Ok::<_, io::Error>(piece), pieces))
    });
    let body = state.until_over(&caller, body);
    Ok(HttpResponse::Ok()
        .content_type("application/gzip")
        .streaming(Box::pin(body)))
}

/// What a backup gets the code of applications by: git runs on this thread, and who makes the backup waits on another.
fn codes(state: Data<ApiState>) -> Box<CodeOf> {
    type Answer = Result<Option<File>, String>;
    let (sender, mut asked) = mpsc::channel::<(AppName, oneshot::Sender<Answer>)>(1);
    actix_rt::spawn(async move {
        while let Some((name, answer)) = asked.recv().await {
            // Who makes the backup may be gone.
            let _gone = answer.send(bundle(&state, &name).await);
        }
    });
    Box::new(move |name| {
        let stops = || "the server is being stopped".to_owned();
        let (answer, answered) = oneshot::channel();
        let asked = sender.blocking_send((name.clone(), answer));
        asked.map_err(|_| stops())?;
        answered.blocking_recv().map_err(|_| stops())?
    })
}

/// The code of an application that is pushed to, in a file without a name.
async fn bundle(state: &ApiState, name: &AppName) -> Result<Option<File>, String> {
    let opened = state.ask_app(name.as_str(), OpenPushed).await;
    let pushed = match opened.map_err(|e| e.to_string())? {
        Ok(pushed) => pushed,
        Err(PushedError::Fetched) => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    carried_code::write(&pushed).await
}

/// The documents of applications; one that is removed meanwhile is left out.
async fn documents(
    state: &ApiState,
    names: Vec<AppName>,
) -> Result<Vec<(AppName, Value)>, Problem> {
    let mut documents = Vec::new();
    for name in names {
        match state.inspect(name.as_str()).await {
            Ok(view) => documents.push((name, view.document)),
            Err(problem) if problem.status_code() == StatusCode::NOT_FOUND => {}
            Err(problem) => return Err(problem),
        }
    }
    Ok(documents)
}

/// Sends what is written to it in pieces, and waits while the client is slow.
struct Pieces {
    sender: mpsc::Sender<Bytes>,
    piece: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = PIECE - self.piece.len();
        let taken = bytes.len().min(room);
        self.piece.extend_from_slice(&bytes[..taken]);
        if self.piece.len() == PIECE {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.sender.blocking_send(piece.into()).map_err(gone)
    }
}

pub(super) async fn restore(
    request: HttpRequest,
    state: Data<ApiState>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let query = Query::read(&request, &["only", "replace"])?;
    let backups = backups(&state)?;
    let _turn = backups.turn()?;
    let wanted = Request {
        only: names(&query)?.iter().map(ToString::to_string).collect(),
        replace: query.flag("replace")?.unwrap_or(false),
    };
    let work = Work::new(&backups.carrier.settings.data_dir);
    let file = upload(&work, payload).await?;
    let present = state.ask_apps(List).await?.into_iter();
    let present: Vec<String> = present.map(|app| app.name).collect();
    let plan = prepared(&backups.carrier, work, file, wanted, present).await?;
    // It goes on if the client goes away.
    let carried = actix_rt::spawn(async move { backups.carrier.carry_out(plan).await }).await;
    let carried: Carried = carried.map_err(|e| Problem::unavailable(&e.to_string()))??;
    Ok(HttpResponse::Ok().json(carried))
}

/// Stores the body.
async fn upload(work: &Work, mut payload: Payload) -> Result<std::fs::File, Problem> {
    let begun = {
        let work = work.clone();
        web::block(move || work.begin()).await
    };
    let mut file = tokio::fs::File::from_std(begun.map_err(|e| unavailable(&e))??);
    let stored = async {
        while let Some(piece) = payload.next().await {
            let piece = piece.map_err(|e| {
                Problem::new(StatusCode::BAD_REQUEST, format!("The body broke off: {e}"))
            })?;
            let written = file.write_all(&piece).await;
            written.map_err(|source| BackupError::Io {
                path: work.upload(),
                source,
            })?;
        }
        let flushed = file.flush().await;
        flushed.map_err(|source| BackupError::Io {
            path: work.upload(),
            source,
        })?;
        Ok(())
    };
    let stored: Result<(), Problem> = stored.await;
    if stored.is_err() {
        let work = work.clone();
        // The first error says what is wrong; the next restore, or start, removes what is left.
        let _cleared = web::block(move || work.clear()).await;
    }
    stored?;
    Ok(file.into_std().await)
}

async fn prepared(
    carrier: &Carrier,
    work: Work,
    mut file: std::fs::File,
    wanted: Request,
    present: Vec<String>,
) -> Result<Plan, Problem> {
    let (settings, rules) = (Arc::clone(&carrier.settings), carrier.rules.clone());
    let prepared = web::block(move || {
        let is_taken = |name: &AppName| {
            if present.iter().any(|present| present == name.as_str()) {
                return Some(format!("there is an application \"{name}\""));
            }
            let dirs = AppDirs::new(&settings.data_dir, &settings.runtime_dir, name);
            let root = dirs.root();
            root.exists()
                .then(|| format!("files of an earlier \"{name}\" are in {}", root.display()))
        };
        prepare(&work, &mut file, &wanted, &rules, &is_taken)
    });
    Ok(prepared.await.map_err(|e| unavailable(&e))??)
}

fn unavailable(error: &dyn std::fmt::Display) -> Problem {
    Problem::unavailable(&error.to_string())
}
