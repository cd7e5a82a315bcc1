//! [`Drains`]: which drains are wanted, and what became of them. Cheap to clone; it outlives all actors.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::Notify;

use super::status::DrainStatus;
use super::tally::Tally;
use crate::document::drain::DrainConfig;
use crate::logs::app_logs::AppLogs;
use crate::logs::record::Stream;

/// Cursors are here, below the directory of the app's logs, and go with it.
const DIRECTORY: &str = "drains";

/// The drains of all applications.
#[derive(Clone, Debug)]
pub struct Drains(Arc<Book>);

#[derive(Debug)]
struct Book {
    /// Those of every application.
    of_all: Vec<DrainConfig>,
    logs: AppLogs,
    wanted: Mutex<BTreeMap<Arc<str>, Vec<Wanted>>>,
    changed: Notify,
}

/// One that is wanted.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) app: Arc<str>,
    pub(super) config: DrainConfig,
    pub(super) key: String,
    pub(super) is_of_server: bool,
    /// One that was never here before sends what was written from then on.
    pub(super) since: Timestamp,
    pub(super) cursor: PathBuf,
    pub(super) tally: Arc<Tally>,
}

impl Wanted {
    /// Whether both are the same work.
    pub(super) fn is_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.tally, &other.tally) && self.config == other.config
    }
}

impl Drains {
    /// None yet; `of_all` are those of every application.
    #[must_use]
    pub fn new(of_all: Vec<DrainConfig>, logs: AppLogs) -> Self {
        Self(Arc::new(Book {
            of_all,
            logs,
            wanted: Mutex::default(),
            changed: Notify::new(),
        }))
    }

    /// From now on `app`, with its logs in `directory`, has the drains of its document, and those of all.
    pub fn want(&self, app: &Arc<str>, directory: &Path, own: &[DrainConfig]) {
        let own = own.iter().map(|config| (config, false));
        let all = own.chain(self.0.of_all.iter().map(|config| (config, true)));
        let mut book = self.wanted();
        let before = book.remove(app).unwrap_or_default();
        let mut now: Vec<Wanted> = Vec::new();
        for (config, is_of_server) in all {
            let key = config.url.key();
            if now.iter().any(|other| other.key == key) {
                continue;
            }
            let known = before.iter().find(|other| other.key == key);
            now.push(Wanted {
                app: Arc::clone(app),
                config: config.clone(),
                is_of_server,
                since: known.map_or_else(Timestamp::now, |known| known.since),
                cursor: directory.join(DIRECTORY).join(&key),
                tally: known.map_or_else(Arc::default, |known| Arc::clone(&known.tally)),
                key,
            });
        }
        let is_other =
            now.len() != before.len() || now.iter().zip(&before).any(|(a, b)| !a.is_as(b));
        if !now.is_empty() {
            book.insert(Arc::clone(app), now);
        }
        drop(book);
        if is_other {
            self.0.changed.notify_one();
        }
    }

    /// `app` is removed.
    pub fn forget(&self, app: &str) {
        if self.wanted().remove(app).is_some() {
            self.0.changed.notify_one();
        }
    }

    /// How the drains of `app` are.
    #[must_use]
    pub fn of(&self, app: &str) -> Vec<DrainStatus> {
        let wanted = self.wanted().get(app).cloned().unwrap_or_default();
        wanted.iter().map(|one| self.status(one)).collect()
    }

    /// How all are.
    #[must_use]
    pub fn all(&self) -> BTreeMap<Arc<str>, Vec<DrainStatus>> {
        let book = self.wanted().clone();
        let of_app = |(app, wanted): (Arc<str>, Vec<Wanted>)| {
            (app, wanted.iter().map(|one| self.status(one)).collect())
        };
        book.into_iter().map(of_app).collect()
    }

    /// All that are wanted.
    pub(super) fn list(&self) -> Vec<Wanted> {
        self.wanted().values().flatten().cloned().collect()
    }

    /// Resolves when others are wanted than before.
    pub(super) async fn changed(&self) {
        self.0.changed.notified().await;
    }

    fn status(&self, wanted: &Wanted) -> DrainStatus {
        let tallied = wanted.tally.look();
        let streams = wanted
            .config
            .streams
            .iter()
            .filter_map(|name| Stream::parse(name));
        let waiting = streams.map(|stream| {
            let (last, taken) = (
                self.0.logs.last(&wanted.app, stream),
                tallied.taken.last(stream),
            );
            taken.map_or(0, |taken| last.saturating_sub(taken))
        });
        DrainStatus {
            url: wanted.config.url.shown(),
            key: wanted.key.clone(),
            of_server: wanted.is_of_server,
            state: tallied.state,
            sent: tallied.sent,
            dropped: tallied.dropped,
            waiting: waiting.sum(),
            last_sent: tallied.last_sent,
            last_dropped: tallied.last_dropped,
            failing_since: tallied.failing_since,
            error: tallied.error,
        }
    }

    fn wanted(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Vec<Wanted>>> {
        self.0.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_stays_the_same_through_changes_of_others() {
        let drain = |url: &str| DrainConfig::to(url).unwrap();
        let drains = Drains::new(vec![drain("syslog+tcp://all")], AppLogs::default());
        let (app, directory) = ("blog".into(), Path::new("/logs"));
        drains.want(&app, directory, &[]);
        let first = drains.list();
        drains.want(
            &app,
            directory,
            &[drain("https://t@h"), drain("syslog+tcp://all")],
        );
        let both = drains.list();
        assert_eq!(both.len(), 2);
        assert!(both[1].is_as(&first[0]) && !both[1].is_of_server);
        assert_eq!(both[1].cursor, directory.join("drains").join(&both[1].key));
        // Another password is another task, with the same cursor.
        drains.want(&app, directory, &[drain("https://u@h")]);
        assert!(!drains.list()[0].is_as(&both[0]));
        assert_eq!(drains.list()[0].cursor, both[0].cursor);
        assert_eq!(drains.of("blog")[0].url, "https://h");
        drains.forget("blog");
        assert!(drains.list().is_empty() && drains.all().is_empty());
    }
}
