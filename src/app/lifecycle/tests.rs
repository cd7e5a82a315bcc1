//! Cases and properties of the lifecycle.

mod world;

use proptest::prelude::*;

use super::*;
use world::{World, clear, running};

#[test]
fn a_rolling_deploy_keeps_the_old_batch_until_the_new_one_is_ready() {
    let mut world = running();
    let old = world.life.serving().expect("serves");
    let op = world.request(Kind::Deploy { recreate: false });
    world.build(&["web.1", "web.2"], false);
    assert_eq!(world.life.serving(), Some(old));
    let new = *world.live.keys().last().expect("booting");
    for id in ["web.1", "web.2"] {
        assert_eq!(world.life.serving(), Some(old));
        world.feed(Event::Process {
            batch: new,
            id: id.into(),
            phase: Phase::Ready,
            exited: false,
        });
    }
    assert_eq!(
        (world.life.serving(), world.life.current()),
        (Some(new), Some(2))
    );
    assert_eq!(world.end_of(op), Some(&End::Done));
    assert!(world.draining.contains(&old));
}

#[test]
fn a_release_that_exits_or_is_late_leaves_the_old_one_serving() {
    for exited in [true, false] {
        let mut world = running();
        let old = world.life.serving();
        let op = world.request(Kind::Deploy { recreate: false });
        world.build(&["web.1"], false);
        let new = *world.live.keys().last().expect("booting");
        if exited {
            world.feed(Event::Process {
                batch: new,
                id: "web.1".into(),
                phase: Phase::Backoff,
                exited: true,
            });
        } else {
            world.feed(Event::BootTimeout(op));
        }
        assert!(matches!(world.end_of(op), Some(End::Failed(_, Some(batch))) if *batch == new));
        assert_eq!((world.life.serving(), world.life.current()), (old, Some(1)));
        assert!(world.stopping.contains(&new));
    }
}

#[test]
fn a_first_release_that_crashes_or_is_late_leaves_nothing() {
    for exited in [true, false] {
        let mut world = World::default();
        let op = world.request(Kind::Deploy { recreate: false });
        world.build(&["web.1"], false);
        if exited {
            world.phase(0, Phase::Backoff, true);
        } else {
            world.feed(Event::BootTimeout(op));
        }
        assert!(matches!(world.end_of(op), Some(End::Failed(_, Some(0)))));
        clear(&mut world);
        assert_eq!((world.life.serving(), world.life.current()), (None, None));
        assert!(world.live.is_empty() && world.builds.is_empty());
        assert_eq!(world.life.wanted(), Wanted::Running);
    }
}

/// A release that was ready once and keeps ending now.
fn crashing() -> World {
    let mut world = running();
    world.phase(0, Phase::Backoff, true);
    world
}

#[test]
fn a_deploy_over_a_crash_loop_replaces_it() {
    let mut world = crashing();
    let op = world.request(Kind::Deploy { recreate: false });
    world.build(&["web.1"], false);
    assert!(
        world.draining.contains(&0),
        "what crashes is not kept beside the new one"
    );
    world.settle();
    assert_eq!(world.end_of(op), Some(&End::Done));
    assert_eq!(world.life.current(), Some(2));
}

#[test]
fn a_deploy_over_a_crash_loop_that_fails_gives_it_back_and_what_is_current_stays_under_supervision()
{
    let mut world = crashing();
    let op = world.request(Kind::Deploy { recreate: false });
    world.build(&["web.1"], false);
    clear(&mut world);
    world.phase(0, Phase::Backoff, true);
    assert!(matches!(world.end_of(op), Some(End::Failed(..))));
    assert_eq!(world.life.current(), Some(1));
    clear(&mut world);
    world.build(&["web.1"], false);
    world.phase(0, Phase::Backoff, true);
    assert!(world.life.active().is_none() && world.stopping.is_empty());
    assert!(world.life.serving().is_some());
    assert_eq!(world.life.current(), Some(1));
}

#[test]
fn a_shutdown_of_the_daemon_ends_all_and_keeps_what_is_wanted() {
    let mut world = running();
    world.request(Kind::Deploy { recreate: false });
    world.feed(Event::Shutdown);
    world.settle();
    assert!(world.live.is_empty() && world.builds.is_empty());
    assert_eq!(
        (world.life.wanted(), world.life.current()),
        (Wanted::Running, Some(1))
    );
}

