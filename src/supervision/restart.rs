//! The supervisor as a state machine: (state, event, now) → commands (pure).
//!
//! [`Supervisor`] holds the rules of OTP's `supervisor(3)`; an actor interprets its commands. *Static* children are
//! given to [`Supervisor::new`]; they start left to right and stop in reverse, one after the other, each with its own
//! shutdown timeout. *Dynamic* children come by [`SupervisorEvent::Add`] to the right of all others; where several of them stop
//! they do so at the same time (as under OTP's `simple_one_for_one`), before any static child stops.
//!
//! An interpreter, with [`super::monitor`]:
//!
//! ```ignore
//! fn apply(&mut self, event: SupervisorEvent<Id>, ctx: &mut Context<Self>) {
//!     for command in self.supervisor.handle(event, Instant::now()) {
//!         match command {
//!             Command::Start { id, generation } => {
//!                 let parent = ctx.address();
//!                 let told = id.clone();
//!                 let child = monitor::start(&self.arbiter, build, move |exit| {
//!                     parent.do_send(Ended { id: told, generation, exit }); // → SupervisorEvent::Ended
//!                 });
//!                 self.children.insert(id, child); // and set its ChildRef
//!             }
//!             Command::Stop { id, .. } => self.children[&id].addr.do_send(Shutdown),
//!             Command::Kill { id, .. } => self.children[&id].kill(),
//!             Command::ArmTimer { id, generation, after } => {
//!                 ctx.run_later(after, move |this, ctx| this.apply(SupervisorEvent::TimedOut { id, generation }, ctx));
//!             }
//!             Command::Report { id, exit, .. } => log::error!("{id} ended: {exit:?}"),
//!             Command::Removed { id } => { self.children.remove(&id); }
//!             Command::Exit(exit) => { self.exit.set(exit); ctx.stop(); }
//!         }
//!     }
//! }
//! ```
//!
//! Every `Start` must be followed, sooner or later, by exactly one `Ended` of that generation; one that could not be
//! carried out is an `Ended` with [`Exit::Error`].

mod protocol;

use std::collections::VecDeque;
use std::time::Instant;

use super::child_spec::{ChildSpec, Exit, Generation, Restart, Strategy, Timeout};
pub use protocol::{ChildState, Command, Intensity, SupervisorEvent};

/// What is to become of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goal {
    Run,
    Rest,
    Gone,
}

#[derive(Clone, Debug)]
struct Entry<Id> {
    spec: ChildSpec<Id>,
    is_dynamic: bool,
    generation: Generation,
    state: ChildState,
    goal: Goal,
    /// Part of a group that must have ended, all of it, before anything is started.
    in_group_stop: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    New,
    Running,
    Stopping(Exit),
    Ended,
}

/// The state of a supervisor.
#[derive(Clone, Debug)]
pub struct Supervisor<Id> {
    strategy: Strategy,
    intensity: Intensity,
    children: Vec<Entry<Id>>,
    /// When there were restarts, the oldest first.
    restarts: VecDeque<Instant>,
    phase: Phase,
    last_generation: Generation,
}

impl<Id: Clone + Eq> Supervisor<Id> {
    /// A supervisor of `children`, left to right, none of which is started before [`SupervisorEvent::Start`].
    #[must_use]
    pub fn new(
        strategy: Strategy,
        intensity: Intensity,
        children: impl IntoIterator<Item = ChildSpec<Id>>,
    ) -> Self {
        Self {
            strategy,
            intensity,
            children: children
                .into_iter()
                .map(|spec| Entry::new(spec, false))
                .collect(),
            restarts: VecDeque::new(),
            phase: Phase::New,
            last_generation: 0,
        }
    }

    /// The state of a child; `None` if there is none of this id.
    #[must_use]
    pub fn state(&self, id: &Id) -> Option<ChildState> {
        self.children
            .iter()
            .find(|child| child.spec.id == *id)
            .map(|child| child.state)
    }

