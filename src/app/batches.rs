//! [`Batches`]: the batches of an app that are not gone, and what their processes take over from those before.

use std::collections::BTreeMap;

use super::batch::Batch;
use super::engine::unit::Left;
use super::lifecycle::BatchId;
use crate::process::phase::Phase;
use crate::process::worker::Snapshot;

/// The batches of an app that are not gone, and what their processes take over from those before.
#[derive(Debug, Default)]
pub struct Batches {
    all: BTreeMap<BatchId, Batch>,
    /// What outlived the previous server, by batch and unit, until that takes it over.
    pub survivors: Vec<(BatchId, String, Left)>,
    /// The batch that starts with the server.
    pub at_boot: Option<BatchId>,
    /// The port that each process had last.
    ports: BTreeMap<String, u16>,
}

impl Batches {
    #[must_use]
    pub fn get(&self, id: BatchId) -> Option<&Batch> {
        self.all.get(&id)
    }

    pub fn get_mut(&mut self, id: BatchId) -> Option<&mut Batch> {
        self.all.get_mut(&id)
    }

    pub fn insert(&mut self, id: BatchId, batch: Batch) {
        self.all.insert(id, batch);
    }

    pub fn remove(&mut self, id: BatchId) {
        self.all.remove(&id);
    }

    /// All of them, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Batch> {
        self.all.values()
    }

    /// The releases that they run.
    pub fn releases(&self) -> impl Iterator<Item = u64> {
        self.iter().map(|batch| batch.runnable.id())
    }

    /// Takes the last report of a process.
    pub fn update(&mut self, id: BatchId, snapshot: Snapshot) {
        if let Some(port) = snapshot.port {
            self.ports.insert(snapshot.id.clone(), port);
        }
        if let Some(batch) = self.all.get_mut(&id) {
            batch.update(snapshot);
        }
    }

    /// What outlived the previous server of this unit of the batch.
    pub fn take_survivor(&mut self, batch: BatchId, unit: &str) -> Option<Left> {
        let mut known = self.survivors.iter();
        let index = known.position(|(of, name, _)| *of == batch && name == unit)?;
        Some(self.survivors.swap_remove(index).2)
    }

    /// The port that a process had last, unless one of another batch still has it.
    #[must_use]
    pub fn preferred_port(&self, process: &str) -> Option<u16> {
        let last = *self.ports.get(process)?;
        let holds =
            |snapshot: &Snapshot| snapshot.port == Some(last) && snapshot.phase != Phase::Stopped;
        let mut snapshots = self.iter().flat_map(Batch::members).filter_map(|(_, s)| s);
        (!snapshots.any(holds)).then_some(last)
    }
}
