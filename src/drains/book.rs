//! [`Drains`]: which drains are wanted, and what became of them. Cheap to clone; it outlives all actors.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::Notify;

use super::accounts::Accounts;
use super::cursor::Cursor;
use super::status::DrainStatus;
use super::tally::Tally;
use crate::document::drain::DrainConfig;
use crate::document::mask::Mask;
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
    /// Hides the secrets of the application in what its receiver says.
    pub(super) mask: Mask,
}

impl Wanted {
    /// Whether both are the same work.
    pub(super) fn is_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.tally, &other.tally)
            && self.config == other.config
            && self.mask == other.mask
    }

    pub(super) fn streams(&self) -> impl Iterator<Item = Stream> {
        let names = self.config.streams.iter();
        names.filter_map(|name| Stream::parse(name))
    }

    /// Lines over which the log has gone on since it was read up to `gathered`.
    pub(super) fn lost(&self, logs: &AppLogs, gathered: &Accounts) -> u64 {
        let lost = self.streams().map(|stream| {
            let first = logs.first(&self.app, stream);
            let last = gathered.last(stream);
            last.map_or(0, |last| first.saturating_sub(last.saturating_add(1)))
        });
        lost.sum()
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

    /// From now on `app`, with its logs in `directory`, has the drains of its document, and those of all; `mask` hides
    /// its secrets.
    pub fn want(
        &self,
        app: &Arc<str>,
        directory: &Path,
        own: &[DrainConfig],
        mask: impl FnOnce() -> Mask,
    ) {
        let has_any = !own.is_empty() || !self.0.of_all.is_empty();
        let mask = has_any.then(mask).unwrap_or_default();
        let own = own.iter().map(|config| (config, false));
        let all = own.chain(self.0.of_all.iter().map(|config| (config, true)));
        let directory = directory.join(DIRECTORY);
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
                cursor: directory.join(&key),
                mask: mask.clone(),
                tally: known.map_or_else(Arc::default, |known| Arc::clone(&known.tally)),
                key,
            });
        }
        let is_other =
            now.len() != before.len() || now.iter().zip(&before).any(|(a, b)| !a.is_as(b));
        if is_other || before.is_empty() {
            let keys: Vec<&str> = now.iter().map(|wanted| &*wanted.key).collect();
            // Here, before the Drainer hears of it: one that is taken away and comes back at once has a new one.
            if let Err(error) = Cursor::keep_only(&directory, &keys) {
                let directory = directory.display();
                log::error!("{directory}: what drains that are gone remember stays: {error}");
            }
        }
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
        let lost = wanted.lost(&self.0.logs, &tallied.gathered);
        let waiting = wanted.streams().map(|stream| {
            let (last, taken) = (
                self.0.logs.last(&wanted.app, stream),
                tallied.taken.last(stream),
            );
            taken.map_or(0, |taken| last.saturating_sub(taken))
        });
        let waiting = waiting.sum::<u64>();
        let waiting = waiting.saturating_sub(lost + tallied.missing);
        let last_dropped = match lost {
            0 => tallied.last_dropped,
            _ => Some(Timestamp::now()),
        };
        DrainStatus {
            url: wanted.config.url.shown(),
            key: wanted.key.clone(),
            of_server: wanted.is_of_server,
            state: tallied.state,
            sent: tallied.sent,
            dropped: tallied.dropped + lost,
            waiting,
            last_sent: tallied.last_sent,
            last_dropped,
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
        let want = |own: &[DrainConfig]| drains.want(&app, directory, own, Mask::default);
        want(&[]);
        let first = drains.list();
        want(&[drain("https://t@h"), drain("syslog+tcp://all")]);
        let both = drains.list();
        assert_eq!(both.len(), 2);
        assert!(both[1].is_as(&first[0]) && !both[1].is_of_server);
        assert_eq!(both[1].cursor, directory.join("drains").join(&both[1].key));
        // Another password is another task, with the same cursor.
        want(&[drain("https://u@h")]);
        assert!(!drains.list()[0].is_as(&both[0]));
        assert_eq!(drains.list()[0].cursor, both[0].cursor);
        assert_eq!(drains.of("blog")[0].url, "https://h");
        drains.forget("blog");
        assert!(drains.list().is_empty() && drains.all().is_empty());
    }

    #[test]
    fn who_is_taken_away_and_comes_back_does_not_go_on_where_it_was() {
        let logs = tempfile::tempdir().unwrap();
        let drain = |url: &str| DrainConfig::to(url).unwrap();
        let (stays, goes) = (drain("https://stays"), drain("https://goes"));
        let app = "blog".into();
        let want = |drains: &Drains, own: &[DrainConfig]| {
            drains.want(&app, logs.path(), own, Mask::default);
        };
        let drains = Drains::new(vec![], AppLogs::default());
        want(&drains, &[stays.clone(), goes.clone()]);
        let cursors: Vec<_> = drains.list().into_iter().map(|one| one.cursor).collect();
        let write = || {
            for cursor in &cursors {
                Cursor::open(cursor)
                    .unwrap()
                    .0
                    .write(&Accounts::default())
                    .unwrap();
            }
        };
        let there = || [cursors[0].exists(), cursors[1].exists()];
        write();
        want(&drains, &[stays.clone(), goes.clone()]);
        assert_eq!(there(), [true, true]);
        want(&drains, std::slice::from_ref(&stays));
        assert_eq!(there(), [true, false]);
        // Also where it was taken out of the document while no server ran.
        write();
        want(&Drains::new(vec![], AppLogs::default()), &[stays]);
        assert_eq!(there(), [true, false]);
    }

    #[test]
    fn lines_over_which_the_log_goes_on_are_dropped_and_wait_no_more() {
        let logs = AppLogs::default();
        let drains = Drains::new(vec![], logs.clone());
        let own = [DrainConfig::to("https://h").unwrap()];
        drains.want(&"blog".into(), Path::new("/logs"), &own, Mask::default);
        let (stored, tally) = (logs.counter("blog"), Arc::clone(&drains.list()[0].tally));
        let at = |id: u64| {
            let mut accounts = Accounts::default();
            accounts.set(Stream::Stdout, id);
            accounts
        };
        let shown = || {
            let of = drains.of("blog").remove(0);
            (of.sent, of.waiting, of.dropped, of.last_dropped.is_some())
        };
        tally.begins_at(&at(100));
        stored.begins_at(Stream::Stdout, 1);
        stored.is_at(Stream::Stdout, 400);
        assert_eq!(shown(), (0, 300, 0, false));
        // A batch of 50 is tried again and again.
        tally.gathered(&at(150), 0, Timestamp::UNIX_EPOCH);
        stored.begins_at(Stream::Stdout, 301);
        assert_eq!(shown(), (0, 150, 150, true));
        // It is taken, and the drain finds what is missing.
        tally.sent(50, &at(150), Timestamp::UNIX_EPOCH);
        assert_eq!(shown(), (50, 100, 150, true));
        tally.gathered(&at(400), 150, Timestamp::UNIX_EPOCH);
        assert_eq!(shown(), (50, 100, 150, true));
        tally.sent(100, &at(400), Timestamp::UNIX_EPOCH);
        assert_eq!(shown(), (150, 0, 150, true));
    }
}
