//! [`Batch`]: the processes of one release that were started together, as their App sees them.

use std::sync::Arc;

use super::formation::Slot;
use super::runnable::Runnable;
use crate::process::worker::{Phase, Snapshot};
use crate::router::backend::{Backend, Load};

/// The processes of one release that were started together, as their App sees them.
#[derive(Clone, Debug)]
pub struct Batch {
    /// What they run.
    pub runnable: Arc<Runnable>,
    members: Vec<Member>,
}

#[derive(Clone, Debug)]
struct Member {
    slot: Slot,
    snapshot: Option<Snapshot>,
    backend: Option<Backend>,
}

impl Batch {
    /// A batch of which nothing is known yet.
    #[must_use]
    pub fn new(runnable: Arc<Runnable>) -> Self {
        let members = runnable.slots.iter().cloned();
        let members = members
            .map(|slot| Member {
                slot,
                snapshot: None,
                backend: None,
            })
            .collect();
        Self { runnable, members }
    }

    /// Takes in what a process says of itself.
    pub fn update(&mut self, snapshot: Snapshot) {
        let release = self.runnable.id();
        let Some(member) = self.members.iter_mut().find(|m| m.slot.id == snapshot.id) else {
            return;
        };
        let address = snapshot
            .address
            .filter(|_| snapshot.phase == Phase::Ready && member.slot.routed);
        let same_process = member
            .snapshot
            .as_ref()
            .is_some_and(|old| old.pid == snapshot.pid);
        let kept = member
            .backend
            .take()
            .filter(|b| same_process && Some(b.address) == address);
        member.backend = kept.or_else(|| {
            address.map(|address| Backend {
                process: Arc::from(member.slot.id.as_str()),
                release,
                address,
                load: Arc::new(Load::default()),
            })
        });
        member.snapshot = Some(snapshot);
    }

    /// What can be routed to.
    #[must_use]
    pub fn backends(&self) -> Vec<Backend> {
        self.members
            .iter()
            .filter_map(|m| m.backend.clone())
            .collect()
    }

    /// Its processes with what is known of them.
    pub fn members(&self) -> impl Iterator<Item = (&Slot, Option<&Snapshot>)> {
        self.members.iter().map(|m| (&m.slot, m.snapshot.as_ref()))
    }

    /// What is known of one process.
    #[must_use]
    pub fn snapshot(&self, id: &str) -> Option<&Snapshot> {
        self.members
            .iter()
            .find(|m| m.slot.id == id)?
            .snapshot
            .as_ref()
    }

    /// Whether any of its processes is routed to.
    #[must_use]
    pub fn has_routed(&self) -> bool {
        self.members.iter().any(|m| m.slot.routed)
    }

    /// Whether a routed process keeps crashing and none is ready.
    #[must_use]
    pub fn is_down(&self) -> bool {
        let routed = || self.members.iter().filter(|m| m.slot.routed);
        routed().all(|m| m.backend.is_none())
            && routed().any(|m| m.snapshot.as_ref().is_some_and(|s| s.crashlooping))
    }

    /// Whether any process keeps crashing.
    #[must_use]
    pub fn is_crashlooping(&self) -> bool {
        self.members
            .iter()
            .any(|m| m.snapshot.as_ref().is_some_and(|s| s.crashlooping))
    }
}
