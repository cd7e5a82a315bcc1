//! The life of what runs once: (event, now) → commands (pure).
//!
//! It is made, gets a place, runs, ends, and its last output is read. It is never run a second time: where the swarm made
//! a second task, the first one counts.

use std::time::{Duration, Instant};

use crate::exit_status::ExitStatus;
use crate::swarm::seen::{SeenTask, TaskState};

/// How long to wait after a call that failed.
const RETRY: Duration = Duration::from_secs(2);

/// How long it may have no machine that could run it: one may be back in a moment.
const NO_PLACE: Duration = Duration::from_secs(15);

/// How long its image and its container may take.
const START: Duration = Duration::from_mins(10);

/// How long no manager may answer before it runs.
const UNHEARD: Duration = Duration::from_secs(30);

/// How long no manager may answer while it runs, and somebody waits for its end.
const UNHEARD_RUNNING: Duration = Duration::from_mins(2);

/// What happens.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Created,
    /// It could not be made; `is_final`: nor will another attempt.
    NotCreated {
        why: String,
        is_final: bool,
    },
    Removed,
    NotRemoved,
    /// A listing that was begun after the last call: whether its service is there, and its tasks.
    Seen {
        is_there: bool,
        tasks: Vec<SeenTask>,
    },
    /// The swarm could not be listed; the text says why.
    Unseen(String),
    /// All that it printed was handed on.
    Printed,
    /// It is to end, for this reason, if it is not just a wish.
    Stop(Option<String>),
    /// [`Life::wakes`] has come.
    Due,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Create,
    Remove,
    /// Have another listing soon.
    Look,
    /// Hand on what this task prints.
    Read(String),
    /// The task prints nothing more.
    EndReading,
    /// A call to make it may still be carried out: remove what comes of it.
    RemoveLate,
    /// Its state has changed.
    Report,
    Finish(Outcome),
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Ended {
        status: ExitStatus,
        at: Option<jiff::Timestamp>,
        reason: Option<String>,
    },
    /// It never ran; the text says why.
    NotStarted(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    Creating,
    /// It could not be made, and this is tried again.
    Retrying(Instant),
    /// It is there, or was when somebody looked last.
    There,
    Removing,
    RetryingRemoval(Instant),
    /// It is removed, and may still be ending.
    Removed,
    /// It has ended so, and its last output is read.
    Printing(Outcome),
    Over,
}

/// How patient somebody is, and how long it may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From when it is seen to run.
    pub time: Option<Duration>,
    /// Whether somebody waits for its end who would rather know that nobody can tell it.
    pub is_awaited: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Life {
    stage: Stage,
    limits: Limits,
    began: Instant,
    /// Since when no manager answers, and why.
    unheard: Option<(Instant, String)>,
    /// Since when it has no machine, and why.
    placeless: Option<(Instant, String)>,
    task: Option<SeenTask>,
    /// The server before made it.
    is_adopted: bool,
    was_there: bool,
    /// A call to make it was not answered, and it was not seen since: it may still be carried out.
    is_unsure: bool,
    has_run: bool,
    /// Its output is being read.
    is_read: bool,
    deadline: Option<Instant>,
    /// Why it is ended.
    reason: Option<String>,
}

impl Life {
    /// One that is made (`is_new`), or is found.
    pub(super) fn new(is_new: bool, limits: Limits, now: Instant) -> (Self, Vec<Command>) {
        let life = Self {
            stage: match is_new {
                true => Stage::Creating,
                false => Stage::There,
            },
            limits,
            began: now,
            unheard: None,
            placeless: None,
            task: None,
            is_adopted: !is_new,
            was_there: false,
            is_unsure: false,
            has_run: false,
            is_read: false,
            deadline: None,
            reason: None,
        };
        let first = match is_new {
            true => Command::Create,
            false => Command::Look,
        };
        (life, vec![first])
    }

    pub(super) fn task(&self) -> Option<&SeenTask> {
        self.task.as_ref()
    }

    /// Whether there is, or was, a process.
    pub(super) fn has_run(&self) -> bool {
        self.has_run
    }

    /// What is adopted may have run while another server looked.
    fn may_have_run(&self) -> bool {
        self.has_run || self.is_adopted
    }

    pub(super) fn is_ending(&self) -> bool {
        use Stage::{Printing, Removed, Removing, RetryingRemoval};
        matches!(
            self.stage,
            Removing | RetryingRemoval(_) | Removed | Printing(_)
        )
    }

    /// What a person should know of it.
    pub(super) fn warning(&self) -> Option<&str> {
        let told = self.unheard.as_ref().or(self.placeless.as_ref());
        told.map(|(_, why)| why.as_str())
    }

