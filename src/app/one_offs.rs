//! [`OneOffs`]: the processes of an app that run once, outside of its formation: those that live, and the last that ended.
//!
//! A record is written before its process starts, so that the next server knows which to go on with, and never takes one
//! for another. What lives keeps its release on disk.

mod record;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::oneshot;

pub use self::record::{OneOffRecord, Written};

use super::cron::Seen;
use super::engine::one_off::OutlivedOneOff;
use super::engine::unit::Left;
use super::lifecycle::BatchId;
use super::runnable::Runnable;
use crate::document::name::AppName;
use crate::exit_status::{ExitRecord, ExitStatus};
use crate::process::one_off::{EndsKind, Session};
use crate::process::phase::Phase;
use crate::process::worker::Snapshot;

/// The type of a command that a person runs, for `limits` and in lists.
pub const RUN: &str = "run";

/// That of a job.
pub const CRON: &str = "cron";

/// The id of the runs of a job.
#[must_use]
pub fn job_id(name: &str) -> String {
    format!("{CRON}.{name}")
}

/// One-off processes of an app at a time.
pub const MOST: usize = 32;

/// How many that ended are kept, of each type.
const KEPT: usize = 20;

/// Numbers of `run.N` where the Procfile has a type of that name; a scale goes to 100.
const BESIDE_FORMATION: u64 = 1001;

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Wish {
    pub command: String,
    pub env: BTreeMap<String, String>,
    /// `None`: detached.
    pub ends: Option<EndsKind>,
    pub time_limit: Option<Duration>,
    pub job: Option<JobWish>,
}

/// The job that something is a run of.
#[derive(Clone, Debug)]
pub struct JobWish {
    pub name: String,
    /// The time of its schedule, if it is due.
    pub due: Option<jiff::Timestamp>,
    /// Whether it may run while another run of it does.
    pub overlaps: bool,
}

/// Answers who asked for a process.
pub type Answer = oneshot::Sender<Result<Started, OneOffError>>;

/// A process that was asked for runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// `run.3`.
    pub id: String,
    pub release: u64,
}

/// One that lives.
#[derive(Debug)]
pub struct Live {
    pub record: OneOffRecord,
    /// What it is started with; `None` for one that is only to be ended.
    pub runnable: Option<std::sync::Arc<Runnable>>,
    pub ends: Option<EndsKind>,
    pub snapshot: Option<Snapshot>,
    /// Who waits until it runs.
    pub answer: Option<Answer>,
    /// What outlived the previous server.
    pub survivor: Option<Left>,
    /// Waits for who attaches to it.
    pub session: Option<Session>,
    /// It has had an actor: a fresh one finds its OS process running, or ended.
    pub was_started: bool,
}

/// Why there is no process, or nothing to attach to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OneOffError {
    #[error("\"{0}\" is being removed")]
    BeingRemoved(AppName),
    #[error("\"{0}\" has no release yet: the command needs one that was deployed")]
    NoRelease(AppName),
    #[error(
        "\"{app}\" runs {MOST} commands and jobs at a time already: end one (\"procserver ps {app}\" lists them, \
         \"procserver stop {app} -p run.N\" ends one)"
    )]
    TooMany { app: AppName },
    /// The machine or the release cannot start it.
    #[error("the command was not started: {0}")]
    NotStarted(String),
    #[error("there is no {id} of \"{app}\" that runs")]
    NoSuchRun { app: AppName, id: String },
    #[error("\"{app}\" has no job \"{name}\": \"procserver cron {app}\" lists those that it has")]
    NoSuchJob { app: AppName, name: String },
    #[error("a run of \"{0}\" is at work, and its \"overlap\" is \"skip\"")]
    JobAtWork(String),
    #[error("{0} is detached: \"procserver logs APP -p {0}\" shows what it prints")]
    Detached(String),
    #[error("somebody is attached to {0} already, or was")]
    Taken(String),
}

/// The one-off processes of an app.
#[derive(Debug)]
pub struct OneOffs {
    live: BTreeMap<BatchId, Live>,
    ended: Vec<OneOffRecord>,
    next: BatchId,
    next_run: u64,
}

impl Default for OneOffs {
    fn default() -> Self {
        Self::recovered(Written::default(), vec![], jiff::Timestamp::UNIX_EPOCH).0
    }
}