#[test]
fn recreate_ends_the_old_batch_first_and_restores_it_when_the_build_fails() {
    let mut world = running();
    let op = world.request(Kind::Deploy { recreate: true });
    assert!(
        world.builds.is_empty(),
        "nothing is built while the old one runs"
    );
    for batch in std::mem::take(&mut world.draining) {
        world.feed(Event::Drained(batch));
    }
    for batch in world.stopping.clone() {
        world.live.get_mut(&batch).expect("known").clear();
        world.feed(Event::Process {
            batch,
            id: "web.1".into(),
            phase: Phase::Stopped,
            exited: true,
        });
    }
    world.fail_build();
    assert_eq!(world.end_of(op), Some(&End::Failed(Cause::Build, None)));
    assert_eq!(
        world.builds.values().next(),
        Some(&Some(1)),
        "release 1 is loaded again"
    );
    world.settle();
    assert_eq!(world.life.current(), Some(1));
    assert!(world.life.serving().is_some());
}

#[test]
fn recreate_restores_the_old_release_when_the_new_one_does_not_get_ready_or_is_cancelled() {
    for is_cancelled in [false, true] {
        let mut world = running();
        let op = world.request(Kind::Deploy { recreate: true });
        clear(&mut world);
        world.build(&["web.1"], true);
        assert_eq!(world.life.current(), Some(1), "until the new one is ready");
        if is_cancelled {
            world.feed(Event::Cancel(op));
            assert_eq!(world.end_of(op), Some(&End::Cancelled));
        } else {
            world.phase(0, Phase::Backoff, true);
            assert!(matches!(world.end_of(op), Some(End::Failed(..))));
        }
        assert_eq!(world.life.current(), Some(1));
        assert_eq!(
            world.builds.values().next(),
            Some(&Some(1)),
            "release 1 is loaded again"
        );
        world.settle();
        assert_eq!(world.life.current(), Some(1));
        assert!(world.life.serving().is_some());
    }
}

#[test]
fn a_first_deploy_that_is_cancelled_while_it_starts_leaves_nothing_running() {
    let mut world = World::default();
    let op = world.request(Kind::Deploy { recreate: false });
    world.build(&["web.1"], false);
    world.feed(Event::Cancel(op));
    clear(&mut world);
    assert_eq!(world.end_of(op), Some(&End::Cancelled));
    assert_eq!((world.life.serving(), world.life.current()), (None, None));
    assert!(world.live.is_empty() && world.builds.is_empty());
}

#[test]
fn of_ten_deploys_the_first_runs_the_last_waits_and_the_others_are_superseded() {
    let mut world = running();
    let ops: Vec<_> = (0..10)
        .map(|_| world.request(Kind::Deploy { recreate: false }))
        .collect();
    world.settle();
    assert_eq!(world.end_of(ops[0]), Some(&End::Done));
    assert_eq!(world.end_of(ops[9]), Some(&End::Done));
    for op in &ops[1..9] {
        assert_eq!(world.end_of(*op), Some(&End::Superseded));
    }
}

#[test]
fn what_must_not_run_beside_its_successor_makes_way_and_comes_back_where_that_fails() {
    for fails in [false, true] {
        let mut world = World::default();
        world.request(Kind::Deploy { recreate: false });
        world.build(&["web.1", "clock.1"], false);
        world.settle();
        let old = world.life.serving().expect("serves");
        let op = world.request(Kind::Deploy { recreate: false });
        world.build(&["web.1", "clock.1"], false);
        assert_eq!(world.live.len(), 1, "nothing starts before it has ended");
        assert_eq!(world.leaving, [(old, "clock.1".to_owned())].into());
        world.leave();
        let new = *world.live.keys().last().expect("booting");
        assert_eq!((world.life.serving(), world.live.len()), (Some(old), 2));
        if !fails {
            ready(&mut world, new, "web.1");
            ready(&mut world, new, "clock.1");
            assert_eq!(world.end_of(op), Some(&End::Done));
            continue;
        }
        world.feed(Event::BootTimeout(op));
        assert!(matches!(world.end_of(op), Some(End::Failed(..))));
        assert!(
            !world.live[&old].contains("clock.1"),
            "not beside the one that has failed"
        );
        clear(&mut world);
        assert_eq!(world.life.serving(), Some(old));
        assert!(world.live[&old].contains("clock.1"));
    }
}

