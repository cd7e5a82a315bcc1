//! [`World`]: what surrounds a lifecycle. It carries commands out as the actor does, with processes that get ready,
//! crash and stop when a test says so.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

#[derive(Default)]
pub(super) struct World {
    pub(super) life: Lifecycle,
    pub(super) builds: BTreeMap<OpId, Option<u64>>,
    pub(super) built: BTreeMap<OpId, Vec<String>>,
    pub(super) live: BTreeMap<BatchId, BTreeSet<String>>,
    pub(super) stopping: BTreeSet<BatchId>,
    pub(super) draining: BTreeSet<BatchId>,
    pub(super) configuring: BTreeSet<OpId>,
    pub(super) leaving: BTreeSet<(BatchId, String)>,
    pub(super) ends: Vec<(OpId, End)>,
    pub(super) requested: Vec<OpId>,
    pub(super) next_release: u64,
}

impl World {
    pub(super) fn feed(&mut self, event: Event) {
        let mut commands = self.life.handle(event);
        while !commands.is_empty() {
            let mut more = Vec::new();
            for command in commands {
                more.extend(self.carry_out(command));
            }
            commands = more;
        }
        let serving = self
            .life
            .batches()
            .filter(|(_, role)| *role == Role::Serving)
            .count();
        assert!(serving <= 1, "two batches serve: {:?}", self.life);
        let count = self.life.batches().count();
        assert!(count <= 2, "more than two batches: {:?}", self.life);
        assert_eq!(count, self.live.len(), "{:?}", self.live);
    }

    pub(super) fn carry_out(&mut self, command: Command) -> Vec<Command> {
        match command {
            Command::Build(op) => assert!(self.builds.insert(op, None).is_none(), "built twice"),
            Command::Load(op, release) => assert!(self.builds.insert(op, Some(release)).is_none()),
            Command::Configure(op) => assert!(self.configuring.insert(op), "configured twice"),
            Command::AbortBuild(op) => {
                let was = self.builds.remove(&op).is_some() || self.configuring.remove(&op);
                assert!(was, "nothing to abort");
            }
            Command::Grow { batch, added, .. } => {
                for id in added {
                    let is_new = self.live.get_mut(&batch).expect("grown").insert(id);
                    assert!(is_new, "a process is started beside its namesake");
                }
            }
            Command::CallBack { batch, back } => {
                for id in back {
                    let others = self.live.iter().filter(|(b, _)| **b != batch);
                    let mut beside = others.flat_map(|(_, ids)| ids);
                    assert!(!beside.any(|other| makes_way(other)), "beside {id}");
                    let is_new = self.live.get_mut(&batch).expect("called").insert(id);
                    assert!(is_new, "a process is started beside its namesake");
                }
            }
            Command::Shrink { batch, removed } | Command::MakeWay { batch, removed } => {
                self.leaving
                    .extend(removed.into_iter().map(|id| (batch, id)));
            }
            Command::Spawn { batch, op } => {
                let processes = self.built.remove(&op).expect("spawned without a release");
                let mut beside = self.live.values().flatten();
                assert!(!beside.any(|id| makes_way(id)), "it has not made way");
                assert!(
                    self.live
                        .insert(batch, processes.into_iter().collect())
                        .is_none()
                );
            }
            Command::EndDrain(batch) => assert!(self.leaving.iter().any(|(b, _)| *b == batch)),
            Command::Drain(batch) => {
                assert!(!self.stopping.contains(&batch), "it ends already");
                self.draining.insert(batch);
            }
            Command::Stop(batch) => assert!(self.stopping.insert(batch), "stopped twice"),
            Command::Forget(batch) => {
                let left = self.live.remove(&batch).expect("forgot what never was");
                assert!(left.is_empty(), "forgot living processes {left:?}");
                self.stopping.remove(&batch);
            }
            Command::Finish(op, end) => self.ends.push((op, end)),
            Command::Restore(release) => {
                let op = self.op();
                return self
                    .life
                    .handle(Event::Request(op, Kind::Activate { release }));
            }
            Command::Explain(_, _, batch) => assert!(self.live.contains_key(&batch)),
            Command::Remember | Command::Publish => {}
        }
        vec![]
    }

    pub(super) fn op(&mut self) -> OpId {
        let op = self.requested.len() as OpId + 1;
        self.requested.push(op);
        op
    }

    pub(super) fn request(&mut self, kind: Kind) -> OpId {
        let op = self.op();
        self.feed(Event::Request(op, kind));
        op
    }

