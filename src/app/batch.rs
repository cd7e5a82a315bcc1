//! [`Batch`]: the processes of one release that were started together, as their App sees them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::runnable::Runnable;
use crate::document::formation::Slot;
use crate::process::diagnosis::Diagnosis;
use crate::process::health::Trouble;
use crate::process::phase::Phase;
use crate::process::worker::Snapshot;
use crate::router::backend::{Backend, Load};

/// The processes of one release that were started together, as their App sees them.
#[derive(Clone, Debug)]
pub struct Batch {
    pub runnable: Arc<Runnable>,
    members: Vec<Member>,
    /// By process, why it was not ready in time.
    pub diagnoses: BTreeMap<String, Diagnosis>,
}

#[derive(Clone, Debug)]
struct Member {
    slot: Slot,
    snapshot: Option<Snapshot>,
    backend: Option<Backend>,
    leaving: bool,
    /// Its requests in flight, since it was taken out of the route.
    drains: Option<Arc<Load>>,
}

impl Member {
    fn new(slot: Slot) -> Self {
        Self {
            slot,
            snapshot: None,
            backend: None,
            leaving: false,
            drains: None,
        }
    }

    fn trouble(&self) -> Option<&Trouble> {
        self.snapshot.as_ref()?.trouble.as_ref()
    }

    fn phase(&self) -> Option<Phase> {
        self.snapshot.as_ref().map(|s| s.phase)
    }

    /// Whether it ended with an error and is not started again.
    fn has_failed(&self) -> bool {
        let exit = self.snapshot.as_ref().and_then(|s| s.last_exit.as_ref());
        self.phase() == Some(Phase::Finished) && exit.is_some_and(|e| e.status.is_abnormal())
    }
}

impl Batch {
    /// A batch that has not reported yet.
    #[must_use]
    pub fn new(runnable: Arc<Runnable>) -> Self {
        let members = runnable.slots.iter().cloned().map(Member::new).collect();
        Self {
            runnable,
            members,
            diagnoses: BTreeMap::new(),
        }
    }

    /// Takes the same release at another scale or route. Members without a slot in it stay until they are
    /// [`Self::gone`].
    pub fn reconfigure(&mut self, runnable: Arc<Runnable>) {
        let mut old = std::mem::take(&mut self.members);
        for slot in &runnable.slots {
            let known = old.iter().position(|m| m.slot.id == slot.id);
            let member = known.map(|index| old.remove(index));
            self.members
                .push(member.unwrap_or_else(|| Member::new(slot.clone())));
        }
        self.members.extend(old);
        self.runnable = runnable;
    }

    /// Takes members out of the route and returns the loads to wait for.
    pub fn leave(&mut self, ids: &[String]) -> Vec<Arc<Load>> {
        let mut loads = Vec::new();
        for member in self.members.iter_mut().filter(|m| ids.contains(&m.slot.id)) {
            member.leaving = true;
            if let Some(backend) = member.backend.take() {
                member.drains = Some(backend.load);
            }
            loads.extend(member.drains.clone());
        }
        loads
    }

    /// Marks all members as draining and returns the loads to wait for, also of those that left before.
    pub fn drain(&mut self) -> Vec<Arc<Load>> {
        for member in &mut self.members {
            if let Some(backend) = &member.backend {
                member.drains = Some(Arc::clone(&backend.load));
            }
        }
        self.members
            .iter()
            .filter_map(|m| m.drains.clone())
            .collect()
    }

    /// Takes no new request on any member until it is [reopened](Self::reopen).
    pub fn close(&self) {
        self.open_loads().for_each(|load| load.close());
    }

    /// Takes requests again on those that do not leave.
    pub fn reopen(&self) {
        self.open_loads().for_each(|load| load.reopen());
    }

    fn open_loads(&self) -> impl Iterator<Item = &Arc<Load>> {
        let stay = self.members.iter().filter(|m| m.drains.is_none());
        stay.filter_map(|m| Some(&m.backend.as_ref()?.load))
    }