#[test]
fn a_batch_that_drains_is_ended_when_the_next_comes_and_that_one_waits_for_its_end() {
    let mut world = running();
    for release in 2..24 {
        let op = world.request(Kind::Deploy { recreate: false });
        world.build(&["web.1"], false);
        if release > 2 {
            assert_eq!(world.live.len(), 2, "it waits for room");
            let drains = world.draining.clone();
            assert!(drains.iter().any(|batch| world.stopping.contains(batch)));
            for batch in world.stopping.clone() {
                world.draining.remove(&batch);
                world.live.get_mut(&batch).expect("known").clear();
                world.feed(Event::Process {
                    batch,
                    id: "web.1".into(),
                    phase: Phase::Stopped,
                    exited: true,
                });
            }
        }
        world.phase(1, Phase::Ready, false);
        assert_eq!(world.end_of(op), Some(&End::Done));
        assert_eq!(world.life.current(), Some(release));
    }
}

#[test]
fn what_leaves_has_no_time_any_more_when_another_operation_waits() {
    let mut world = running();
    let batch = world.life.serving().expect("serves");
    resize(&mut world, &["web.1", "web.2"]);
    ready(&mut world, batch, "web.2");
    resize(&mut world, &["web.1"]);
    let op = world.op();
    let kind = Kind::Deploy { recreate: false };
    let commands = world.life.handle(Event::Request(op, kind));
    assert!(commands.contains(&Command::EndDrain(batch)));
}

#[test]
fn stop_takes_the_place_of_a_deploy_and_ends_everything() {
    let mut world = running();
    let deploy = world.request(Kind::Deploy { recreate: false });
    let stop = world.request(Kind::Stop);
    assert_eq!(world.end_of(deploy), Some(&End::Cancelled));
    world.settle();
    assert_eq!(world.end_of(stop), Some(&End::Done));
    assert!(world.live.is_empty());
    assert_eq!(
        (world.life.wanted(), world.life.current()),
        (Wanted::Stopped, Some(1))
    );
}

#[test]
fn a_start_that_waits_for_a_stop_is_wanted_at_once_and_no_longer_when_it_is_cancelled() {
    let mut world = running();
    world.request(Kind::Stop);
    assert_eq!(world.life.wanted(), Wanted::Stopped);
    let deploy = world.request(Kind::Deploy { recreate: false });
    assert_eq!(world.life.wanted(), Wanted::Running);
    world.feed(Event::Cancel(deploy));
    assert_eq!(world.life.wanted(), Wanted::Stopped);
    world.request(Kind::Activate { release: 1 });
    world.feed(Event::Shutdown);
    assert_eq!(
        (world.life.wanted(), world.life.current()),
        (Wanted::Running, Some(1)),
        "the next daemon starts it"
    );
}

/// Begins a change of scale to these processes.
fn resize(world: &mut World, processes: &[&str]) -> OpId {
    let op = world.request(Kind::Configure);
    assert!(world.configuring.remove(&op));
    let processes = processes.iter().map(|p| (*p).to_owned()).collect();
    world.feed(Event::Resized { op, processes });
    op
}

fn ready(world: &mut World, batch: BatchId, id: &str) {
    world.feed(Event::Process {
        batch,
        id: id.into(),
        phase: Phase::Ready,
        exited: false,
    });
}

#[test]
fn a_change_of_scale_keeps_the_batch_and_ends_when_all_is_as_wanted() {
    let mut world = running();
    let batch = world.life.serving().expect("serves");
    let more = resize(&mut world, &["web.1", "web.2", "web.3"]);
    ready(&mut world, batch, "web.2");
    assert_eq!(world.end_of(more), None);
    ready(&mut world, batch, "web.3");
    assert_eq!(world.end_of(more), Some(&End::Done));
    let fewer = resize(&mut world, &["web.2"]);
    assert_eq!(world.leaving.len(), 2);
    world.leave();
    assert_eq!(world.end_of(fewer), None);
    world.leave();
    assert_eq!(world.end_of(fewer), Some(&End::Done));
    assert_eq!(world.life.serving(), Some(batch));
    assert!(world.stopping.is_empty() && world.draining.is_empty());
}

