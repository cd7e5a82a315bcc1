//! What a [`super::Supervisor`] is told, and what it wants done.

use std::time::Duration;

use crate::supervision::child_spec::{ChildSpec, Exit, Generation};

/// What a supervisor is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<Id> {
    /// Start all children. The first event.
    Start,
    /// Add a dynamic child and start it. Ignored while there is one with this id (see [`super::Supervisor::state`]).
    Add(ChildSpec<Id>),
    /// Stop a child and keep its specification. A [`Restart::Temporary`] one is removed.
    Terminate(Id),
    /// Start a child again that was terminated or has ended for good.
    Resume(Id),
    /// Stop a child and forget it.
    Remove(Id),
    /// A child has ended.
    Ended {
        /// Which.
        id: Id,
        /// Which start of it.
        generation: Generation,
        /// How.
        exit: Exit,
    },
    /// A timer of [`Command::ArmTimer`] went off.
    TimedOut {
        /// Whose.
        id: Id,
        /// Which start of it.
        generation: Generation,
    },
    /// Stop all children, then exit.
    Shutdown,
}

/// What a supervisor wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<Id> {
    /// Start a child.
    Start {
        /// Which.
        id: Id,
        /// To be given back with its events.
        generation: Generation,
    },
    /// Ask a child to stop.
    Stop {
        /// Which.
        id: Id,
        /// Which start of it.
        generation: Generation,
    },
    /// End a child without asking.
    Kill {
        /// Which.
        id: Id,
        /// Which start of it.
        generation: Generation,
    },
    /// Send [`Event::TimedOut`] after this time.
    ArmTimer {
        /// Whose.
        id: Id,
        /// Which start of it.
        generation: Generation,
        /// From now.
        after: Duration,
    },
    /// A child ended abnormally and nobody had asked it to: for the log.
    Report {
        /// Which.
        id: Id,
        /// Which start of it.
        generation: Generation,
        /// How.
        exit: Exit,
    },
    /// A child is gone and forgotten.
    Removed {
        /// Which.
        id: Id,
    },
    /// All children have ended: exit for this reason. The last command.
    Exit(Exit),
}

/// Whether a child runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildState {
    /// It does not.
    Idle,
    /// It was started.
    Running,
    /// It was asked to stop, or killed, and has not ended.
    Stopping,
}

/// How many restarts are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intensity {
    /// So many restarts are borne
    pub restarts: usize,
    /// within this time; one more ends the supervisor.
    pub period: Duration,
}
