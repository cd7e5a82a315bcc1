//! What a listing of the swarm says of one service (pure): no more than is decided by.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::exit_status::ExitStatus;

/// A service, if there is one, and its tasks that are not forgotten. They outlive it until they have ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    pub service: Option<Head>,
    pub tasks: Vec<SeenTask>,
}

/// The service itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    pub id: String,
    /// What an update must name.
    pub version: u64,
    pub replicas: u64,
    /// A digest of what its tasks are made of. Two listings are compared by it, no more.
    #[serde(skip)]
    pub template: Option<[u8; 32]>,
}

/// One attempt to run one process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenTask {
    pub id: String,
    /// Its number among those of the service, from 1.
    pub slot: u64,
    /// Grows by the order in which tasks were made.
    pub created: jiff::Timestamp,
    pub state: TaskState,
    /// Whether it is to run, or to begin to once the one before it is gone.
    pub is_wanted: bool,
    /// Why it waits or has failed, in the engine's words.
    pub message: Option<String>,
    /// When it came to its state.
    pub at: jiff::Timestamp,
    /// Where the port of its process is reached, while it runs.
    pub address: Option<SocketAddr>,
    /// The machine that it is on.
    pub node: Option<String>,
    /// Whether nothing was heard of that machine for a while.
    pub is_out_of_reach: bool,
    /// Whether the swarm itself has it end, or had: to run it elsewhere, or anew.
    #[serde(default)]
    pub is_dismissed: bool,
    /// Whether its machine fetches the image.
    #[serde(default)]
    pub is_fetching: bool,
}

/// How far a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskState {
    /// It waits for a machine, the image, or the delay of a restart.
    Waiting,
    Running,
    /// Its process has ended.
    Ended(ExitStatus),
    /// No process came of it.
    Rejected,
}

impl TaskState {
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Ended(_) | Self::Rejected)
    }
}

impl Seen {
    /// The same, where tasks that run have the addresses that they had `before`. A task keeps its port as long as it runs,
    /// but a swarm whose manager was cut off for a while may not know it any more (engine 20.10).
    #[must_use]
    pub fn with_addresses_of(mut self, before: &Self) -> Self {
        let lost = |task: &&mut SeenTask| task.runs() && task.address.is_none();
        for task in self.tasks.iter_mut().filter(lost) {
            let mut known = before.tasks.iter();
            let known = known.find(|known| known.id == task.id && known.runs());
            task.address = known.and_then(|known| known.address);
        }
        self
    }

    /// The task of each slot that counts, in the order of the slots: one that is wanted, that runs, the newest. After a
    /// change that is taken back, an older one goes on and a newer one ends.
    #[must_use]
    pub fn newest(&self) -> Vec<&SeenTask> {
        let rank = |task: &SeenTask| (task.is_wanted, task.is_wanted && task.runs(), task.created);
        let mut newest: Vec<&SeenTask> = Vec::new();
        for task in &self.tasks {
            match newest.iter_mut().find(|known| known.slot == task.slot) {
                Some(known) if rank(known) < rank(task) => *known = task,
                Some(_) => {}
                None => newest.push(task),
            }
        }
        newest.sort_by_key(|task| task.slot);
        newest
    }
}

impl SeenTask {
    /// Whether its process may still run, as far as can be known.
    #[must_use]
    pub fn may_run(&self) -> bool {
        !self.state.is_over() && !self.is_out_of_reach
    }

    #[must_use]
    pub fn runs(&self) -> bool {
        self.state == TaskState::Running
    }

    /// Whether there is, or was, a process.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        matches!(self.state, TaskState::Running | TaskState::Ended(_))
    }
}
