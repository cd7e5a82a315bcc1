//! The life of the processes of one service: (event, now) → commands (pure).
//!
//! The swarm runs and restarts the tasks of a service by itself. What is decided here is what the service must be (there,
//! with so many replicas, or gone), and what its tasks are to the App: processes that start, are ready, end, and stop.
//!
//! A process is a number; the task that runs it is the one in the slot of that number, as long as there is one. Where the
//! swarm has ended another slot than the last, what is left is counted anew.

mod ends;
mod member;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::seen::{Seen, SeenTask};
use crate::exit_status::ExitRecord;
use crate::process::phase::Phase;
use crate::supervision::Restart;
use ends::Ends;
use member::{Member, ProcessKind};

/// How long to wait after a call that failed.
pub(super) const RETRY: Duration = Duration::from_secs(2);

/// What happens to a service.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// What the server before knew, for as long as the swarm cannot be listed.
    Known(Seen),
    /// A listing that was begun after the last call that changed anything.
    Seen(Seen),
    /// A call was carried out.
    Changed,
    /// A call failed; the text says why.
    Failed(String),
    /// As [`Event::Failed`], and the next one would.
    Refused(String),
    /// The swarm could not be listed; the text says why.
    Unseen(String),
    /// [`RETRY`] is over.
    Due,
    /// So many processes are wanted.
    Want(u64),
    /// The checks of this task have a new result.
    Checked {
        task: String,
        is_ready: bool,
    },
    /// A task has told that it ends: its port may be another's before the swarm lists that.
    Ending(String),
    /// A task has told how it ends, or nothing more is to come of it.
    Heard {
        task: String,
        is_out_of_memory: bool,
    },
    Stop,
}

/// What is to be done about it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Command {
    /// Make the service with so many replicas. [`Event::Changed`] or [`Event::Failed`] follows, as after all calls.
    Create(u64),
    Scale {
        id: String,
        version: u64,
        replicas: u64,
    },
    /// Give it back the specification that it was made with: others have changed what its tasks are made of.
    Restore {
        id: String,
        version: u64,
        replicas: u64,
    },
    Remove(String),
    /// It is gone, but a call to make it may still be carried out: remove what comes of it.
    RemoveLate,
    /// Have another listing soon.
    Look,
    /// Send [`Event::Due`] after [`RETRY`].
    ArmRetry,
    /// Check this process as long as this task runs it.
    Check {
        number: u64,
        task: String,
    },
    /// Nothing of this process is to be checked any more.
    Uncheck(u64),
    /// Tell the App of the new state of this process, and of this end.
    Report {
        number: u64,
        exited: Option<ExitRecord>,
    },
    /// All is gone: end the actor.
    Finish,
}

/// The last call. There is one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Over,
    UnderWay,
    /// It failed, and the next one waits for [`RETRY`].
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Running,
    Stopping,
    Ended,
}

#[derive(Clone, Debug)]
pub(super) struct Life {
    kind: ProcessKind,
    stage: Stage,
    wanted: u64,
    call: Call,
    seen: Seen,
    /// Of what its tasks are made.
    template: Option<[u8; 32]>,
    /// Of what they were made when it got its specification again.
    disputed: Option<[u8; 32]>,
    /// A call to make it has failed, and no listing has had it since: it may have been carried out.
    is_unsure: bool,
    /// Why the swarm cannot be listed, while it cannot.
    unseen: Option<String>,
    /// Why the last call failed, until nothing is left to call for.
    failed: Option<String>,
    /// That call would always fail.
    is_refused: bool,
    members: BTreeMap<u64, Member>,
    ends: Ends,
}

impl Life {
    /// `is_measured`: each task tells how it ends before it does.
    pub(super) fn new(restart: Restart, is_routed: bool, is_measured: bool, wanted: u64) -> Self {
        Self {
            kind: ProcessKind {
                restart,
                is_routed,
                is_measured,
            },
            stage: Stage::Running,
            wanted,
            call: Call::Over,
            seen: Seen::default(),
            template: None,
            disputed: None,
            is_unsure: false,
            unseen: None,
            failed: None,
            is_refused: false,
            members: (1..=wanted).map(|n| (n, Member::new())).collect(),
            ends: Ends::default(),
        }
    }

