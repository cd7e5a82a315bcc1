//! The rules case by case, then as properties of random lives.

use proptest::prelude::{Just, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::strategy::Strategy as Generator;

use std::time::Duration;

use super::*;

type Id = u8;

const PATIENCE: Duration = Duration::from_secs(10);

fn spec(id: Id, restart: Restart) -> ChildSpec<Id> {
    ChildSpec {
        id,
        restart,
        shutdown: Timeout::After(PATIENCE),
    }
}

fn started(strategy: Strategy, children: Id) -> (Supervisor<Id>, Instant) {
    let intensity = Intensity {
        restarts: 3,
        period: Duration::from_secs(60),
    };
    let specs = (0..children).map(|id| spec(id, Restart::Permanent));
    let (mut supervisor, now) = (Supervisor::new(strategy, intensity, specs), Instant::now());
    let commands = supervisor.handle(SupervisorEvent::Start, now);
    let order: Vec<_> = (0..children)
        .map(|id| start(id, u64::from(id) + 1))
        .collect();
    assert_eq!(commands, order);
    (supervisor, now)
}

fn start(id: Id, generation: Generation) -> Command<Id> {
    Command::Start { id, generation }
}

fn stop(id: Id, generation: Generation) -> [Command<Id>; 2] {
    let after = PATIENCE;
    [
        Command::Stop { id, generation },
        Command::ArmTimer {
            id,
            generation,
            after,
        },
    ]
}

fn kill(id: Id, generation: Generation) -> Command<Id> {
    Command::Kill { id, generation }
}

fn report(id: Id, generation: Generation) -> Command<Id> {
    let exit = Exit::Panic("p".into());
    Command::Report {
        id,
        generation,
        exit,
    }
}

fn ended(id: Id, generation: Generation, exit: Exit) -> SupervisorEvent<Id> {
    SupervisorEvent::Ended {
        id,
        generation,
        exit,
    }
}

fn crash(id: Id, generation: Generation) -> SupervisorEvent<Id> {
    ended(id, generation, Exit::Panic("p".into()))
}

fn obeyed(id: Id, generation: Generation) -> SupervisorEvent<Id> {
    ended(id, generation, Exit::Shutdown)
}

#[test]
fn one_for_one_restarts_only_what_ended() {
    let (mut supervisor, now) = started(Strategy::OneForOne, 3);
    assert_eq!(
        supervisor.handle(crash(1, 2), now),
        [report(1, 2), start(1, 4)]
    );
    assert_eq!(
        supervisor.handle(ended(1, 4, Exit::Normal), now),
        [start(1, 5)]
    );
}

#[test]
fn an_event_of_an_old_generation_is_dropped() {
    let (mut supervisor, now) = started(Strategy::OneForOne, 2);
    supervisor.handle(crash(0, 1), now);
    assert_eq!(supervisor.handle(crash(0, 1), now), []);
    assert_eq!(supervisor.generation(&0), Some(3));
}

#[test]
fn rest_for_one_stops_the_younger_in_reverse_and_starts_them_in_order() {
    let (mut supervisor, now) = started(Strategy::RestForOne, 4);
    let mut expected = vec![report(1, 2)];
    expected.extend(stop(3, 4));
    assert_eq!(supervisor.handle(crash(1, 2), now), expected);
    assert_eq!(supervisor.handle(obeyed(3, 4), now), stop(2, 3));
    assert_eq!(
        supervisor.handle(obeyed(2, 3), now),
        [start(1, 5), start(2, 6), start(3, 7)]
    );
}

#[test]
fn one_for_all_restarts_all() {
    let (mut supervisor, now) = started(Strategy::OneForAll, 2);
    let mut expected = vec![report(1, 2)];
    expected.extend(stop(0, 1));
    assert_eq!(supervisor.handle(crash(1, 2), now), expected);
    assert_eq!(
        supervisor.handle(obeyed(0, 1), now),
        [start(0, 3), start(1, 4)]
    );
}

#[test]
fn an_older_child_that_crashes_during_a_group_stop_joins_the_group() {
    let (mut supervisor, now) = started(Strategy::RestForOne, 3);
    supervisor.handle(crash(1, 2), now);
    assert_eq!(supervisor.handle(crash(0, 1), now), [report(0, 1)]);
    assert_eq!(
        supervisor.handle(obeyed(2, 3), now),
        [start(0, 4), start(1, 5), start(2, 6)]
    );
}

#[test]
fn more_restarts_than_the_intensity_end_all_children_and_then_the_supervisor() {
    let (mut supervisor, now) = started(Strategy::OneForOne, 2);
    let mut generation = 1;
    for next in 3..6 {
        assert_eq!(
            supervisor.handle(crash(0, generation), now),
            [report(0, generation), start(0, next)]
        );
        generation = next;
    }
    let mut expected = vec![report(0, 5)];
    expected.extend(stop(1, 2));
    assert_eq!(supervisor.handle(crash(0, 5), now), expected);
    let last = supervisor.handle(obeyed(1, 2), now);
    assert!(
        matches!(&last[..], [Command::Exit(Exit::Error(reason))] if reason.contains("more than 3 restarts")),
        "{last:?}"
    );
}

#[test]
fn restarts_outside_the_period_are_forgotten() {
    let (mut supervisor, now) = started(Strategy::OneForOne, 1);
    for crashes in 1..50 {
        let now = now + Duration::from_secs(21) * crashes;
        supervisor.handle(crash(0, u64::from(crashes)), now);
        assert!(!supervisor.is_ending());
    }
}

#[test]
fn a_child_that_does_not_obey_is_killed_after_its_timeout() {
    let (mut supervisor, now) = started(Strategy::OneForOne, 2);
    let timeout = |id, generation| SupervisorEvent::TimedOut { id, generation };
    assert_eq!(supervisor.handle(timeout(1, 2), now), []);
    assert_eq!(
        supervisor.handle(SupervisorEvent::Shutdown, now),
        stop(1, 2)
    );
    assert_eq!(supervisor.handle(timeout(1, 2), now), [kill(1, 2)]);
    assert_eq!(
        supervisor.handle(ended(1, 2, Exit::Killed), now),
        stop(0, 1)
    );
    assert_eq!(
        supervisor.handle(obeyed(0, 1), now),
        [Command::Exit(Exit::Shutdown)]
    );
}

#[test]
fn transient_children_rest_after_a_normal_end_and_temporary_ones_are_forgotten() {
    let (mut supervisor, now) = started(Strategy::OneForOne, 0);
    supervisor.handle(SupervisorEvent::Add(spec(1, Restart::Transient)), now);
    supervisor.handle(SupervisorEvent::Add(spec(2, Restart::Temporary)), now);
    assert_eq!(supervisor.handle(ended(1, 1, Exit::Normal), now), []);
    assert_eq!(supervisor.state(&1), Some(ChildState::Idle));
    assert_eq!(
        supervisor.handle(SupervisorEvent::Resume(1), now),
        [start(1, 3)]
    );
    assert_eq!(
        supervisor.handle(crash(2, 2), now),
        [report(2, 2), Command::Removed { id: 2 }]
    );
    assert_eq!(
        supervisor.handle(crash(1, 3), now),
        [report(1, 3), start(1, 4)]
    );
}

#[test]
fn dynamic_children_stop_together_and_before_static_ones() {
    let (mut supervisor, now) = started(Strategy::OneForOne, 1);
    supervisor.handle(SupervisorEvent::Add(spec(7, Restart::Permanent)), now);
    supervisor.handle(SupervisorEvent::Add(spec(8, Restart::Permanent)), now);
    let mut expected = stop(8, 3).to_vec();
    expected.extend(stop(7, 2));
    assert_eq!(supervisor.handle(SupervisorEvent::Shutdown, now), expected);
    assert_eq!(supervisor.handle(obeyed(7, 2), now), []);
    assert_eq!(supervisor.handle(obeyed(8, 3), now), stop(0, 1));
}

#[test]
fn a_terminated_child_stays_down_until_resumed_even_when_resumed_while_it_stops() {
    let (mut supervisor, now) = started(Strategy::OneForOne, 1);
    assert_eq!(
        supervisor.handle(SupervisorEvent::Terminate(0), now),
        stop(0, 1)
    );
    assert_eq!(supervisor.handle(SupervisorEvent::Resume(0), now), []);
    assert_eq!(supervisor.handle(obeyed(0, 1), now), [start(0, 2)]);
    assert_eq!(
        supervisor.handle(SupervisorEvent::Terminate(0), now),
        stop(0, 2)
    );
    assert_eq!(supervisor.handle(crash(0, 2), now), []);
    assert_eq!(supervisor.state(&0), Some(ChildState::Idle));
}

#[test]
fn a_removed_child_is_forgotten_once_it_has_ended() {
    let (mut supervisor, now) = started(Strategy::OneForOne, 1);
    assert_eq!(
        supervisor.handle(SupervisorEvent::Remove(0), now),
        stop(0, 1)
    );
    // Still there: it cannot be added yet, nor called back.
    let again = SupervisorEvent::Add(spec(0, Restart::Permanent));
    assert_eq!(supervisor.handle(again.clone(), now), []);
    assert_eq!(supervisor.handle(SupervisorEvent::Resume(0), now), []);
    assert_eq!(
        supervisor.handle(obeyed(0, 1), now),
        [Command::Removed { id: 0 }]
    );
    assert_eq!(supervisor.handle(again, now), [start(0, 2)]);
}

/// One step of a random life.
#[derive(Clone, Debug)]
enum Step {
    Crash(Id),
    FinishNormally(Id),
    TimeOut(Id),
    Add(Id, Restart),
    Terminate(Id),
    Resume(Id),
    Remove(Id),
    Wait(u64),
    Shutdown,
}

fn steps() -> impl Generator<Value = Vec<Step>> {
    let id = 0..8_u8;
    let restart = prop_oneof![
        Just(Restart::Permanent),
        Just(Restart::Transient),
        Just(Restart::Temporary)
    ];
    let step = prop_oneof![
        6 => id.clone().prop_map(Step::Crash),
        6 => id.clone().prop_map(Step::FinishNormally),
        2 => id.clone().prop_map(Step::TimeOut),
        3 => (4..8_u8, restart).prop_map(|(id, restart)| Step::Add(id, restart)),
        1 => id.clone().prop_map(Step::Terminate),
        1 => id.clone().prop_map(Step::Resume),
        1 => id.prop_map(Step::Remove),
        4 => (0..40_u64).prop_map(Step::Wait),
        1 => Just(Step::Shutdown),
    ];
    proptest::collection::vec(step, 0..200)
}

/// Plays the children's part, and holds the supervisor to its promises.
struct World {
    supervisor: Supervisor<Id>,
    now: Instant,
    /// Live children in order of their start, with what they were told.
    live: Vec<(Id, Generation, bool)>,
    newest: Generation,
    exit: Option<Exit>,
}

impl World {
    fn tell(&mut self, event: SupervisorEvent<Id>) {
        for command in self.supervisor.handle(event, self.now) {
            assert_eq!(self.exit, None, "nothing comes after the exit: {command:?}");
            match command {
                Command::Start { id, generation } => {
                    assert!(
                        self.live.iter().all(|child| child.0 != id),
                        "two live generations of {id}"
                    );
                    assert!(generation > self.newest);
                    assert!(!self.supervisor.is_ending());
                    self.newest = generation;
                    self.live.push((id, generation, false));
                }
                Command::Stop { id, generation } => self.asked(id, generation),
                Command::Kill { id, generation } | Command::ArmTimer { id, generation, .. } => {
                    assert!(self.live.contains(&(id, generation, true)));
                }
                Command::Report { .. } => {}
                Command::Removed { id } => assert!(self.live.iter().all(|child| child.0 != id)),
                Command::Exit(exit) => {
                    assert_eq!(self.live, []);
                    self.exit = Some(exit);
                }
            }
        }
    }

    /// While all is being stopped, a static child is asked only when every one to its right has ended.
    fn asked(&mut self, id: Id, generation: Generation) {
        if self.supervisor.is_ending() && id < 4 {
            assert!(
                self.live.iter().all(|child| child.0 <= id),
                "{id} before one to its right: {:?}",
                self.live
            );
        }
        let child = self
            .live
            .iter_mut()
            .find(|child| (child.0, child.1) == (id, generation));
        let child = child.expect("only a live child is asked to stop");
        assert!(!child.2, "asked twice");
        child.2 = true;
    }

    fn finish(&mut self, id: Id, exit: Exit) {
        let Some(position) = self.live.iter().position(|child| child.0 == id) else {
            return;
        };
        let (id, generation, _) = self.live.remove(position);
        self.tell(SupervisorEvent::Ended {
            id,
            generation,
            exit,
        });
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Crash(id) => self.finish(id, Exit::Panic("p".into())),
            Step::FinishNormally(id) => self.finish(id, Exit::Normal),
            Step::TimeOut(id) => {
                if let Some((id, generation, _)) =
                    self.live.iter().find(|child| child.0 == id).copied()
                {
                    self.tell(SupervisorEvent::TimedOut { id, generation });
                }
            }
            Step::Add(id, restart) => self.tell(SupervisorEvent::Add(spec(id, restart))),
            Step::Terminate(id) => self.tell(SupervisorEvent::Terminate(id)),
            Step::Resume(id) => self.tell(SupervisorEvent::Resume(id)),
            Step::Remove(id) => self.tell(SupervisorEvent::Remove(id)),
            Step::Wait(seconds) => self.now += Duration::from_secs(seconds),
            Step::Shutdown => self.tell(SupervisorEvent::Shutdown),
        }
    }
}