    /// When [`Event::Due`] is due.
    pub(super) fn wakes(&self) -> Option<Instant> {
        let retry = match self.stage {
            Stage::Retrying(at) | Stage::RetryingRemoval(at) => Some(at),
            _ => None,
        };
        let patience = self.patience().map(|(until, _)| until);
        let deadline = self.deadline.filter(|_| self.reason.is_none());
        let all = [retry, patience, deadline.filter(|_| !self.is_ending())];
        all.into_iter().flatten().min()
    }

    /// Until when what is in its way may last, and what it is.
    fn patience(&self) -> Option<(Instant, String)> {
        if matches!(self.stage, Stage::Printing(_) | Stage::Over) {
            return None;
        }
        let unheard = self.unheard.as_ref().and_then(|(since, why)| {
            let most = match (self.may_have_run(), self.limits.is_awaited) {
                (true, true) => UNHEARD_RUNNING,
                (true, false) => return None,
                (false, _) => UNHEARD,
            };
            let told = format!(
                "for {} seconds no manager of the swarm has answered",
                most.as_secs()
            );
            Some((*since + most, format!("{told}: {why}")))
        });
        if self.has_run || self.is_ending() {
            return unheard;
        }
        let placeless = self.placeless.as_ref();
        let placeless = placeless.map(|(since, why)| (*since + NO_PLACE, why.clone()));
        let late = (
            self.began + START,
            format!("it has not begun within {} minutes", START.as_secs() / 60),
        );
        let all = [unheard, placeless, Some(late)];
        all.into_iter().flatten().min_by_key(|(until, _)| *until)
    }

    pub(super) fn handle(&mut self, event: Event, now: Instant) -> Vec<Command> {
        let mut out = Vec::new();
        if self.stage == Stage::Over {
            return out;
        }
        match event {
            Event::Created => self.created(&mut out),
            Event::NotCreated { why, is_final } => self.not_created(why, is_final, now, &mut out),
            Event::Removed => {
                self.stage = Stage::Removed;
                out.push(Command::Look);
            }
            Event::NotRemoved => self.stage = Stage::RetryingRemoval(now + RETRY),
            Event::Seen { is_there, tasks } => self.seen(is_there, tasks, now, &mut out),
            Event::Unseen(why) => self.set_unheard(Some(why), now, &mut out),
            Event::Printed => self.printed(&mut out),
            Event::Stop(reason) => self.stop(reason, &mut out),
            Event::Due => self.due(now, &mut out),
        }
        out
    }

    fn created(&mut self, out: &mut Vec<Command>) {
        self.unheard = None;
        self.was_there = true;
        self.is_unsure = false;
        self.stage = Stage::There;
        out.push(Command::Look);
        if self.reason.is_some() {
            self.remove(out);
        }
    }

    fn not_created(&mut self, why: String, is_final: bool, now: Instant, out: &mut Vec<Command>) {
        self.stage = Stage::Retrying(now + RETRY);
        self.is_unsure |= !is_final;
        if is_final || self.reason.is_some() {
            return self.finish(Outcome::NotStarted(why), out);
        }
        self.set_unheard(Some(why), now, out);
    }

    fn set_unheard(&mut self, why: Option<String>, now: Instant, out: &mut Vec<Command>) {
        let before = self.unheard.take();
        let since = before.as_ref().map_or(now, |(since, _)| *since);
        self.unheard = why.map(|why| (since, why));
        if before.map(|(_, why)| why) != self.unheard.as_ref().map(|(_, why)| why.clone()) {
            out.push(Command::Report);
        }
    }

    fn stop(&mut self, reason: Option<String>, out: &mut Vec<Command>) {
        if self.reason.is_some() || self.is_ending() {
            return;
        }
        self.reason = Some(reason.unwrap_or_default());
        match self.stage {
            // Removed once it is there.
            Stage::Creating => {}
            Stage::Retrying(_) => self.finish(not_begun(), out),
            _ => self.remove(out),
        }
    }

    fn remove(&mut self, out: &mut Vec<Command>) {
        self.stage = Stage::Removing;
        out.extend([Command::Remove, Command::Report]);
    }

    fn due(&mut self, now: Instant, out: &mut Vec<Command>) {
        if let Some((until, why)) = self.patience()
            && until <= now
        {
            let outcome = match self.has_run {
                true => self.ended(ExitStatus::Unknown, Some(why)),
                false => Outcome::NotStarted(why),
            };
            return self.finish(outcome, out);
        }
        match self.stage {
            Stage::Retrying(at) if at <= now => {
                self.stage = Stage::Creating;
                out.push(Command::Create);
            }
            Stage::RetryingRemoval(at) if at <= now => self.remove(out),
            _ => {}
        }
        if self.deadline.is_some_and(|at| at <= now) {
            self.stop(Some("its timeout was over".to_owned()), out);
        }
    }

