//! [`Sessions`]: the browsers that are logged in. The only owner of their file, so that a session outlives the server.
//!
//! What a browser has is kept as a digest, beside the digest of the token with which somebody logged in: a session may do
//! what its token may, and ends with it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::session_table::{Session, Table};
use crate::tokens::token::Digest;
use crate::{durable, regular};

/// The name of the file, below the data directory.
const FILE: &str = "sessions.json";
const VERSION: u64 = 1;
const LARGEST_FILE: u64 = 1 << 20;

/// How long a session lasts.
pub(super) const LASTS: SignedDuration = SignedDuration::from_hours(12);

/// The browsers that are logged in. All clones are one.
#[derive(Clone, Debug)]
pub struct Sessions(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    table: watch::Sender<Arc<Table>>,
    /// One change comes after the other.
    turn: Mutex<()>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u64,
    sessions: Vec<Session>,
}

impl Sessions {
    /// Reads the file of `directory`. Where that cannot be, people log in again. Blocks.
    #[must_use]
    pub fn open(directory: &Path) -> Self {
        let path = directory.join(FILE);
        let stored = read(&path).unwrap_or_else(|error| {
            log::warn!("{}: {error}: people log in again", path.display());
            Vec::new()
        });
        Self(Arc::new(Inner {
            table: watch::Sender::new(Arc::new(Table::new(stored, Timestamp::now()))),
            path,
            turn: Mutex::new(()),
        }))
    }

    /// The digest of the token with which this browser was logged in.
    pub(super) fn find(&self, secret: &Digest, now: Timestamp) -> Option<Digest> {
        let table = self.0.table.borrow();
        table.find(secret, now).map(|session| session.token)
    }

    /// Resolves when this session is over.
    pub(super) fn ended(&self, secret: Digest) -> impl Future<Output = ()> + use<> {
        let mut table = self.0.table.subscribe();
        async move {
            let now = Timestamp::now();
            let expires = table.borrow().find(&secret, now).map(|own| own.expires);
            let left = expires.map(|expires| expires.duration_since(now).unsigned_abs());
            let is_over = |table: &Arc<Table>| table.find(&secret, Timestamp::now()).is_none();
            // An error means that its time is over, or that the server is gone.
            drop(tokio::time::timeout(left.unwrap_or_default(), table.wait_for(is_over)).await);
        }
    }

    /// Begins a session; it is on disk when this returns. Blocks.
    pub(super) fn begin(&self, secret: Digest, token: Digest, now: Timestamp) -> io::Result<()> {
        let expires = now.checked_add(LASTS).unwrap_or(now);
        self.change(|table| {
            table.begin(
                Session {
                    sha256: secret,
                    token,
                    expires,
                },
                now,
            );
        })
    }

    /// Ends a session, at once. Where that cannot be written, the next server takes it up again. Blocks.
    pub(super) fn end(&self, secret: &Digest) -> io::Result<()> {
        self.change(|table| table.end(secret))
    }

    fn change(&self, change: impl FnOnce(&mut Table)) -> io::Result<()> {
        let _turn = self.0.turn.lock().unwrap_or_else(|e| e.into_inner());
        let mut table = Table::clone(&self.0.table.borrow());
        change(&mut table);
        let stored = Stored {
            version: VERSION,
            sessions: table.all().to_vec(),
        };
        // Whoever logs out is logged out here, whatever the disk says. What could not be written is with the next change.
        self.0.table.send_replace(Arc::new(table));
        let text = serde_json::to_vec(&stored)?;
        durable::replace(&self.0.path, &text, 0o600)
    }
}

fn read(path: &Path) -> io::Result<Vec<Session>> {
    let Some(text) = regular::read_nofollow(path, LARGEST_FILE)? else {
        return Ok(Vec::new());
    };
    let stored: Stored = serde_json::from_slice(&text)?;
    match stored.version {
        VERSION => Ok(stored.sessions),
        other => Err(io::Error::other(format!("version {other} is not known"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_outlives_the_server_and_ends_when_somebody_logs_out() {
        let directory = tempfile::tempdir().unwrap();
        let (secret, token) = (Digest::of(b"secret"), Digest::of(b"token"));
        let now = Timestamp::now();
        let begun = Sessions::open(directory.path());
        begun.begin(secret, token, now).unwrap();
        let next = Sessions::open(directory.path());
        assert_eq!(next.find(&secret, now), Some(token));
        assert_eq!(next.find(&token, now), None);
        assert_eq!(next.find(&secret, now + LASTS), None);
        next.end(&secret).unwrap();
        assert_eq!(next.find(&secret, now), None);
        assert_eq!(
            Sessions::open(directory.path()).find(&secret, now),
            None,
            "also for the server after it"
        );
    }

    #[test]
    fn what_could_not_be_written_counts_is_told_and_is_written_with_the_next_change() {
        let directory = tempfile::tempdir().unwrap();
        let [kept, ended, token] = [&b"kept"[..], b"ended", b"token"].map(Digest::of);
        let now = Timestamp::now();
        let sessions = Sessions::open(directory.path());
        sessions.begin(ended, token, now).unwrap();
        let file = directory.path().join(FILE);
        let before = std::fs::read(&file).unwrap();
        // A file is not put in the place of a directory.
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
        assert!(sessions.end(&ended).is_err());
        assert_eq!(sessions.find(&ended, now), None);
        std::fs::remove_dir(&file).unwrap();
        std::fs::write(&file, before).unwrap();
        sessions.begin(kept, token, now).unwrap();
        let next = Sessions::open(directory.path());
        assert_eq!(next.find(&ended, now), None);
        assert_eq!(next.find(&kept, now), Some(token));
    }

    #[actix_web::test]
    async fn a_session_that_is_followed_ends_when_its_own_time_is_over() {
        let directory = tempfile::tempdir().unwrap();
        let (secret, token) = (Digest::of(b"secret"), Digest::of(b"token"));
        let sessions = Sessions::open(directory.path());
        let left = SignedDuration::from_millis(300);
        let begun = Timestamp::now() - LASTS + left;
        sessions.begin(secret, token, begun).unwrap();
        let patience = std::time::Duration::from_secs(60);
        let ended = tokio::time::timeout(patience, sessions.ended(secret)).await;
        assert!(ended.is_ok(), "it goes on");
        assert_eq!(sessions.find(&secret, begun + LASTS), None);
    }

    #[test]
    fn a_file_that_makes_no_sense_logs_all_out() {
        let directory = tempfile::tempdir().unwrap();
        for text in ["{", "{\"version\":2,\"sessions\":[]}"] {
            std::fs::write(directory.path().join(FILE), text).unwrap();
            assert!(
                Sessions::open(directory.path())
                    .0
                    .table
                    .borrow()
                    .all()
                    .is_empty()
            );
        }
    }
}