    /// The generation of a child that runs or stops: events and messages of another one are stale.
    #[must_use]
    pub fn generation(&self, id: &Id) -> Option<Generation> {
        self.children
            .iter()
            .find(|child| child.spec.id == *id && child.state != ChildState::Idle)
            .map(|child| child.generation)
    }

    /// Whether it is stopping all its children, or has.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        matches!(self.phase, Phase::Stopping(_) | Phase::Ended)
    }

    /// Takes an event and says what is to be done about it.
    pub fn handle(&mut self, event: SupervisorEvent<Id>, now: Instant) -> Vec<Command<Id>> {
        let mut commands = Vec::new();
        if self.phase == Phase::Ended {
            return commands;
        }
        match event {
            SupervisorEvent::Start if self.phase == Phase::New => self.phase = Phase::Running,
            SupervisorEvent::Start => {}
            SupervisorEvent::Add(spec) => {
                if self.state(&spec.id).is_none() && !self.is_ending() {
                    self.children.push(Entry::new(spec, true));
                }
            }
            SupervisorEvent::Terminate(id) => self.aim(&id, Goal::Rest),
            SupervisorEvent::Resume(id) => self.aim(&id, Goal::Run),
            SupervisorEvent::Remove(id) => self.aim(&id, Goal::Gone),
            SupervisorEvent::Ended {
                id,
                generation,
                exit,
            } => self.ended(&id, generation, exit, now, &mut commands),
            SupervisorEvent::TimedOut { id, generation } => {
                if self
                    .find(&id, generation)
                    .is_some_and(|child| child.state == ChildState::Stopping)
                {
                    commands.push(Command::Kill { id, generation });
                }
            }
            SupervisorEvent::Shutdown => self.end(Exit::Shutdown),
        }
        self.proceed(&mut commands);
        commands
    }

    fn find(&mut self, id: &Id, generation: Generation) -> Option<&mut Entry<Id>> {
        self.children.iter_mut().find(|child| {
            child.spec.id == *id
                && child.generation == generation
                && child.state != ChildState::Idle
        })
    }

    fn aim(&mut self, id: &Id, goal: Goal) {
        if let Some(child) = self.children.iter_mut().find(|child| child.spec.id == *id)
            // What is being removed is not called back: its owner has forgotten it.
            && child.goal != Goal::Gone
        {
            child.goal = match goal {
                Goal::Rest => child.spec.goal_at_rest(),
                goal => goal,
            };
        }
    }

    fn ended(
        &mut self,
        id: &Id,
        generation: Generation,
        exit: Exit,
        now: Instant,
        commands: &mut Vec<Command<Id>>,
    ) {
        let Some(child) = self.find(id, generation) else {
            return;
        };
        let was_asked = child.state == ChildState::Stopping;
        child.state = ChildState::Idle;
        if was_asked {
            return;
        }
        let is_abnormal = exit.is_abnormal();
        let restarts = child.spec.restart.follows(is_abnormal);
        let concerns_group = !child.in_group_stop && child.goal == Goal::Run;
        if !restarts && child.goal == Goal::Run {
            child.goal = child.spec.goal_at_rest();
        }
        if is_abnormal {
            commands.push(Command::Report {
                id: id.clone(),
                generation,
                exit,
            });
        }
        // One that was about to be stopped with its group only went ahead of it.
        if restarts && concerns_group && self.phase == Phase::Running {
            self.restart(id, now);
        }
    }

    /// Counts a restart and prepares it, or gives up.
    fn restart(&mut self, id: &Id, now: Instant) {
        let Intensity { restarts, period } = self.intensity;
        self.restarts.push_back(now);
        while self
            .restarts
            .front()
            .is_some_and(|oldest| now.duration_since(*oldest) > period)
        {
            self.restarts.pop_front();
        }
        if self.restarts.len() > restarts {
            self.end(Exit::Error(format!(
                "more than {restarts} restarts of its children within {}s",
                period.as_secs()
            )));
            return;
        }
        let first = match self.strategy {
            Strategy::OneForOne => return,
            Strategy::OneForAll => 0,
            Strategy::RestForOne => self
                .children
                .iter()
                .position(|child| child.spec.id == *id)
                .unwrap_or(0),
        };
        for child in &mut self.children[first..] {
            child.in_group_stop = true;
            if child.spec.restart == Restart::Temporary {
                child.goal = Goal::Gone;
            }
        }
    }

    /// Begins to end; the first reason stays.
    fn end(&mut self, exit: Exit) {
        if !self.is_ending() {
            self.phase = Phase::Stopping(exit);
            for child in &mut self.children {
                child.in_group_stop = true;
            }
        }
    }

    /// Goes as far towards the goals as is possible before the next event.
    fn proceed(&mut self, commands: &mut Vec<Command<Id>>) {
        for child in &mut self.children {
            // In a group, its turn comes.
            if child.goal != Goal::Run && !child.in_group_stop {
                child.stop(commands);
            }
        }
        let group_has_ended = self.stop_group(commands);
        self.children.retain(|child| {
            let is_gone = child.goal == Goal::Gone && child.state == ChildState::Idle;
            if is_gone {
                commands.push(Command::Removed {
                    id: child.spec.id.clone(),
                });
            }
            !is_gone
        });
        if !group_has_ended {
            return;
        }
        match &self.phase {
            Phase::Running => self.start_all(commands),
            Phase::Stopping(exit) => {
                commands.push(Command::Exit(exit.clone()));
                self.phase = Phase::Ended;
            }
            Phase::New | Phase::Ended => {}
        }
    }

    /// Stops the next ones of the group: dynamic children together, then the rightmost static one. True when all of
    /// the group have ended.
    fn stop_group(&mut self, commands: &mut Vec<Command<Id>>) -> bool {
        let mut living = self
            .children
            .iter_mut()
            .rev()
            .filter(|child| child.in_group_stop && child.state != ChildState::Idle)
            .peekable();
        match living.peek() {
            None => true,
            Some(rightmost) if rightmost.is_dynamic => {
                living
                    .take_while(|child| child.is_dynamic)
                    .for_each(|child| child.stop(commands));
                false
            }
            Some(_) => {
                living.take(1).for_each(|child| child.stop(commands));
                false
            }
        }
    }

    fn start_all(&mut self, commands: &mut Vec<Command<Id>>) {
        for child in &mut self.children {
            child.in_group_stop = false;
            if child.goal == Goal::Run && child.state == ChildState::Idle {
                // Never used twice, not even by a child that was removed and added again.
                self.last_generation += 1;
                child.generation = self.last_generation;
                child.state = ChildState::Running;
                commands.push(Command::Start {
                    id: child.spec.id.clone(),
                    generation: child.generation,
                });
            }
        }
    }
}

