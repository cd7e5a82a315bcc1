//! The life of one process: (state, event, now) → commands.
//!
//! ```text
//!            ┌──────────────────────── due ────────────────────────┐
//!            ▼                                                      │
//! begin → Spawning → Starting → Ready → (ended) → Cleaning → Waiting┘
//!            │          └────────┴─── stop ──→ Stopping → Ended
//!            │                                  Cleaning → Finished
//!            └─ spawn error ────────────────────────────→ Waiting
//! ```
//!
//! A crash of the user's process is an event here; it is no end of the actor and counts as no restart of it.

use std::time::{Duration, Instant};

use super::phase::Phase;
use crate::exit_status::ExitRecord;
use crate::router::address::Address;
use crate::supervision::Restart;
use crate::supervision::backoff::{AFTER_SPAWN_ERROR, Backoff, PROVED};

/// Counts the OS processes of one life; an event of an earlier one is stale.
pub(super) type Attempt = u64;

/// What happens to a process.
#[derive(Clone, Debug)]
pub(super) enum LifeEvent {
    /// Spawn the first OS process.
    Begin,
    /// There is an OS process to take over; [`LifeEvent::Running`] follows.
    Adopting,
    /// It ended for good before this actor began.
    Finished { record: ExitRecord },
    /// An OS process runs: spawned, or adopted.
    Running { pid: u32 },
    /// Nothing could be spawned; the text says why.
    SpawnFailed { reason: String },
    Ready {
        attempt: Attempt,
        address: Option<Address>,
    },
    Moved {
        attempt: Attempt,
        address: Option<Address>,
    },
    /// The OS process ended by itself.
    Exited { record: ExitRecord },
    /// What it left behind is gone, too.
    Cleaned,
    /// A timer of [`Command::ArmRestart`].
    Due { attempt: Attempt },
    /// A timer of [`Command::ArmProved`].
    Proved { attempt: Attempt },
    /// The app wants it to end.
    Stop,
    /// It and what it left behind ended, as asked.
    Stopped { record: ExitRecord },
}

/// What is to be done about it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Command {
    Spawn,
    /// Watch the OS process' end, and whether it answers.
    Watch {
        attempt: Attempt,
    },
    /// Kill what an ended process left behind.
    Clean,
    /// Send [`LifeEvent::Due`] after this time.
    ArmRestart {
        attempt: Attempt,
        after: Duration,
    },
    /// Send [`LifeEvent::Proved`] after this time.
    ArmProved {
        attempt: Attempt,
        after: Duration,
    },
    /// Stop the OS process by the app's policy.
    Stop,
    /// Tell the app the new state, and this end.
    Report {
        exited: Option<ExitRecord>,
    },
    /// Put everything away, tell the app that it has stopped, with this end, and end the actor.
    Finish {
        exited: Option<ExitRecord>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    New,
    Spawning,
    Starting,
    Ready,
    Cleaning,
    Waiting,
    Finished,
    Stopping,
    Ended,
}

/// The state of one process.
#[derive(Clone, Debug)]
pub(super) struct Life {
    restart: Restart,
    /// It ends with its first OS process, or when that cannot be spawned.
    is_one_off: bool,
    stage: Stage,
    /// It is to end as soon as what is under way allows.
    is_ending: bool,
    attempt: Attempt,
    backoff: Backoff,
    /// How long to wait once what the ended process left is gone.
    delay: Duration,
    pid: Option<u32>,
    address: Option<Address>,
    restarts: u32,
    last_exit: Option<ExitRecord>,
    spawn_error: Option<String>,
}

impl Life {
    pub(super) fn new(restart: Restart) -> Self {
        Self {
            restart,
            is_one_off: false,
            stage: Stage::New,
            is_ending: false,
            attempt: 0,
            backoff: Backoff::default(),
            delay: Duration::ZERO,
            pid: None,
            address: None,
            restarts: 0,
            last_exit: None,
            spawn_error: None,
        }
    }

    /// The life of a process that runs once.
    pub(super) fn of_one_off() -> Self {
        Self {
            is_one_off: true,
            ..Self::new(Restart::Temporary)
        }
    }

    pub(super) fn phase(&self) -> Phase {
        match self.stage {
            Stage::Ended => Phase::Stopped,
            Stage::Stopping => Phase::Stopping,
            _ if self.is_ending => Phase::Stopping,
            Stage::New | Stage::Spawning | Stage::Starting => Phase::Starting,
            Stage::Ready => Phase::Ready,
            Stage::Cleaning if self.rests() => Phase::Finished,
            Stage::Finished => Phase::Finished,
            Stage::Cleaning | Stage::Waiting => Phase::Backoff,
        }
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.pid
    }

    pub(super) fn address(&self) -> Option<&Address> {
        self.address.as_ref()
    }

    pub(super) fn restarts(&self) -> u32 {
        self.restarts
    }

    pub(super) fn last_exit(&self) -> Option<&ExitRecord> {
        self.last_exit.as_ref()
    }

    pub(super) fn is_crashlooping(&self) -> bool {
        self.backoff.is_crashlooping()
    }

    /// Why the last spawn failed, until one succeeds.
    pub(super) fn spawn_error(&self) -> Option<&str> {
        self.spawn_error.as_deref()
    }

