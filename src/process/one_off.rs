//! [`OneOff`]: what makes a process one that runs once, outside of the formation: a command of a person's, or a job.
//!
//! It has no port, is not started again, and its actor ends with it. Its input and output are a terminal's or pipes, and
//! then somebody's who is attached to it, or its output goes to the log as that of any process.

use std::time::Duration;

use actix::prelude::*;
use tokio::sync::oneshot;

use super::ends::Ends;
pub use super::ends::{EndsKind, WindowSize};
use crate::exit_status::ExitRecord;

/// What makes a process one that runs once.
#[derive(Clone, Debug)]
pub struct OneOff {
    /// Who gets its ends; `None`: it is detached, and its output goes to the log.
    pub attached: Option<Attached>,
    /// How long it may still run.
    pub time_limit: Option<Duration>,
}

/// An input and an output for somebody.
#[derive(Clone, Debug)]
pub struct Attached {
    pub kind: EndsKind,
    /// Who is given the session, as soon as the process runs.
    pub to: Recipient<Opened>,
}

/// A process runs, and somebody may attach to it.
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub struct Opened {
    /// [`ProcessSpec::batch`](super::spec::ProcessSpec::batch).
    pub batch: u64,
    pub session: Session,
}

/// The other ends of a process's input and output. Once it is dropped, the process is stopped.
#[derive(Debug)]
pub struct Session {
    pub ends: Ends,
    /// How it ended; an error: nobody knows.
    pub exit: oneshot::Receiver<ExitRecord>,
    /// Closed as soon as nothing of the process is left.
    pub present: oneshot::Sender<()>,
}

/// What the actor of the process keeps of a session.
#[derive(Debug)]
pub(crate) struct OwnSide {
    pub(crate) exit: oneshot::Sender<ExitRecord>,
    /// Ends once the session was dropped.
    pub(crate) present: oneshot::Receiver<()>,
}

impl Session {
    pub(crate) fn new(ends: Ends) -> (Self, OwnSide) {
        let (tell, exit) = oneshot::channel();
        let (present, is_present) = oneshot::channel();
        let own = OwnSide {
            exit: tell,
            present: is_present,
        };
        let session = Self {
            ends,
            exit,
            present,
        };
        (session, own)
    }
}
