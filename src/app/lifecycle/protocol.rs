//! The words of the lifecycle: what can happen, what is commanded, how operations end (pure).

use serde::{Deserialize, Serialize};

use crate::process::phase::Phase;

/// Names an operation for as long as the actor lives.
pub type OpId = u64;
/// Names a batch, and the directories of its processes.
pub type BatchId = u64;

/// What the user last asked for; kept over restarts of the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wanted {
    #[default]
    Running,
    Stopped,
    /// Nothing runs until a request comes. The user wants it to run.
    Asleep,
    /// The app is being removed for good.
    Removed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Make a release and activate it; `recreate` ends the old batch before anything else.
    Deploy {
        /// Strategy of the document that is deployed.
        recreate: bool,
    },
    /// Activate a release that exists.
    Activate {
        release: u64,
    },
    /// Do the least work that does what the newest document says; the actor finds out which when its turn comes.
    Configure,
    Stop,
    /// End all processes until a request comes. It does nothing where another operation is at work.
    Sleep,
    /// End all processes for good.
    Remove,
}

impl Kind {
    /// What the user wants from the moment that the operation is accepted.
    pub(super) fn wants(self) -> Wanted {
        match self {
            Self::Stop => Wanted::Stopped,
            Self::Sleep => Wanted::Asleep,
            Self::Remove => Wanted::Removed,
            Self::Deploy { .. } | Self::Activate { .. } | Self::Configure => Wanted::Running,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Request(OpId, Kind),
    Cancel(OpId),
    /// The release of an operation is on disk and can be started.
    Built {
        op: OpId,
        release: u64,
        processes: Vec<String>,
        /// What of the old batch ends before the new one starts.
        replaces: Replaces,
    },
    /// The release of an operation could not be made. The actor keeps the reason.
    BuildFailed(OpId),
    /// A [`Kind::Configure`] is done: no process had to change.
    Configured(OpId),
    /// A [`Kind::Configure`] changes how many processes the serving batch has.
    Resized {
        op: OpId,
        /// Ids of all processes there should be.
        processes: Vec<String>,
    },
    /// A [`Kind::Configure`] needs a new release.
    Deploys {
        op: OpId,
        /// As in [`Kind::Deploy`].
        recreate: bool,
    },
    Process {
        batch: BatchId,
        /// `web.1`.
        id: String,
        phase: Phase,
        /// Whether its OS process ended before its work was done, or could not be started at all.
        exited: bool,
    },
    /// The processes that an operation started have used up their time to get ready.
    BootTimeout(OpId),
    /// A batch has no request in flight any more, or its drain time is over.
    Drained(BatchId),
    /// The daemon ends: all processes stop, and the next daemon starts what is wanted.
    Shutdown,
}

/// What of the old batch ends before the new one starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replaces {
    All,
    /// Only these processes end first; the others run until the new ones are ready.
    These(Vec<String>),
}

/// Why a batch did not get ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The build failed. The actor keeps the reason.
    Build,
    /// This process ended before all were ready, or could not be started at all.
    Exited(String),
    /// These processes were not ready in time.
    NotReady(Vec<String>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    Done,
    /// Carries the batch that failed, unless none was started.
    Failed(Cause, Option<BatchId>),
    /// A newer operation took its place while it waited.
    Superseded,
    /// The user cancelled it, or a stop or removal took its place.
    Cancelled,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Make the release of an operation.
    Build(OpId),
    /// Load an existing release for an operation.
    Load(OpId, u64),
    /// Find out what an operation has to do: answer with [`Event::Configured`], [`Event::Resized`],
    /// [`Event::Deploys`] or, of a new release of the same code, [`Event::Built`].
    Configure(OpId),
    AbortBuild(OpId),
    /// Start the processes of a release and arm their boot time-out.
    Spawn {
        batch: BatchId,
        op: OpId,
    },
    /// Start more processes in a batch and arm their boot time-out.
    Grow {
        batch: BatchId,
        op: OpId,
        added: Vec<String>,
    },
    /// Take processes out of the route, let their requests finish, then stop them.
    Shrink {
        batch: BatchId,
        removed: Vec<String>,
    },
    /// Take processes out of the route and stop them: nothing serves in their place meanwhile.
    MakeWay {
        batch: BatchId,
        removed: Vec<String>,
    },
    /// Start processes of a batch again that have made way.
    CallBack {
        batch: BatchId,
        back: Vec<String>,
    },
    /// Cut the requests that the leaving processes of a batch still answer: their drain time is over.
    EndDrain(BatchId),
    /// Find out why an operation fails, while the processes that it started are still there.
    Explain(OpId, Cause, BatchId),
    /// Send [`Event::Drained`] when the batch has no request in flight, or its drain time is over. A second command
    /// for a batch starts the time anew.
    Drain(BatchId),
    /// Stop the processes of a batch.
    Stop(BatchId),
    /// Forget a batch whose processes are gone.
    Forget(BatchId),
    /// Write down what is wanted and which release is current: one of them has changed.
    Remember,
    Finish(OpId, End),
    /// Activate this release again: the operation that ended its batch failed or was cancelled.
    Restore(u64),
    /// Publish the route: it may have changed.
    Publish,
}

/// Where a batch is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Gets ready beside the batch that serves.
    Booting,
    Serving,
    /// Gets no new requests and finishes those in flight.
    Draining,
    /// Its processes have been told to stop.
    Ending,
}