    /// What is in flight on all members, also on those that leave.
    pub fn loads(&self) -> impl Iterator<Item = Arc<Load>> {
        let of = |m: &Member| {
            let backend = m.backend.as_ref().map(|backend| &backend.load);
            m.drains.as_ref().or(backend).cloned()
        };
        self.members.iter().filter_map(of)
    }

    /// Cuts the requests in flight on members that drain: their time is over.
    pub fn cut(&self) {
        let draining = self.members.iter().filter_map(|m| m.drains.as_ref());
        draining.for_each(|load| load.cut());
    }

    /// Counts the requests and tunnels in flight on a process that drains.
    #[must_use]
    pub fn left_on(&self, id: &str) -> Option<usize> {
        let member = self.members.iter().find(|m| m.slot.id == id)?;
        member.drains.as_ref().map(|load| load.outstanding())
    }

    /// Whether a process was told to leave.
    #[must_use]
    pub fn is_leaving(&self, id: &str) -> bool {
        self.members.iter().any(|m| m.leaving && m.slot.id == id)
    }

    /// Forgets a process that left.
    pub fn gone(&mut self, id: &str) {
        self.members.retain(|m| !(m.leaving && m.slot.id == id));
    }

    pub fn update(&mut self, snapshot: Snapshot) {
        let release = self.runnable.id();
        let Some(member) = self.members.iter_mut().find(|m| m.slot.id == snapshot.id) else {
            return;
        };
        let address = snapshot.address.clone();
        let address = address
            .filter(|_| snapshot.phase == Phase::Ready && member.slot.routed && !member.leaving);
        let same_process = member
            .snapshot
            .as_ref()
            .is_some_and(|old| old.is_same_run(&snapshot));
        // Requests in flight keep their load when the process turns out to answer at another address.
        let kept = member.backend.take().filter(|_| same_process);
        member.backend = address.map(|address| Backend {
            process: Arc::from(member.slot.id.as_str()),
            release,
            address,
            load: kept.map_or_else(
                || Arc::new(Load::new(snapshot.alarm.clone())),
                |kept| kept.load,
            ),
        });
        member.snapshot = Some(snapshot);
    }

    /// The backends of a type to route to: ready and healthy processes. If none is healthy, all ready ones, since a
    /// process that fails its checks may still answer; but never one whose port another program has.
    #[must_use]
    pub fn backends(&self, process_type: &str) -> Vec<Backend> {
        let of = |is_wanted: fn(Option<&Trouble>) -> bool| -> Vec<Backend> {
            let members = self.members.iter();
            let members = members.filter(|m| m.slot.process_type == process_type);
            let wanted = members.filter(|m| is_wanted(m.trouble()));
            wanted.filter_map(|m| m.backend.clone()).collect()
        };
        let healthy = of(|trouble| trouble.is_none());
        match healthy.is_empty() {
            true => of(|trouble| trouble.is_none_or(|t| !t.is_foreign)),
            false => healthy,
        }
    }

    /// Whether a process is ready and yet gets no requests.
    #[must_use]
    pub fn is_passed_over(&self, id: &str) -> bool {
        let is_it = |m: &&Member| m.slot.id == id && m.backend.is_some();
        let Some(member) = self.members.iter().find(is_it) else {
            return false;
        };
        let backends = self.backends(&member.slot.process_type);
        backends.iter().all(|b| *b.process != *id)
    }

    /// The processes, each with its last report.
    pub fn members(&self) -> impl Iterator<Item = (&Slot, Option<&Snapshot>)> {
        self.members.iter().map(|m| (&m.slot, m.snapshot.as_ref()))
    }

    /// The processes of a unit.
    pub fn slots_of(&self, unit: &str) -> impl Iterator<Item = &Slot> {
        let slots = self.members.iter().map(|m| &m.slot);
        slots.filter(move |slot| self.runnable.engine.unit(slot) == unit)
    }

