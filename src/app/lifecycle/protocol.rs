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
    /// None should.
    Stopped,
    /// The app is being removed for good.
    Removed,
}

/// What an operation is for.
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
    /// End all processes for good.
    Remove,
}

impl Kind {
    /// What who asks for it wants.
    pub(super) fn wants(self) -> Wanted {
        match self {
            Self::Stop => Wanted::Stopped,
            Self::Remove => Wanted::Removed,
            Self::Deploy { .. } | Self::Activate { .. } | Self::Configure => Wanted::Running,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Request(OpId, Kind),
    /// An operation is taken back.
    Cancel(OpId),
    /// The release of an operation is there to be activated.
    Built {
        op: OpId,
        release: u64,
        processes: Vec<String>,
        /// What of the old batch ends before the new one starts.
        replaces: Replaces,
    },
    /// The release of an operation could not be made; the actor knows why.
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
        /// Whether the change is the end of its OS process before its work was done, or it cannot have one.
        exited: bool,
    },
    /// What an operation started had its time to get ready.
    BootTimeout(OpId),
    /// No request is on a batch any more, or its drain time is over.
    Drained(BatchId),
    /// The daemon ends: everything stops, what is wanted stays.
    Shutdown,
}

/// What of the old batch ends before the new one starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replaces {
    All,
    /// These processes; the others run on until the new ones are ready.
    These(Vec<String>),
}

/// Why a batch did not get ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The actor knows: the build failed.
    Build,
    /// This process ended before all were ready, or could not be started at all.
    Exited(String),
    /// These processes were not ready in time.
    NotReady(Vec<String>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    Done,
    /// Not; the batch that failed, if it came so far.
    Failed(Cause, Option<BatchId>),
    /// A newer one replaced it while it waited.
    Superseded,
    /// It was cancelled, or a stop or remove took its place.
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
    /// The processes of a batch that were told to leave have no time any more for what is in flight.
    EndDrain(BatchId),
    /// Look why an operation fails: what it has started in the batch goes next.
    Explain(OpId, Cause, BatchId),
    /// Tell [`Event::Drained`] when no request is on the batch, or its time for that is over; told anew, with the time that
    /// is given now.
    Drain(BatchId),
    /// Stop the processes of a batch.
    Stop(BatchId),
    /// Forget a batch: its processes are gone.
    Forget(BatchId),
    /// What is wanted, or which release is current, has changed: write it down.
    Remember,
    Finish(OpId, End),
    /// What ended the old batch ended badly, or was cancelled: activate this release again.
    Restore(u64),
    /// The routes may have changed.
    Publish,
}

/// Where a batch is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Gets ready beside the one that serves.
    Booting,
    Serving,
    /// Finishes what is in flight.
    Draining,
    /// Its processes were told to stop.
    Ending,
}