    /// Takes an event. `random` is uniform in `0.0..1.0`, for the jitter of delays.
    pub(super) fn handle(&mut self, event: LifeEvent, now: Instant, random: f64) -> Vec<Command> {
        match (event, self.stage) {
            (LifeEvent::Stop, _) => self.stop(),
            (LifeEvent::Begin, Stage::New) => self.spawn(),
            (LifeEvent::Adopting, Stage::New) => {
                self.stage = Stage::Spawning;
                Vec::new()
            }
            (LifeEvent::Finished { record }, Stage::New) => {
                self.stage = Stage::Finished;
                self.gone(&record);
                vec![Command::Report { exited: None }]
            }
            (LifeEvent::Running { pid }, Stage::Spawning) => self.running(pid),
            (LifeEvent::SpawnFailed { reason }, Stage::Spawning) => self.spawn_failed(reason),
            (LifeEvent::Ready { attempt, address }, Stage::Starting) if attempt == self.attempt => {
                self.stage = Stage::Ready;
                self.address = address;
                let after = PROVED;
                vec![
                    Command::Report { exited: None },
                    Command::ArmProved { attempt, after },
                ]
            }
            (LifeEvent::Moved { attempt, address }, Stage::Ready) if attempt == self.attempt => {
                self.address = address;
                vec![Command::Report { exited: None }]
            }
            (LifeEvent::Proved { attempt }, Stage::Ready) if attempt == self.attempt => {
                let was_crashlooping = self.is_crashlooping();
                self.backoff.reset();
                if was_crashlooping {
                    vec![Command::Report { exited: None }]
                } else {
                    Vec::new()
                }
            }
            // In Spawning: one to adopt that had ended before it could be held.
            (LifeEvent::Exited { record }, Stage::Spawning | Stage::Starting | Stage::Ready) => {
                self.exited(record, now, random)
            }
            (LifeEvent::Cleaned, Stage::Cleaning) => self.cleaned(),
            (LifeEvent::Due { attempt }, Stage::Waiting) if attempt == self.attempt => self.spawn(),
            (LifeEvent::Stopped { record }, Stage::Stopping) => {
                self.gone(&record);
                self.finish(Some(record))
            }
            _ => Vec::new(),
        }
    }

    fn spawn(&mut self) -> Vec<Command> {
        self.stage = Stage::Spawning;
        self.attempt += 1;
        vec![Command::Spawn]
    }

    fn running(&mut self, pid: u32) -> Vec<Command> {
        self.pid = Some(pid);
        self.spawn_error = None;
        if self.is_ending {
            self.stage = Stage::Stopping;
            return vec![Command::Report { exited: None }, Command::Stop];
        }
        // An adopted process comes without a spawn, and after an end it counts as the first.
        if self.last_exit.is_some() {
            self.restarts = self.restarts.saturating_add(1);
        }
        self.stage = Stage::Starting;
        let attempt = self.attempt;
        vec![Command::Report { exited: None }, Command::Watch { attempt }]
    }

    fn spawn_failed(&mut self, reason: String) -> Vec<Command> {
        self.spawn_error = Some(reason);
        if self.is_ending || self.is_one_off {
            return self.finish(None);
        }
        self.stage = Stage::Waiting;
        let (attempt, after) = (self.attempt, AFTER_SPAWN_ERROR);
        vec![
            Command::Report { exited: None },
            Command::ArmRestart { attempt, after },
        ]
    }

    fn exited(&mut self, record: ExitRecord, now: Instant, random: f64) -> Vec<Command> {
        self.stage = Stage::Cleaning;
        self.gone(&record);
        if !self.rests() {
            self.delay = self.backoff.crashed(now, random);
        }
        let exited = Some(record);
        vec![Command::Report { exited }, Command::Clean]
    }

    /// Whether what has ended is not started again.
    fn rests(&self) -> bool {
        let last = self.last_exit.as_ref();
        last.is_some_and(|last| !self.restart.follows(last.status.is_abnormal()))
    }

    fn gone(&mut self, record: &ExitRecord) {
        self.pid = None;
        self.address = None;
        self.last_exit = Some(record.clone());
    }

    fn cleaned(&mut self) -> Vec<Command> {
        if self.is_ending || self.is_one_off {
            return self.finish(None);
        }
        if self.rests() {
            self.stage = Stage::Finished;
            return Vec::new();
        }
        if self.delay.is_zero() {
            return self.spawn();
        }
        self.stage = Stage::Waiting;
        let (attempt, after) = (self.attempt, self.delay);
        vec![Command::ArmRestart { attempt, after }]
    }

    fn stop(&mut self) -> Vec<Command> {
        if self.is_ending {
            return Vec::new();
        }
        self.is_ending = true;
        match self.stage {
            Stage::New | Stage::Waiting | Stage::Finished => self.finish(None),
            // What is under way is waited for; it is a matter of milliseconds.
            Stage::Spawning | Stage::Cleaning => vec![Command::Report { exited: None }],
            Stage::Starting | Stage::Ready => {
                self.stage = Stage::Stopping;
                self.address = None;
                vec![Command::Report { exited: None }, Command::Stop]
            }
            Stage::Stopping | Stage::Ended => Vec::new(),
        }
    }

    fn finish(&mut self, exited: Option<ExitRecord>) -> Vec<Command> {
        self.stage = Stage::Ended;
        vec![Command::Finish { exited }]
    }
}

#[cfg(test)]
mod tests;
