//! [`Handover`]: what one server leaves to the next over execve(2): its sockets (sd_listen_fds(3)), a note, and its own
//! program, to come back to. That is a descriptor: another file lies where the program came from.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Next;
use crate::api::reload_status::{ReloadStatus, Stage};
use crate::front::kept::Kept;
use crate::priority;

/// The variable with the [`Note`].
const VARIABLE: &str = "PROCSERVER_HANDOVER";

/// `SD_LISTEN_FDS_START`.
const FIRST: i32 = 3;

/// A server that is not ready within this time is none.
const LIMIT: Duration = Duration::from_secs(60);

/// What one server tells the next.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Note {
    /// The number of the reload.
    #[serde(default)]
    reload: u64,
    /// The version of who wrote this.
    #[serde(default)]
    version: String,
    /// The descriptor of its program; none when it comes back itself.
    #[serde(default)]
    former: Option<i32>,
    /// Why the server that was to take over could not.
    #[serde(default)]
    failed: Option<String>,
    /// It was asked to stop at the last moment.
    #[serde(default)]
    stops: bool,
}

/// What the server before left.
pub(crate) struct Handover {
    note: Option<Note>,
    former: Option<File>,
    kept: Kept,
    /// This server serves, or has gone back.
    is_decided: AtomicBool,
}

impl Handover {
    /// Takes it. `kept` are the sockets, for the way back. Call it once, before there is any other thread.
    pub(crate) fn take(kept: Kept) -> Arc<Self> {
        let note = std::env::var(VARIABLE).ok();
        let note: Option<Note> = note.and_then(|text| serde_json::from_str(&text).ok());
        let former = note
            .as_ref()
            .and_then(|note| note.former)
            .and_then(|number| {
                // Once more, as a descriptor that nothing inherits.
                let former = File::open(format!("/proc/self/fd/{number}"));
                let _closed = nix::unistd::close(number);
                former.ok()
            });
        if note.is_some() {
            // execve(2) has made it that of the file by whose name it was called.
            let _as_it_is = rustix::thread::set_name(c"procserver");
        }
        Arc::new(Self {
            note,
            former,
            kept,
            is_decided: AtomicBool::new(false),
        })
    }

    /// Whether this process was a server before.
    pub(crate) fn is_one(&self) -> bool {
        self.note.is_some()
    }

    /// Goes back when this server is not ready in time.
    pub(crate) fn limit(self: &Arc<Self>) {
        if self.former.is_none() {
            return;
        }
        let own = Arc::clone(self);
        let waits = std::thread::Builder::new().name("handover".to_owned());
        let waits = waits.spawn(move || {
            let until = std::time::Instant::now() + LIMIT;
            while let Some(left) = until.checked_duration_since(std::time::Instant::now()) {
                if own.is_decided.load(Ordering::SeqCst) {
                    return;
                }
                std::thread::sleep(left.min(Duration::from_millis(200)));
            }
            own.go_back(&format!("it was not ready within {} s", LIMIT.as_secs()));
        });
        if let Err(error) = waits {
            log::warn!("nobody looks how long the start takes: {error}");
        }
    }

    /// This server serves. Says whether it is to stop.
    pub(crate) fn ready(&self) -> bool {
        self.is_decided.store(true, Ordering::SeqCst);
        let Some(note) = &self.note else {
            return false;
        };
        match &note.failed {
            Some(reason) => log::error!("reload: this server goes on: {reason}"),
            None => log::info!(
                "reload: procserver {} has taken over from {}",
                env!("CARGO_PKG_VERSION"),
                note.version
            ),
        }
        note.stops
    }

    /// What came of the reload, once this server is ready.
    pub(crate) fn status(&self) -> ReloadStatus {
        let Some(note) = &self.note else {
            return ReloadStatus::default();
        };
        ReloadStatus {
            reload: note.reload,
            state: if note.failed.is_some() {
                Stage::Failed
            } else {
                Stage::Done
            },
            waits_for: Vec::new(),
            reason: note.failed.clone(),
            at: Some(Timestamp::now()),
        }
    }

    /// Becomes the former server again, with the reason. Returns if there is none, this one serves already, or that
    /// fails.
    pub(crate) fn go_back(&self, reason: &str) {
        let (Some(former), Some(note)) = (&self.former, &self.note) else {
            return;
        };
        if self.is_decided.swap(true, Ordering::SeqCst) {
            return;
        }
        let version = env!("CARGO_PKG_VERSION");
        log::error!("reload: procserver {version} cannot take over: {reason}");
        let note = Note {
            failed: Some(format!(
                "procserver {version} could not take over: {reason}"
            )),
            former: None,
            ..note.clone()
        };
        let path = format!("/proc/self/fd/{}", former.as_raw_fd());
        let error = become_server(Path::new(&path), &self.kept, note, None);
        log::error!("reload: the former server cannot be had back: {error}");
    }
}

/// Becomes the next server. Returns only if that fails, and this one cannot be had back.
pub(crate) fn exec(next: &Next, kept: &Kept) -> io::Error {
    let note = Note {
        reload: next.reload,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        former: None,
        failed: None,
        stops: next.stops,
    };
    let own = Path::new("/proc/self/exe");
    let error = match File::open(own) {
        Ok(former) => become_server(&next.program, kept, note.clone(), Some(former)),
        Err(error) => error,
    };
    let failed = Some(format!("{}: {error}", next.program.display()));
    become_server(own, kept, Note { failed, ..note }, None)
}

fn become_server(program: &Path, kept: &Kept, note: Note, former: Option<File>) -> io::Error {
    match command(program, kept, note, former) {
        Ok(mut command) => {
            priority::step_back();
            command.exec()
        }
        Err(error) => error,
    }
}

fn command(
    program: &Path,
    kept: &Kept,
    mut note: Note,
    former: Option<File>,
) -> io::Result<Command> {
    let (mut names, mut descriptors) = (Vec::new(), Vec::new());
    for (name, socket) in kept.all()? {
        names.push(name);
        descriptors.push(socket);
    }
    if let Some(former) = former {
        let behind = i32::try_from(names.len()).map_err(io::Error::other)?;
        note.former = Some(FIRST + behind);
        descriptors.push(former.into());
    }
    let numbered = descriptors.into_iter().zip(FIRST..);
    let mappings = numbered.map(|(parent_fd, child_fd)| FdMapping {
        parent_fd,
        child_fd,
    });
    let mut arguments = std::env::args_os();
    let mut command = Command::new(program);
    command
        .arg0(arguments.next().unwrap_or_default())
        .args(arguments)
        .env("LISTEN_FDS", names.len().to_string())
        .env("LISTEN_FDNAMES", names.join(":"))
        .env("LISTEN_PID", std::process::id().to_string())
        .env(VARIABLE, serde_json::to_string(&note)?)
        .fd_mappings(mappings.collect())
        .map_err(io::Error::other)?;
    Ok(command)
}