    fn seen(&mut self, is_there: bool, tasks: Vec<SeenTask>, now: Instant, out: &mut Vec<Command>) {
        self.set_unheard(None, now, out);
        self.was_there |= is_there;
        self.is_unsure &= !is_there;
        let first = tasks.into_iter().min_by_key(|task| task.created);
        let is_gone = first.is_none();
        if first.is_some() && first != self.task {
            self.task = first;
            out.push(Command::Report);
        }
        // A listing may be older than what is just being made.
        if matches!(
            self.stage,
            Stage::Creating | Stage::Retrying(_) | Stage::Printing(_)
        ) {
            return;
        }
        self.follow(now, out);
        match self.task.clone() {
            Some(task) if !is_gone => self.task_is(&task, out),
            _ if is_there => {}
            _ => self.vanished(out),
        }
    }

    /// Notes how far its task has come.
    fn follow(&mut self, now: Instant, out: &mut Vec<Command>) {
        let Some(task) = &self.task else { return };
        let why = task.message.clone();
        let why = why.filter(|_| task.state == TaskState::Waiting && task.node.is_none());
        self.placeless = match (self.placeless.take(), why) {
            (Some((since, _)), Some(why)) => Some((since, why)),
            (None, Some(why)) => Some((now, why)),
            (_, None) => None,
        };
        // One that was quick is first seen when it has ended; without a code, perhaps no process came of it.
        let has_begun = task.has_begun() && task.state != TaskState::Ended(ExitStatus::Unknown);
        if has_begun && !self.has_run {
            (self.has_run, self.is_read) = (true, true);
            self.deadline = self.limits.time.map(|limit| now + limit);
            out.extend([Command::Report, Command::Read(task.id.clone())]);
        }
    }

    fn task_is(&mut self, task: &SeenTask, out: &mut Vec<Command>) {
        let told = || task.message.clone();
        let outcome = match task.state {
            TaskState::Rejected => {
                let why = told().unwrap_or_else(|| "its machine refused it".to_owned());
                Outcome::NotStarted(why)
            }
            TaskState::Ended(ExitStatus::Unknown)
                if !self.may_have_run() && self.reason.is_none() =>
            {
                let why = told().unwrap_or_else(|| "its container did not start".to_owned());
                Outcome::NotStarted(why)
            }
            TaskState::Ended(status) => {
                // The engine's words for a code say no more than the code.
                let why = told().filter(|_| status == ExitStatus::Unknown);
                self.ended(status, why)
            }
            TaskState::Waiting | TaskState::Running if task.is_out_of_reach => {
                let node = task.node.as_deref().unwrap_or("it was on");
                match self.has_run {
                    true => self.ended(
                        ExitStatus::Unknown,
                        Some(format!(
                            "its machine {node} is gone: nobody knows how it ended"
                        )),
                    ),
                    false => Outcome::NotStarted(format!("its machine {node} is gone")),
                }
            }
            TaskState::Waiting | TaskState::Running => return,
        };
        self.print(outcome, out);
    }

    /// Neither its service nor a task of it is there.
    fn vanished(&mut self, out: &mut Vec<Command>) {
        let status = match self.task.as_ref().map(|task| task.state) {
            Some(TaskState::Ended(status)) => status,
            _ => ExitStatus::Unknown,
        };
        let why = match (&self.reason, self.was_there) {
            (Some(_), _) => None,
            (None, true) => Some("somebody removed its service from the swarm".to_owned()),
            (None, false) => Some("it ended while no server could be told".to_owned()),
        };
        let has_run = self.has_run || !self.was_there;
        let outcome = match (has_run, why) {
            (true, why) => self.ended(status, why),
            (false, Some(why)) => Outcome::NotStarted(why),
            (false, None) => not_begun(),
        };
        self.print(outcome, out);
    }

    fn ended(&self, status: ExitStatus, why: Option<String>) -> Outcome {
        let wished = self.reason.clone().filter(|reason| !reason.is_empty());
        let at = self.task.as_ref().filter(|task| task.state.is_over());
        Outcome::Ended {
            status,
            at: at.map(|task| task.at),
            reason: wished.or(why),
        }
    }

    /// Finishes with this outcome once its last output was read.
    fn print(&mut self, outcome: Outcome, out: &mut Vec<Command>) {
        match self.is_read {
            true => {
                self.stage = Stage::Printing(outcome);
                out.push(Command::EndReading);
            }
            false => self.finish(outcome, out),
        }
    }

    fn printed(&mut self, out: &mut Vec<Command>) {
        self.is_read = false;
        if let Stage::Printing(outcome) = self.stage.clone() {
            self.finish(outcome, out);
        }
    }

    fn finish(&mut self, outcome: Outcome, out: &mut Vec<Command>) {
        if self.is_unsure || self.stage == Stage::Creating {
            out.push(Command::RemoveLate);
        }
        self.stage = Stage::Over;
        out.push(Command::Finish(outcome));
    }
}

fn not_begun() -> Outcome {
    Outcome::NotStarted("it was ended before it ran".to_owned())
}

#[cfg(test)]
mod tests;
