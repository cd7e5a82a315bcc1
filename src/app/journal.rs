//! What an app remembers over a restart of the daemon, and the task that writes it, in order, off the control thread.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::directories::AppDirs;
use super::lifecycle::Wanted;
use crate::durable;
use crate::install::record::{self, DeploymentRecord};

/// `state.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// What the user last asked for.
    pub wanted: Wanted,
    /// The current release.
    pub current: Option<u64>,
    /// When the app was created: where several apps match a host, the oldest wins.
    pub created: jiff::Timestamp,
}

impl Remembered {
    /// An app that is new.
    #[must_use]
    pub fn new() -> Self {
        Self {
            wanted: Wanted::Running,
            current: None,
            created: jiff::Timestamp::now(),
        }
    }

    /// Reads `state.json`; `None` when there is none. Blocks.
    ///
    /// # Errors
    /// The file is there but cannot be read or is damaged; a damaged one is set aside as `state.json.damaged`.
    pub fn load(path: &Path) -> io::Result<Option<Self>> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|e| {
            let aside = path.with_extension("json.damaged");
            let kept = std::fs::rename(path, &aside);
            let place = if kept.is_ok() {
                format!(", set aside as {}", aside.display())
            } else {
                String::new()
            };
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{} is damaged ({e}){place}", path.display()),
            )
        })
    }
}

impl Default for Remembered {
    fn default() -> Self {
        Self::new()
    }
}

#[derive(Debug)]
enum Entry {
    State(Remembered),
    Deployment(Box<DeploymentRecord>),
    Flush(oneshot::Sender<()>),
}

/// Writes one app's files in the order in which it is told to. Dropping it lets what is queued be written.
#[derive(Debug)]
pub struct Journal {
    entries: mpsc::UnboundedSender<Entry>,
}

impl Journal {
    /// Starts the writing task on the current thread's runtime.
    #[must_use]
    pub fn start(dirs: AppDirs) -> Self {
        let (entries, mut queue) = mpsc::unbounded_channel();
        actix_rt::spawn(async move {
            while let Some(entry) = queue.recv().await {
                let dirs = dirs.clone();
                let written = actix_rt::task::spawn_blocking(move || write(&dirs, entry)).await;
                match written {
                    Ok(Ok(())) => {}
                    Ok(Err(e)) => log::error!("the state of an app could not be written: {e}"),
                    Err(e) => log::error!("the writer of an app's state failed: {e}"),
                }
            }
        });
        Self { entries }
    }

    /// Writes `state.json`.
    pub fn state(&self, state: Remembered) {
        self.put(Entry::State(state));
    }

    /// Writes a deployment's record.
    pub fn deployment(&self, record: DeploymentRecord) {
        self.put(Entry::Deployment(Box::new(record)));
    }

    /// Resolves when all that was put before is on disk.
    pub fn flushed(&self) -> impl Future<Output = ()> + use<> {
        let (done, written) = oneshot::channel();
        self.put(Entry::Flush(done));
        async move {
            // An error means that the task is gone: then nothing is queued any more.
            let _gone = written.await;
        }
    }

    fn put(&self, entry: Entry) {
        // The task ends only when this sender is dropped, or with the runtime at exit.
        if self.entries.send(entry).is_err() {
            log::error!("an app's state could not be written: its writer is gone");
        }
    }
}

fn write(dirs: &AppDirs, entry: Entry) -> io::Result<()> {
    match entry {
        Entry::State(state) => {
            std::fs::create_dir_all(dirs.root())?;
            durable::replace(&dirs.state(), &serde_json::to_vec_pretty(&state)?, 0o600)
        }
        Entry::Deployment(record) => record::store(&dirs, &record),
        Entry::Flush(done) => {
            // Nobody waits any more: fine.
            let _unheard = done.send(());
            Ok(())
        }
    }
}