impl OneOffs {
    /// What the previous server left. Returns the survivors that are to be ended: they belong to no record, or to one that
    /// somebody was attached to.
    #[must_use]
    pub fn recovered(
        written: Written,
        mut survivors: Vec<OutlivedOneOff>,
        now: jiff::Timestamp,
    ) -> (Self, Vec<Left>) {
        let mut found = Self {
            live: BTreeMap::new(),
            ended: vec![],
            next: written.next,
            next_run: written.next_run,
        };
        for mut record in written.all {
            if record.exit.is_some() {
                found.ended.push(record);
                continue;
            }
            let is_it = |s: &OutlivedOneOff| {
                let is_wanted = s.is_present && !record.attached;
                is_wanted && s.number == record.number && s.id == record.id
            };
            let survivor = survivors.iter().position(is_it);
            match survivor.map(|index| survivors.swap_remove(index)) {
                Some(survivor) => {
                    let live = Live {
                        survivor: Some(survivor.left),
                        ..Live::new(record, None, None)
                    };
                    found.live.insert(live.record.number, live);
                }
                None => {
                    record.exit = Some(unknown_exit(record.attached, now));
                    found.ended.push(record);
                }
            }
        }
        let strangers = survivors.into_iter().map(|survivor| survivor.left);
        (found, strangers.collect())
    }

    /// What is written down, beside what was `seen` of schedules.
    #[must_use]
    pub fn written(&self, seen: &Seen) -> Written {
        let live = self.live.values().map(|live| &live.record);
        Written {
            next: self.next,
            next_run: self.next_run,
            all: self.ended.iter().chain(live).cloned().collect(),
            seen: seen.clone(),
        }
    }

    /// Whether there is room for another.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.live.len() < MOST
    }

    /// Notes a process that is about to start.
    pub fn open(
        &mut self,
        wish: Wish,
        runnable: std::sync::Arc<Runnable>,
        now: jiff::Timestamp,
    ) -> BatchId {
        let (id, due) = match wish.job {
            Some(JobWish { name, due, .. }) => (job_id(&name), due),
            None => (self.next_run_id(&runnable), None),
        };
        let number = self.next;
        self.next += 1;
        let record = OneOffRecord {
            number,
            id,
            command: wish.command,
            env: wish.env,
            release: runnable.id(),
            attached: wish.ends.is_some(),
            timeout: wish.time_limit.map(|limit| limit.as_secs()),
            created: now,
            due,
            node: None,
            exit: None,
        };
        self.live
            .insert(number, Live::new(record, Some(runnable), wish.ends));
        number
    }

    fn next_run_id(&mut self, runnable: &Runnable) -> String {
        let has_type = runnable.release.procfile.command(RUN).is_some();
        let run = self
            .next_run
            .max(if has_type { BESIDE_FORMATION } else { 1 });
        self.next_run = run + 1;
        format!("{RUN}.{run}")
    }

    /// Whether a run of a job may begin.
    ///
    /// # Errors
    /// [`OneOffError::JobAtWork`].
    pub fn may_run(&self, name: &str, overlaps: bool) -> Result<(), OneOffError> {
        let (id, mut live) = (job_id(name), self.live.values());
        let is_at_work = live.any(|live| live.record.id == id && live.record.exit.is_none());
        match is_at_work && !overlaps {
            true => Err(OneOffError::JobAtWork(name.to_owned())),
            false => Ok(()),
        }
    }

    #[must_use]
    pub fn get(&self, number: BatchId) -> Option<&Live> {
        self.live.get(&number)
    }

    pub fn get_mut(&mut self, number: BatchId) -> Option<&mut Live> {
        self.live.get_mut(&number)
    }

    /// The live one of this id that a report is about.
    pub fn of_report(&mut self, number: BatchId, id: &str) -> Option<&mut Live> {
        self.live
            .get_mut(&number)
            .filter(|live| live.record.id == id)
    }

    pub fn by_id(&mut self, id: &str) -> Option<&mut Live> {
        self.live.values_mut().find(|live| live.record.id == id)
    }

    pub fn live(&self) -> impl Iterator<Item = &Live> {
        self.live.values()
    }

    /// The last that ended, oldest first, and then those that live.
    pub fn all(&self) -> impl Iterator<Item = (&OneOffRecord, Option<&Live>)> {
        let ended = self.ended.iter().map(|record| (record, None));
        ended.chain(self.live.values().map(|live| (&live.record, Some(live))))
    }

    /// The releases that they run.
    pub fn releases(&self) -> impl Iterator<Item = u64> {
        self.live.values().map(|live| live.record.release)
    }

    /// What is secret of them.
    pub fn secrets(&self) -> impl Iterator<Item = String> {
        let records = self.all().map(|(record, _)| record);
        records.flat_map(|record| record.env.values().cloned())
    }

    /// Takes one away that is over: kept with its exit, where it has run.
    pub fn over(&mut self, number: BatchId) -> Option<Live> {
        let live = self.live.remove(&number)?;
        if live.record.exit.is_some() {
            self.ended.push(live.record.clone());
            // Of each job as many.
            let series = live.record.series().to_owned();
            let is_same = |r: &OneOffRecord| r.series() == series;
            let count = self.ended.iter().filter(|r| is_same(r)).count();
            let mut surplus = count.saturating_sub(KEPT);
            self.ended.retain(|record| {
                let goes = surplus > 0 && is_same(record);
                surplus -= usize::from(goes);
                !goes
            });
        }
        Some(live)
    }
}