    pub(super) fn members(&self) -> impl Iterator<Item = (u64, &Member)> {
        self.members
            .iter()
            .map(|(number, member)| (*number, member))
    }

    pub(super) fn member(&self, number: u64) -> Option<&Member> {
        self.members.get(&number)
    }

    /// Why the swarm does not do what it should.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.failed.as_deref().or(self.unseen.as_deref())
    }

    /// What was listed last.
    pub(super) fn last_seen(&self) -> &Seen {
        &self.seen
    }

    /// Whether [`Self::trouble`] is one that does not pass.
    pub(super) fn is_refused(&self) -> bool {
        self.is_refused
    }

    pub(super) fn handle(&mut self, event: Event, now: Instant) -> Vec<Command> {
        let mut out = Vec::new();
        if self.stage == Stage::Ended {
            return out;
        }
        match event {
            Event::Known(seen) => self.known(seen, now, &mut out),
            Event::Seen(_) if self.call != Call::Over => {}
            Event::Seen(seen) => self.seen(seen, now, &mut out),
            Event::Changed => {
                self.call = Call::Over;
                self.is_refused = false;
                self.tell_trouble(&mut out, |life| life.failed = None);
                out.push(Command::Look);
            }
            Event::Failed(why) => self.failed(why, false, &mut out),
            Event::Refused(why) => self.failed(why, true, &mut out),
            Event::Unseen(why) => self.tell_trouble(&mut out, |life| life.unseen = Some(why)),
            Event::Due if self.call == Call::Failed => {
                self.call = Call::Over;
                out.push(Command::Look);
            }
            Event::Due => {}
            Event::Want(wanted) => self.want(wanted, &mut out),
            Event::Checked { task, is_ready } => self.checked(&task, is_ready, &mut out),
            Event::Ending(task) => self.ending(&task, &mut out),
            Event::Heard {
                task,
                is_out_of_memory,
            } => self.heard(&task, is_out_of_memory, now, &mut out),
            Event::Stop => self.stop(&mut out),
        }
        out
    }

    /// A call failed. The next one is made also where it would fail again: what a person changes may mend it.
    fn failed(&mut self, why: String, is_refused: bool, out: &mut Vec<Command>) {
        self.call = Call::Failed;
        // It has not got its specification again.
        self.disputed = None;
        self.is_unsure |= self.seen.service.is_none();
        self.is_refused = is_refused;
        self.tell_trouble(out, |life| life.failed = Some(why));
        out.push(Command::ArmRetry);
    }

    fn want(&mut self, wanted: u64, out: &mut Vec<Command>) {
        if self.stage != Stage::Running {
            return;
        }
        self.wanted = wanted;
        for number in 1..=wanted {
            let member = self.members.entry(number).or_insert_with(Member::new);
            if matches!(member.phase, Phase::Stopping | Phase::Stopped) {
                *member = Member::new();
            }
        }
        let surplus: Vec<u64> = self.members.range(wanted + 1..).map(|(n, _)| *n).collect();
        for number in surplus {
            self.set_phase(number, Phase::Stopping, out);
        }
        out.push(Command::Look);
    }

    fn stop(&mut self, out: &mut Vec<Command>) {
        if self.stage != Stage::Running {
            return;
        }
        self.stage = Stage::Stopping;
        let numbers: Vec<u64> = self.members.keys().copied().collect();
        for number in numbers {
            out.push(Command::Uncheck(number));
            self.set_phase(number, Phase::Stopping, out);
        }
        out.push(Command::Look);
    }

    fn set_phase(&mut self, number: u64, phase: Phase, out: &mut Vec<Command>) {
        let Some(member) = self.members.get_mut(&number) else {
            return;
        };
        if member.phase != phase {
            member.phase = phase;
            out.push(Command::Report {
                number,
                exited: None,
            });
        }
    }

    /// Makes a change, and tells all processes' App if that makes another trouble.
    fn tell_trouble(&mut self, out: &mut Vec<Command>, change: impl FnOnce(&mut Self)) {
        let before = self.trouble().map(str::to_owned);
        change(self);
        if self.trouble() == before.as_deref() {
            return;
        }
        let numbers = self.members.keys();
        out.extend(numbers.map(|number| Command::Report {
            number: *number,
            exited: None,
        }));
    }

    fn seen(&mut self, seen: Seen, now: Instant, out: &mut Vec<Command>) {
        self.tell_trouble(out, |life| life.unseen = None);
        self.is_unsure &= seen.service.is_none();
        self.seen = seen;
        match self.stage {
            Stage::Running => self.tend(now, out),
            Stage::Stopping => self.stopping(out),
            Stage::Ended => {}
        }
        if self.call == Call::Over && self.stage != Stage::Ended {
            self.tell_trouble(out, |life| life.failed = None);
        }
    }

    /// Takes tasks for running until a listing says what became of them.
    fn known(&mut self, seen: Seen, now: Instant, out: &mut Vec<Command>) {
        let is_first = self.seen == Seen::default() && self.stage == Stage::Running;
        if is_first && self.call == Call::Over {
            self.seen = seen;
            self.tend_members(now, out);
            // Nobody says how long it has lived already; what gets requests is checked.
            let is_routed = self.kind.is_routed;
            for (number, member) in self.members.iter_mut().filter(|_| !is_routed) {
                member.checked(member.task.as_ref().is_some_and(SeenTask::runs));
                out.push(Command::Report {
                    number: *number,
                    exited: None,
                });
            }
        }
    }

    /// Makes the service what it must be, and its tasks processes.
    fn tend(&mut self, now: Instant, out: &mut Vec<Command>) {
        match &self.seen.service {
            None => {
                self.call = Call::UnderWay;
                out.push(Command::Create(self.wanted));
            }
            Some(service) if service.replicas != self.wanted => {
                self.call = Call::UnderWay;
                out.push(Command::Scale {
                    id: service.id.clone(),
                    version: service.version,
                    replicas: self.wanted,
                });
            }
            Some(service) if self.is_changed(service.template) => {
                self.call = Call::UnderWay;
                self.disputed = service.template;
                out.push(Command::Restore {
                    id: service.id.clone(),
                    version: service.version,
                    replicas: self.wanted,
                });
            }
            Some(service) => (self.template, self.disputed) = (service.template, None),
        }
        self.tend_members(now, out);
    }

    /// Whether others have changed of what its tasks are made. What is found again behind its own specification is what
    /// an engine makes of that today, or others insist on it: nobody wins such a quarrel.
    fn is_changed(&self, template: Option<[u8; 32]>) -> bool {
        self.template.is_some() && template != self.template && template != self.disputed
    }

    fn tend_members(&mut self, now: Instant, out: &mut Vec<Command>) {
        let seen = self.seen.clone();
        self.ends.see(&seen.tasks, now);
        let assigned = assign(&seen, self.wanted);
        let ids = assigned.values().map(|task| task.id.clone()).collect();
        let numbers: Vec<u64> = self.members.keys().copied().collect();
        for number in numbers {
            let task = assigned.get(&number).map(|task| (*task).clone());
            if number > self.wanted {
                self.tend_surplus(number, &ids, out);
            } else if let (Some(member), Some(task)) = (self.members.get_mut(&number), task) {
                let old = member.task.as_ref().filter(|old| !old.state.is_over());
                let old = old.map_or(&task.id, |old| &old.id);
                if self.kind.is_measured && self.ends.is_open(old, now) {
                    // What it has printed last may come, or its time be over.
                    out.push(Command::Look);
                } else {
                    member.tend(number, task, &self.kind, &self.ends, now, out);
                }
            }
        }
    }

    /// A process that is not wanted any more, and may still run.
    fn tend_surplus(&mut self, number: u64, assigned: &BTreeSet<String>, out: &mut Vec<Command>) {
        let member = self.members.get(&number);
        let task = member.and_then(|member| member.task.as_ref());
        let same = task.and_then(|task| self.seen.tasks.iter().find(|seen| seen.id == task.id));
        let runs = same.is_some_and(|task| task.may_run() && !assigned.contains(&task.id));
        if self.call == Call::Over && !runs {
            out.push(Command::Uncheck(number));
            self.stopped(number, out);
        }
    }

    fn stopped(&mut self, number: u64, out: &mut Vec<Command>) {
        if let Some(member) = self.members.get_mut(&number) {
            member.task = None;
        }
        self.set_phase(number, Phase::Stopped, out);
    }

    fn stopping(&mut self, out: &mut Vec<Command>) {
        if let Some(service) = &self.seen.service {
            self.call = Call::UnderWay;
            return out.push(Command::Remove(service.id.clone()));
        }
        if self.seen.tasks.iter().any(SeenTask::may_run) {
            return;
        }
        let numbers: Vec<u64> = self.members.keys().copied().collect();
        for number in numbers {
            self.stopped(number, out);
        }
        self.stage = Stage::Ended;
        if self.is_unsure {
            out.push(Command::RemoveLate);
        }
        out.push(Command::Finish);
    }

    fn heard(&mut self, task: &str, is_out_of_memory: bool, now: Instant, out: &mut Vec<Command>) {
        self.ends.hear(task, is_out_of_memory);
        if self.stage == Stage::Running {
            self.tend_members(now, out);
        }
    }

    /// Lets nothing more through to a process that ends, whoever answers in its place.
    fn ending(&mut self, task: &str, out: &mut Vec<Command>) {
        let is_routed = self.kind.is_routed;
        let Some((number, member)) = self.of_task(task).filter(|_| is_routed) else {
            return;
        };
        member.ending();
        self.ends.announce(task);
        out.extend([
            Command::Uncheck(number),
            Command::Report {
                number,
                exited: None,
            },
            Command::Look,
        ]);
    }

    /// The process that a task runs, while it should.
    fn of_task(&mut self, task: &str) -> Option<(u64, &mut Member)> {
        let is_running = self.stage == Stage::Running;
        let of_task = |member: &Member| member.task.as_ref().is_some_and(|t| t.id == task);
        let mut members = self.members.iter_mut();
        let found = members.find(|(_, member)| of_task(member));
        let found = found.map(|(number, member)| (*number, member));
        found.filter(|_| is_running)
    }

    fn checked(&mut self, task: &str, is_ready: bool, out: &mut Vec<Command>) {
        // Another may answer in its place.
        let is_ready = is_ready && !self.ends.is_ending(task);
        let Some((number, member)) = self.of_task(task) else {
            return;
        };
        member.checked(is_ready);
        out.push(Command::Report {
            number,
            exited: None,
        });
    }
}

/// The tasks of the processes with numbers up to `wanted`: each that of its slot, and those without one what is left.
fn assign(seen: &Seen, wanted: u64) -> BTreeMap<u64, &SeenTask> {
    let newest = seen.newest();
    let is_live = |task: &&&SeenTask| task.is_wanted;
    let mut assigned: BTreeMap<u64, &SeenTask> = newest
        .iter()
        .filter(|task| task.slot <= wanted)
        .map(|task| (task.slot, *task))
        .collect();
    let mut spare = newest.iter().filter(is_live).filter(|t| t.slot > wanted);
    let places: BTreeSet<u64> = (1..=wanted)
        .filter(|n| {
            assigned
                .get(n)
                .is_none_or(|task| !task.is_wanted && !task.state.is_over())
        })
        .collect();
    for number in places {
        if let Some(task) = spare.next() {
            assigned.insert(number, task);
        }
    }
    assigned
}

#[cfg(test)]
mod tests;