impl<Id> ChildSpec<Id> {
    /// What becomes of a child that ends and is not restarted: OTP forgets temporary ones.
    fn goal_at_rest(&self) -> Goal {
        match self.restart {
            Restart::Temporary => Goal::Gone,
            Restart::Permanent | Restart::Transient => Goal::Rest,
        }
    }
}

impl<Id: Clone> Entry<Id> {
    fn new(spec: ChildSpec<Id>, is_dynamic: bool) -> Self {
        Self {
            spec,
            is_dynamic,
            generation: 0,
            state: ChildState::Idle,
            goal: Goal::Run,
            in_group_stop: false,
        }
    }

    /// Begins to stop it, if it runs and is not stopping yet.
    fn stop(&mut self, commands: &mut Vec<Command<Id>>) {
        if self.state != ChildState::Running {
            return;
        }
        self.state = ChildState::Stopping;
        let (id, generation) = (self.spec.id.clone(), self.generation);
        match self.spec.shutdown {
            Timeout::Brutal => commands.push(Command::Kill { id, generation }),
            Timeout::Infinite => commands.push(Command::Stop { id, generation }),
            Timeout::After(after) => commands.extend([
                Command::Stop {
                    id: id.clone(),
                    generation,
                },
                Command::ArmTimer {
                    id,
                    generation,
                    after,
                },
            ]),
        }
    }
}

#[cfg(test)]
mod tests;