#[test]
fn a_process_that_is_added_and_ends_fails_the_change_and_all_is_as_before() {
    let mut world = running();
    let batch = world.life.serving().expect("serves");
    let op = resize(&mut world, &["web.1", "web.2"]);
    world.feed(Event::Process {
        batch,
        id: "web.1".into(),
        phase: Phase::Backoff,
        exited: true,
    });
    assert_eq!(
        world.end_of(op),
        None,
        "a crash of another is not its matter"
    );
    world.feed(Event::Process {
        batch,
        id: "web.2".into(),
        phase: Phase::Backoff,
        exited: true,
    });
    assert_eq!(world.end_of(op), None, "its name is not free yet");
    assert_eq!(world.leaving, [(batch, "web.2".to_owned())].into());
    world.leave();
    let failed = End::Failed(Cause::Exited("web.2".into()), Some(batch));
    assert_eq!(world.end_of(op), Some(&failed));
    assert_eq!(world.life.serving(), Some(batch));
    assert!(world.stopping.is_empty());
    assert!(world.live[&batch].contains("web.1") && !world.live[&batch].contains("web.2"));
}

#[test]
fn a_boot_timeout_counts_only_for_the_operation_that_armed_it() {
    let mut world = running();
    let batch = world.life.serving().expect("serves");
    let op = resize(&mut world, &["web.1", "web.2"]);
    world.feed(Event::BootTimeout(op - 1));
    assert_eq!(world.end_of(op), None);
    world.feed(Event::BootTimeout(op));
    world.leave();
    let late = End::Failed(Cause::NotReady(vec!["web.2".into()]), Some(batch));
    assert_eq!(world.end_of(op), Some(&late));
}

#[test]
fn what_is_too_much_leaves_only_when_what_was_added_is_ready() {
    let mut world = running();
    let batch = world.life.serving().expect("serves");
    let op = resize(&mut world, &["job.1"]);
    assert!(world.leaving.is_empty());
    ready(&mut world, batch, "job.1");
    assert!(world.leaving.contains(&(batch, "web.1".to_owned())));
    assert_eq!(world.end_of(op), None);
    while !world.leaving.is_empty() {
        world.leave();
    }
    assert_eq!(world.end_of(op), Some(&End::Done));
}

#[test]
fn a_change_that_needs_a_deploy_becomes_one() {
    let mut world = running();
    let op = world.request(Kind::Configure);
    assert!(world.configuring.remove(&op));
    world.feed(Event::Deploys {
        op,
        recreate: false,
    });
    assert_eq!(
        world.life.active(),
        Some((op, Kind::Deploy { recreate: false }))
    );
    world.settle();
    assert_eq!(world.end_of(op), Some(&End::Done));
    assert_eq!(world.life.current(), Some(2));
}

fn step() -> impl Strategy<Value = (u8, usize)> {
    (0u8..15, 0usize..6)
}

proptest! {
    #[test]
    fn every_operation_ends_once_and_nothing_outlives_a_stop(steps in proptest::collection::vec(step(), 0..60)) {
        let mut world = World::default();
        for (what, nth) in steps {
            match what {
                0 => { world.request(Kind::Deploy { recreate: false }); }
                1 => { world.request(Kind::Deploy { recreate: true }); }
                2 => { world.request(Kind::Stop); }
                3 => if let Some(release) = world.life.current() {
                    world.request(Kind::Activate { release });
                },
                4 => world.build(&["web.1", ["job.1", "clock.1"][nth % 2]], nth % 3 == 0),
                5 => world.fail_build(),
                6 => world.phase(nth, Phase::Ready, false),
                7 => world.phase(nth, Phase::Backoff, true),
                8 => { let op = world.requested.len().saturating_sub(nth) as OpId; world.feed(Event::Cancel(op)); }
                9 => { let op = world.requested.len().saturating_sub(nth) as OpId; world.feed(Event::BootTimeout(op)); }
                10 => { world.request(Kind::Configure); }
                11 => world.configure(nth),
                12 => clear(&mut world),
                13 => { world.request(Kind::Sleep); }
                _ => world.leave(),
            }
        }
        world.request(Kind::Stop);
        world.settle();
        prop_assert!(world.live.is_empty(), "{:?}", world.live);
        prop_assert!(world.builds.is_empty() && world.configuring.is_empty());
        let mut ended: Vec<_> = world.ends.iter().map(|(op, _)| *op).collect();
        ended.sort_unstable();
        prop_assert_eq!(ended, world.requested.clone());
    }
}
