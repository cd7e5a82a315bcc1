//! [`Member`]: one process of a service: what its tasks, one after the other, are to the App (pure).

use std::time::{Duration, Instant};

use super::Command;
use super::ends::Ends;
use crate::exit_status::{ExitRecord, ExitStatus};
use crate::process::phase::Phase;
use crate::supervision::Restart;
use crate::supervision::backoff::{Backoff, PROVED};
use crate::swarm::seen::{SeenTask, TaskState};

/// How long a process that is not routed must have run to be ready.
pub(super) const ALIVE: Duration = Duration::from_secs(1);

/// What to do where a swarm has lost what it is to tell of a task.
const NO_PORT: &str = "the swarm tells no port of it, so it gets no request: a restart of the application has it made anew";

/// One process.
#[derive(Clone, Debug)]
pub(in crate::swarm) struct Member {
    pub(in crate::swarm) phase: Phase,
    /// What runs it, or is to.
    pub(in crate::swarm) task: Option<SeenTask>,
    /// Since when its task was seen to run.
    pub(in crate::swarm) running_since: Option<Instant>,
    is_ready: bool,
    pub(in crate::swarm) restarts: u32,
    pub(in crate::swarm) last_exit: Option<ExitRecord>,
    backoff: Backoff,
    /// What a person should know.
    pub(in crate::swarm) warning: Option<String>,
}

/// What all processes of a service have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProcessKind {
    pub(super) restart: Restart,
    pub(super) is_routed: bool,
    /// Each task tells how it ends.
    pub(super) is_measured: bool,
}

impl Member {
    pub(super) fn new() -> Self {
        Self {
            phase: Phase::Starting,
            task: None,
            running_since: None,
            is_ready: false,
            restarts: 0,
            last_exit: None,
            backoff: Backoff::default(),
            warning: None,
        }
    }

    pub(in crate::swarm) fn is_crashlooping(&self) -> bool {
        self.backoff.is_crashlooping()
    }

    /// Takes what was listed of the task that runs it now.
    pub(super) fn tend(
        &mut self,
        number: u64,
        task: SeenTask,
        kind: &ProcessKind,
        ends: &Ends,
        now: Instant,
        out: &mut Vec<Command>,
    ) {
        let before = self.clone();
        let known = before.task.as_ref().filter(|known| known.id == task.id);
        let mut exited = None;
        if known.is_none() {
            out.push(Command::Uncheck(number));
            exited = self.followed_by(&task, ends, now);
        }
        let was_over = known.is_some_and(|known| known.state.is_over());
        match task.state {
            TaskState::Waiting => {
                self.warning = task.message.clone().or_else(|| fetching(&task));
                // Not of a task that ran before; but nothing here depends on the order of an engine's answers.
                (self.running_since, self.is_ready) = (None, false);
            }
            TaskState::Running => {
                if known.and_then(|known| known.address) != task.address {
                    let task = task.id.clone();
                    out.push(Command::Check { number, task });
                }
                self.runs(kind, now, out);
                if kind.is_routed && task.address.is_none() {
                    (self.is_ready, self.warning) = (false, Some(NO_PORT.to_owned()));
                }
            }
            TaskState::Ended(_) | TaskState::Rejected if !was_over => {
                out.push(Command::Uncheck(number));
                let exit = ends.of(&task.id);
                exited = exit.map(|exit| self.ended(&task.id, exit, ends, now));
            }
            TaskState::Ended(_) | TaskState::Rejected => {}
        }
        self.phase = self.phase_of(task.state, kind);
        self.task = Some(task);
        if exited.is_some() || self.differs(&before) {
            out.push(Command::Report { number, exited });
        }
    }

    /// Another task runs it from now on. Returns the end of the one before, if nobody has seen that.
    fn followed_by(&mut self, task: &SeenTask, ends: &Ends, now: Instant) -> Option<ExitRecord> {
        let old = self.task.take();
        if old.is_some() || self.last_exit.is_some() {
            self.restarts = self.restarts.saturating_add(1);
        }
        (self.running_since, self.is_ready) = (None, false);
        // In another slot is a task that has been there before.
        let old = old.filter(|old| old.slot == task.slot && !old.state.is_over())?;
        let exit = ends.of(&old.id).unwrap_or_else(|| lost(&old));
        Some(self.ended(&old.id, exit, ends, now))
    }

    fn runs(&mut self, kind: &ProcessKind, now: Instant, out: &mut Vec<Command>) {
        self.warning = None;
        let since = *self.running_since.get_or_insert(now);
        let lives = now.saturating_duration_since(since);
        if !kind.is_routed && lives < ALIVE {
            // The next listing may find it ready.
            out.push(Command::Look);
        }
        self.is_ready |= !kind.is_routed && lives >= ALIVE;
        if self.is_ready && lives >= PROVED {
            self.backoff.reset();
        }
    }

    fn ended(&mut self, task: &str, exit: ExitRecord, ends: &Ends, now: Instant) -> ExitRecord {
        if !ends.is_dismissed(task) {
            // The swarm has its own delay: only whether it crashes over and over counts here.
            self.backoff.crashed(now, 0.5);
        }
        (self.running_since, self.is_ready) = (None, false);
        self.last_exit = Some(exit.clone());
        exit
    }

    /// Its checks have a new result.
    pub(super) fn checked(&mut self, is_ready: bool) {
        let runs = self.task.as_ref().is_some_and(SeenTask::runs);
        self.is_ready |= is_ready && runs;
        if self.is_ready && self.phase == Phase::Starting {
            self.phase = Phase::Ready;
        }
    }

    /// Its task has told that it ends.
    pub(super) fn ending(&mut self) {
        self.is_ready = false;
        if self.phase == Phase::Ready {
            self.phase = Phase::Starting;
        }
    }

    fn phase_of(&self, state: TaskState, kind: &ProcessKind) -> Phase {
        let last = self.last_exit.as_ref();
        let rests = |exit: &ExitRecord| !kind.restart.follows(exit.status.is_abnormal());
        match state {
            TaskState::Running if self.is_ready => Phase::Ready,
            TaskState::Running | TaskState::Waiting => Phase::Starting,
            _ if last.is_some_and(rests) => Phase::Finished,
            _ => Phase::Backoff,
        }
    }

    fn differs(&self, before: &Self) -> bool {
        let address = |m: &Self| m.task.as_ref().and_then(|t| t.address);
        let fetches = |m: &Self| m.task.as_ref().is_some_and(|t| t.is_fetching);
        fetches(self) != fetches(before)
            || self.phase != before.phase
            || self.warning != before.warning
            || address(self) != address(before)
            || self.is_crashlooping() != before.is_crashlooping()
    }
}

/// What a task does that its machine fetches the image for.
fn fetching(task: &SeenTask) -> Option<String> {
    let node = task.node.as_deref().unwrap_or("its node");
    task.is_fetching
        .then(|| format!("{node} fetches the image"))
}

/// The end of a task that nobody saw.
fn lost(task: &SeenTask) -> ExitRecord {
    let node = task.node.as_deref();
    ExitRecord {
        status: ExitStatus::Unknown,
        at: task.at,
        oom: false,
        reason: node
            .map(|node| format!("the swarm has put another in its place; it was on {node}")),
    }
}