proptest! {
    #[test]
    fn no_life_breaks_the_rules(
        strategy in prop_oneof![Just(Strategy::OneForOne), Just(Strategy::RestForOne), Just(Strategy::OneForAll)],
        steps in steps(),
    ) {
        let (supervisor, now) = started(strategy, 4);
        let live = (0..4).map(|id| (id, u64::from(id) + 1, false)).collect();
        let mut world = World { supervisor, now, live, newest: 4, exit: None };
        for step in steps {
            world.take(step);
        }
        // Whatever happened, it can be shut down, and then everything has ended.
        world.tell(SupervisorEvent::Shutdown);
        while let Some((id, ..)) = world.live.iter().find(|child| child.2).copied() {
            world.finish(id, Exit::Shutdown);
        }
        prop_assert!(world.exit.is_some(), "still alive: {:?}", world.live);
    }

    #[test]
    fn it_gives_up_exactly_when_restarts_exceed_the_intensity(gaps in proptest::collection::vec(0..50_u64, 1..40)) {
        let (mut supervisor, mut now) = started(Strategy::OneForOne, 1);
        let mut crashes = Vec::new();
        for (generation, gap) in (1..).zip(gaps) {
            now += Duration::from_secs(gap);
            crashes.push(now);
            supervisor.handle(crash(0, generation), now);
            let recent = crashes.iter().filter(|at| now.duration_since(**at) <= Duration::from_secs(60)).count();
            prop_assert_eq!(supervisor.is_ending(), recent > 3);
            if supervisor.is_ending() {
                break;
            }
        }
    }
}