    pub(super) fn build(&mut self, processes: &[&str], recreate: bool) {
        let Some((&op, &release)) = self.builds.iter().next() else {
            return;
        };
        self.builds.remove(&op);
        let release = release.unwrap_or_else(|| {
            self.next_release += 1;
            self.next_release
        });
        let processes: Vec<String> = processes.iter().map(|p| (*p).to_owned()).collect();
        self.built.insert(op, processes.clone());
        let serving = self.life.serving().and_then(|id| self.live.get(&id));
        let old = serving.into_iter().flatten();
        let replaces = match recreate {
            true => Replaces::All,
            false => Replaces::These(old.filter(|id| makes_way(id)).cloned().collect()),
        };
        self.feed(Event::Built {
            op,
            release,
            processes,
            replaces,
        });
    }

    pub(super) fn fail_build(&mut self) {
        if let Some((&op, _)) = self.builds.iter().next() {
            self.builds.remove(&op);
            self.feed(Event::BuildFailed(op));
        }
    }

    pub(super) fn phase(&mut self, nth: usize, phase: Phase, exited: bool) {
        let all: Vec<_> = self
            .live
            .iter()
            .flat_map(|(b, ps)| ps.iter().map(|p| (*b, p.clone())))
            .collect();
        if let Some((batch, id)) = all.get(nth % all.len().max(1)).cloned() {
            self.feed(Event::Process {
                batch,
                id,
                phase,
                exited,
            });
        }
    }

    /// Answers the question what an operation has to do, in one of the ways there are.
    pub(super) fn configure(&mut self, nth: usize) {
        let Some(op) = self.configuring.pop_first() else {
            return;
        };
        let event = match nth {
            0 => Event::Configured(op),
            1 => Event::BuildFailed(op),
            2 => Event::Deploys { op, recreate: true },
            3 => Event::Deploys {
                op,
                recreate: false,
            },
            _ if self.life.serving().is_none() => Event::Configured(op),
            more => Event::Resized {
                op,
                processes: (3..=more).map(|i| format!("web.{}", i - 2)).collect(),
            },
        };
        self.feed(event);
    }

    /// Ends one process that was told to leave.
    pub(super) fn leave(&mut self) {
        if let Some((batch, id)) = self.leaving.pop_first() {
            let known = self.live.get_mut(&batch);
            if known.is_some_and(|ids| ids.remove(&id)) {
                self.feed(Event::Process {
                    batch,
                    id,
                    phase: Phase::Stopped,
                    exited: true,
                });
            }
        }
    }

    /// Carries out everything that is pending, as a world does in which nothing fails.
    pub(super) fn settle(&mut self) {
        for _ in 0..200 {
            for batch in std::mem::take(&mut self.draining) {
                self.feed(Event::Drained(batch));
            }
            self.leave();
            self.configure(0);
            for batch in self.stopping.clone() {
                for id in self.live.get(&batch).cloned().unwrap_or_default() {
                    self.live.get_mut(&batch).expect("known").remove(&id);
                    self.feed(Event::Process {
                        batch,
                        id,
                        phase: Phase::Stopped,
                        exited: true,
                    });
                }
            }
            for (batch, ids) in self.live.clone() {
                for id in ids {
                    if !self.stopping.contains(&batch) {
                        self.feed(Event::Process {
                            batch,
                            id,
                            phase: Phase::Ready,
                            exited: false,
                        });
                    }
                }
            }
            self.build(&["web.1"], false);
        }
    }

    pub(super) fn end_of(&self, op: OpId) -> Option<&End> {
        self.ends.iter().find(|(o, _)| *o == op).map(|(_, end)| end)
    }
}

/// Whether a process must not run beside its successor.
fn makes_way(id: &str) -> bool {
    id.starts_with("clock")
}

pub(super) fn running() -> World {
    let mut world = World::default();
    world.request(Kind::Deploy { recreate: false });
    world.build(&["web.1"], false);
    world.settle();
    assert_eq!(world.life.current(), Some(1));
    world
}

/// Ends what was told to go.
pub(super) fn clear(world: &mut World) {
    for batch in std::mem::take(&mut world.draining) {
        world.feed(Event::Drained(batch));
    }
    for batch in world.stopping.clone() {
        for id in std::mem::take(world.live.get_mut(&batch).expect("known")) {
            world.feed(Event::Process {
                batch,
                id,
                phase: Phase::Stopped,
                exited: true,
            });
        }
    }
}