impl Live {
    fn new(
        record: OneOffRecord,
        runnable: Option<std::sync::Arc<Runnable>>,
        ends: Option<EndsKind>,
    ) -> Self {
        Self {
            record,
            runnable,
            ends,
            snapshot: None,
            answer: None,
            survivor: None,
            session: None,
            was_started: false,
        }
    }

    /// Takes what its actor tells, and answers who asked for it. Whether it has an exit now: one that was not started has
    /// one where nobody waits for that answer any more.
    pub fn hear(
        &mut self,
        snapshot: &Snapshot,
        exited: Option<&ExitRecord>,
        now: jiff::Timestamp,
    ) -> bool {
        let node = snapshot.place.as_ref().and_then(|place| place.node.clone());
        self.record.node = node.or_else(|| self.record.node.take());
        let is_known = exited.is_some_and(|exit| exit.status != ExitStatus::Unknown);
        if snapshot.pid.is_some() || snapshot.started_at.is_some() || is_known {
            self.answer(|record| {
                let (id, release) = (record.id.clone(), record.release);
                Ok(Started { id, release })
            });
        }
        if let Some(exit) = exited {
            self.record.exit = Some(exit.clone());
        }
        if snapshot.phase == Phase::Stopped {
            let why = exited.and_then(|exit| exit.reason.clone());
            let why = why.or_else(|| snapshot.warning.clone());
            let told = why.clone().unwrap_or_default();
            let is_told = self.answer(|_| Err(OneOffError::NotStarted(told)));
            if !is_told && self.record.exit.is_none() {
                self.record.exit = Some(ExitRecord {
                    reason: why,
                    ..unknown_exit(false, now)
                });
                return true;
            }
        }
        exited.is_some()
    }

    /// Whether somebody waited for it. Who asked may have gone: then it is stopped when nobody attaches.
    fn answer(
        &mut self,
        answer: impl FnOnce(&OneOffRecord) -> Result<Started, OneOffError>,
    ) -> bool {
        let waits = self.answer.take();
        let is_told = waits.map(|waits| waits.send(answer(&self.record)));
        is_told.is_some()
    }
}

