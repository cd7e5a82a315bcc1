//! [`Snapshot`]: one process as the App and the API see it.

use std::time::Instant;

use super::health::Trouble;
use super::phase::Phase;
use crate::exit_status::ExitRecord;
use crate::router::address::Address;
use crate::router::backend::Alarm;

/// Where a process runs that another engine than this server runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The machine, once it has one.
    pub node: Option<String>,
    /// What the engine calls this run of the process.
    pub task: String,
}

/// What a Process tells its App after every change.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// `web.1`.
    pub id: String,
    /// Where it is in its life.
    pub phase: Phase,
    /// The OS process (and session leader), while there is one.
    pub pid: Option<u32>,
    pub port: Option<u16>,
    /// Where the proxy reaches it, once ready.
    pub address: Option<Address>,
    /// Where it runs, if that is not this machine.
    pub place: Option<Place>,
    /// When the present OS process was spawned.
    pub started_at: Option<jiff::Timestamp>,
    /// Restarts since this actor started.
    pub restarts: u32,
    /// Five crashes or more within five minutes.
    pub crashlooping: bool,
    /// The last end of its OS process.
    pub last_exit: Option<ExitRecord>,
    /// It could not be started for want of a port: others have to end first.
    pub has_no_port: bool,
    /// Its engine does not start it, and would not later: `warning` says why.
    pub is_refused: bool,
    /// The machine that it is to run on fetches its image: its time to get ready has not begun.
    pub is_fetching: bool,
    /// Since when it was seen to run on another machine, by this one's clock.
    pub seen_since: Option<Instant>,
    /// Why it should get no request although it is ready.
    pub trouble: Option<Trouble>,
    /// The proxy rings it when it cannot connect.
    pub alarm: Alarm,
    /// What a person should know, e.g. that port 8001 is taken by pid 77 (nginx).
    pub warning: Option<String>,
}

impl Snapshot {
    /// One of which no more is known.
    #[must_use]
    pub fn new(id: String, phase: Phase) -> Self {
        Self {
            id,
            phase,
            pid: None,
            port: None,
            address: None,
            place: None,
            started_at: None,
            restarts: 0,
            crashlooping: false,
            last_exit: None,
            has_no_port: false,
            is_refused: false,
            is_fetching: false,
            seen_since: None,
            trouble: None,
            alarm: Alarm::default(),
            warning: None,
        }
    }

    /// Whether both are of one run of the process. A machine may change its name meanwhile, or get one late.
    #[must_use]
    pub fn is_same_run(&self, other: &Self) -> bool {
        let task = |snapshot: &Self| snapshot.place.as_ref().map(|place| place.task.clone());
        self.pid == other.pid && task(self) == task(other)
    }
}