    /// The units that processes belong to, each once.
    pub fn units<'i>(&self, ids: impl IntoIterator<Item = &'i str>) -> Vec<String> {
        let mut units: Vec<String> = Vec::new();
        for id in ids {
            let mut slots = self.members.iter().map(|m| &m.slot);
            let slot = slots.find(|slot| slot.id == *id);
            let unit = slot.map_or(id, |slot| self.runnable.engine.unit(slot));
            if !units.iter().any(|known| known == unit) {
                units.push(unit.to_owned());
            }
        }
        units
    }

    /// The processes of a unit that are to run.
    #[must_use]
    pub fn staying(&self, unit: &str) -> Vec<String> {
        let stays = |slot: &&Slot| !self.is_leaving(&slot.id);
        let staying = self.slots_of(unit).filter(stays);
        staying.map(|slot| slot.id.clone()).collect()
    }

    /// How many ports of this machine its processes take.
    #[must_use]
    pub fn ports(&self) -> usize {
        match self.runnable.engine.takes_ports() {
            true => self.members.len(),
            false => 0,
        }
    }

    /// The last report of a process.
    #[must_use]
    pub fn snapshot(&self, id: &str) -> Option<&Snapshot> {
        self.members
            .iter()
            .find(|m| m.slot.id == id)?
            .snapshot
            .as_ref()
    }

    /// Whether every process is ready, or has done its work.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let is_ready = |m: &Member| match m.phase() {
            Some(Phase::Ready) => true,
            Some(Phase::Finished) => !m.slot.routed && !m.has_failed(),
            _ => false,
        };
        self.members.iter().all(is_ready)
    }

    /// Whether a process ended because it had done its work. A routed process never has: it must keep running.
    #[must_use]
    pub fn has_done_its_work(&self, snapshot: &Snapshot) -> bool {
        let member = self.members.iter().find(|m| m.slot.id == snapshot.id);
        let exit = snapshot.last_exit.as_ref();
        member.is_some_and(|m| !m.slot.routed)
            && snapshot.phase == Phase::Finished
            && exit.is_some_and(|e| !e.status.is_abnormal())
    }

    /// Whether any process of a type is routed to, or will be.
    #[must_use]
    pub fn has_routed(&self, process_type: &str) -> bool {
        // Slots, not members: a process that has made way for the next batch is no member meanwhile.
        let has_finished = |slot: &Slot| {
            let snapshot = self.snapshot(&slot.id);
            snapshot.is_some_and(|s| s.phase == Phase::Finished)
        };
        let slots = self.runnable.slots.iter();
        let mut routed = slots.filter(|slot| slot.routed && slot.process_type == process_type);
        routed.any(|slot| !has_finished(slot))
    }

    /// Whether a process of a routed type keeps crashing and none of it is ready.
    #[must_use]
    pub fn is_down(&self, process_type: &str) -> bool {
        let is_of_it = |m: &&Member| m.slot.routed && m.slot.process_type == process_type;
        let routed = || self.members.iter().filter(is_of_it);
        routed().all(|m| m.backend.is_none())
            && routed().any(|m| m.snapshot.as_ref().is_some_and(|s| s.crashlooping))
    }

    /// A routed type whose processes have all ended for good: nothing answers its requests.
    #[must_use]
    pub fn lost_type(&self) -> Option<&str> {
        let routed = self.runnable.slots.iter().filter(|slot| slot.routed);
        let mut types = routed.map(|slot| slot.process_type.as_str());
        types.find(|name| !self.has_routed(name))
    }

    /// Whether a process has crashed, and waits for its restart or is not restarted, or none is left to answer
    /// requests.
    #[must_use]
    pub fn is_degraded(&self) -> bool {
        if self.lost_type().is_some() {
            return true;
        }
        let is_down = |m: &Member| m.phase() == Some(Phase::Backoff) || m.has_failed();
        self.members.iter().any(|m| !m.leaving && is_down(m))
    }

    /// Whether any process keeps crashing.
    #[must_use]
    pub fn is_crashlooping(&self) -> bool {
        self.members
            .iter()
            .any(|m| m.snapshot.as_ref().is_some_and(|s| s.crashlooping))
    }
}