/// The end of one that nobody was told of.
#[must_use]
pub fn unknown_exit(is_attached: bool, now: jiff::Timestamp) -> ExitRecord {
    let reason = match is_attached {
        true => "the server ended, and with it who was attached",
        false => "it ended while no server could be told",
    };
    ExitRecord {
        status: ExitStatus::Unknown,
        at: now,
        oom: false,
        reason: Some(reason.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::identity::Identity;
    use crate::process::snapshot::Place;

    fn record(number: u64, exit: bool) -> OneOffRecord {
        OneOffRecord {
            number,
            id: format!("run.{number}"),
            command: "true".into(),
            env: BTreeMap::new(),
            release: 1,
            attached: false,
            timeout: Some(60),
            created: jiff::Timestamp::UNIX_EPOCH,
            due: None,
            node: None,
            exit: exit.then(|| unknown_exit(false, jiff::Timestamp::UNIX_EPOCH)),
        }
    }

    fn survivor(number: u64) -> OutlivedOneOff {
        let identity = Identity {
            id: format!("run.{number}"),
            release: 1,
            batch: number,
            pid: 7,
            start_time: 1,
            boot_id: String::new(),
            port: 0,
            digest: String::new(),
            directory: "/".into(),
            uid: None,
            one_off: true,
        };
        OutlivedOneOff::process(identity, true)
    }

    #[test]
    fn the_next_server_goes_on_with_what_it_finds_and_knows_the_end_of_the_rest() {
        let written = Written {
            next: 9,
            next_run: 9,
            all: vec![record(1, true), record(2, false), record(3, false)],
            seen: Seen::new(),
        };
        let now = jiff::Timestamp::UNIX_EPOCH;
        let (found, strangers) = OneOffs::recovered(written, vec![survivor(3), survivor(4)], now);
        assert_eq!(strangers.len(), 1);
        let live: Vec<_> = found.live().map(|live| live.record.number).collect();
        assert_eq!(live, [3]);
        let ended = found.all().filter(|(record, _)| record.exit.is_some());
        assert_eq!(ended.count(), 2);
        assert_eq!(found.written(&Seen::new()).next, 9);
    }

    #[test]
    fn only_the_last_that_ended_are_kept() {
        let mut all = OneOffs::default();
        for number in 1..=KEPT as u64 + 5 {
            all.live
                .insert(number, Live::new(record(number, true), None, None));
            all.over(number);
        }
        let ids: Vec<_> = all.all().map(|(record, _)| record.number).collect();
        assert_eq!((ids.len(), ids[0]), (KEPT, 6));
    }

    #[test]
    fn the_machine_that_one_was_on_is_known_when_it_is_over() {
        let now = jiff::Timestamp::UNIX_EPOCH;
        let mut live = Live::new(record(1, false), None, None);
        let mut told = Snapshot::new("run.1".to_owned(), Phase::Ready);
        told.place = Some(Place {
            node: Some("node2".to_owned()),
            task: "t".to_owned(),
        });
        live.hear(&told, None, now);
        let exit = unknown_exit(false, now);
        let stopped = Snapshot::new("run.1".to_owned(), Phase::Stopped);
        live.hear(&stopped, Some(&exit), now);
        assert_eq!(live.record.node.as_deref(), Some("node2"));
    }

    #[test]
    fn who_waits_is_told_what_became_of_it_and_the_list_where_nobody_waits() {
        let now = jiff::Timestamp::UNIX_EPOCH;
        let stopped = |warning: Option<&str>| Snapshot {
            warning: warning.map(str::to_owned),
            ..Snapshot::new("run.1".to_owned(), Phase::Stopped)
        };
        let exit = |status, reason: Option<&str>| ExitRecord {
            status,
            reason: reason.map(str::to_owned),
            ..unknown_exit(false, now)
        };
        let waits = || {
            let (answer, answered) = oneshot::channel();
            let mut live = Live::new(record(1, false), None, None);
            live.answer = Some(answer);
            (live, answered)
        };
        let not_started = |why: &str| Err(OneOffError::NotStarted(why.to_owned()));
        let (mut live, mut answered) = waits();
        assert!(!live.hear(&stopped(Some("no place")), None, now));
        assert_eq!(answered.try_recv(), Ok(not_started("no place")));
        assert_eq!(live.record.exit, None);
        let (mut live, mut answered) = waits();
        let ended = exit(ExitStatus::Unknown, Some("it was stopped"));
        assert!(live.hear(&stopped(None), Some(&ended), now));
        assert_eq!(answered.try_recv(), Ok(not_started("it was stopped")));
        let (mut live, mut answered) = waits();
        assert!(live.hear(&stopped(None), Some(&exit(ExitStatus::Code(0), None)), now));
        assert!(matches!(answered.try_recv(), Ok(Ok(_))));
        // One of the server before, whose asker has gone with it.
        let mut live = Live::new(record(1, false), None, None);
        assert!(live.hear(&stopped(Some("no place")), None, now));
        assert_eq!(
            live.record.exit,
            Some(exit(ExitStatus::Unknown, Some("no place")))
        );
    }
}
