//! What a [`super::Supervisor`] is told, and what it wants done.

use std::time::Duration;

use crate::supervision::child_spec::{ChildSpec, Exit, Generation};

/// What a supervisor is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SupervisorEvent<Id> {
    /// Start all children. The first event.
    Start,
    /// Add a dynamic child and start it. Ignored while there is one with this id (see [`super::Supervisor::state`]).
    Add(ChildSpec<Id>),
    /// Stop a child and keep its specification. A `Restart::Temporary` one is removed.
    Terminate(Id),
    /// Start a child again that was terminated or has ended for good.
    Resume(Id),
    /// Stop a child and forget it.
    Remove(Id),
    Ended {
        id: Id,
        generation: Generation,
        exit: Exit,
    },
    /// A timer of [`Command::ArmTimer`] went off.
    TimedOut { id: Id, generation: Generation },
    /// Stop all children, then exit.
    Shutdown,
}

/// What a supervisor wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<Id> {
    Start {
        id: Id,
        /// To be given back with its events.
        generation: Generation,
    },
    /// Ask a child to stop.
    Stop { id: Id, generation: Generation },
    /// End a child without asking.
    Kill { id: Id, generation: Generation },
    /// Send [`SupervisorEvent::TimedOut`] after this time.
    ArmTimer {
        id: Id,
        generation: Generation,
        after: Duration,
    },
    /// A child ended abnormally and nobody had asked it to: for the log.
    Report {
        id: Id,
        generation: Generation,
        exit: Exit,
    },
    /// A child is gone and forgotten.
    Removed { id: Id },
    /// All children have ended: exit for this reason. The last command.
    Exit(Exit),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildState {
    /// It does not.
    Idle,
    Running,
    /// It was asked to stop, or killed, and has not ended.
    Stopping,
}

/// How many restarts are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intensity {
    /// The most restarts within the period; one more ends the supervisor.
    pub restarts: usize,
    pub period: Duration,
}
