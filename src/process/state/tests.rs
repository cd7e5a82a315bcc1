//! The life of a process, case by case and as properties.

use proptest::prelude::*;

use super::*;
use crate::exit_status::ExitStatus;

const NO_JITTER: f64 = 0.5;

fn crash() -> ExitRecord {
    ExitRecord {
        status: ExitStatus::Code(1),
        at: jiff::Timestamp::UNIX_EPOCH,
        oom: false,
        reason: None,
    }
}

struct Story {
    life: Life,
    now: Instant,
}

impl Story {
    fn new() -> Self {
        Self::of(Restart::Permanent)
    }

    fn of(restart: Restart) -> Self {
        Self {
            life: Life::new(restart),
            now: Instant::now(),
        }
    }

    fn tell(&mut self, event: LifeEvent) -> Vec<Command> {
        self.life.handle(event, self.now, NO_JITTER)
    }

    fn running() -> Self {
        Self::running_as(Restart::Permanent)
    }

    fn running_as(restart: Restart) -> Self {
        let mut story = Self::of(restart);
        assert_eq!(story.tell(LifeEvent::Begin), [Command::Spawn]);
        story.tell(LifeEvent::Running { pid: 7 });
        story
    }

    fn ready(&mut self) -> Vec<Command> {
        let attempt = self.life.attempt;
        let address = Some(std::net::SocketAddr::from(([127, 0, 0, 1], 80)).into());
        self.tell(LifeEvent::Ready { attempt, address })
    }

    fn crash(&mut self) -> Vec<Command> {
        self.tell(LifeEvent::Exited { record: crash() });
        self.tell(LifeEvent::Cleaned)
    }
}

const REPORT: Command = Command::Report { exited: None };

#[test]
fn a_first_crash_is_told_at_once_and_restarted_at_once_after_the_clean_up() {
    let mut story = Story::running();
    story.ready();
    assert_eq!(story.life.phase(), Phase::Ready);
    assert_eq!(
        story.tell(LifeEvent::Exited { record: crash() }),
        [
            Command::Report {
                exited: Some(crash())
            },
            Command::Clean
        ]
    );
    assert_eq!(
        (story.life.phase(), story.life.pid(), story.life.address()),
        (Phase::Backoff, None, None)
    );
    assert_eq!(story.tell(LifeEvent::Cleaned), [Command::Spawn]);
    story.tell(LifeEvent::Running { pid: 8 });
    assert_eq!((story.life.restarts(), story.life.pid()), (1, Some(8)));
}

#[test]
fn what_is_not_to_be_restarted_rests_until_it_is_stopped() {
    let done = ExitRecord {
        status: ExitStatus::Code(0),
        ..crash()
    };
    for (restart, record, rests) in [
        (Restart::Permanent, done.clone(), false),
        (Restart::Transient, crash(), false),
        (Restart::Transient, done.clone(), true),
        (Restart::Temporary, crash(), true),
    ] {
        let mut story = Story::running_as(restart);
        story.ready();
        story.tell(LifeEvent::Exited {
            record: record.clone(),
        });
        let after = story.tell(LifeEvent::Cleaned);
        assert_eq!(after.is_empty(), rests, "{restart:?} {record:?}");
        assert_eq!(story.life.phase() == Phase::Finished, rests);
        assert_eq!(story.life.last_exit(), Some(&record));
        if rests {
            let end = Command::Finish { exited: None };
            assert_eq!(story.tell(LifeEvent::Stop), [end]);
        }
    }
    let mut story = Story::of(Restart::Temporary);
    assert_eq!(story.tell(LifeEvent::Finished { record: done }), [REPORT]);
    assert_eq!(story.life.phase(), Phase::Finished);
}

#[test]
fn the_second_crash_waits_and_sixty_ready_seconds_forgive_all() {
    let mut story = Story::running();
    story.crash();
    story.tell(LifeEvent::Running { pid: 8 });
    let after = Duration::from_secs(1);
    assert_eq!(story.crash(), [Command::ArmRestart { attempt: 2, after }]);
    assert_eq!(story.tell(LifeEvent::Due { attempt: 1 }), []);
    assert_eq!(story.tell(LifeEvent::Due { attempt: 2 }), [Command::Spawn]);
    story.tell(LifeEvent::Running { pid: 9 });
    story.ready();
    story.tell(LifeEvent::Proved { attempt: 3 });
    assert_eq!(story.crash(), [Command::Spawn]);
}

#[test]
fn a_spawn_error_waits_five_seconds_however_often_and_is_no_crash() {
    let mut story = Story::new();
    story.tell(LifeEvent::Begin);
    for attempt in 1..20 {
        let reason = "no memory".to_owned();
        let after = Duration::from_secs(5);
        assert_eq!(
            story.tell(LifeEvent::SpawnFailed { reason }),
            [REPORT, Command::ArmRestart { attempt, after }]
        );
        assert_eq!(story.life.spawn_error(), Some("no memory"));
        assert_eq!(story.tell(LifeEvent::Due { attempt }), [Command::Spawn]);
    }
    assert!(!story.life.is_crashlooping());
    story.tell(LifeEvent::Running { pid: 7 });
    assert_eq!((story.life.spawn_error(), story.life.restarts()), (None, 0));
}

#[test]
fn a_stop_while_it_waits_ends_it_without_another_spawn() {
    let mut story = Story::running();
    story.crash();
    story.tell(LifeEvent::Running { pid: 8 });
    story.crash();
    assert_eq!(
        story.tell(LifeEvent::Stop),
        [Command::Finish { exited: None }]
    );
    assert_eq!(story.tell(LifeEvent::Due { attempt: 2 }), []);
    assert_eq!(story.life.phase(), Phase::Stopped);
}

#[test]
fn a_stop_during_a_spawn_stops_what_was_spawned() {
    let mut story = Story::new();
    story.tell(LifeEvent::Begin);
    assert_eq!(story.tell(LifeEvent::Stop), [REPORT]);
    assert_eq!(
        story.tell(LifeEvent::Running { pid: 7 }),
        [REPORT, Command::Stop]
    );
    let exited = Some(crash());
    assert_eq!(
        story.tell(LifeEvent::Stopped { record: crash() }),
        [Command::Finish { exited }]
    );
}

#[test]
fn an_exit_that_is_noticed_during_a_stop_is_told_once() {
    let mut story = Story::running();
    story.tell(LifeEvent::Stop);
    assert_eq!(story.tell(LifeEvent::Exited { record: crash() }), []);
    assert_eq!(story.tell(LifeEvent::Stopped { record: crash() }).len(), 1);
}

#[test]
fn an_adopted_process_that_has_ended_is_a_crash() {
    let mut story = Story::new();
    story.tell(LifeEvent::Adopting);
    let commands = story.tell(LifeEvent::Exited { record: crash() });
    assert_eq!(commands.last(), Some(&Command::Clean));
    assert_eq!(story.tell(LifeEvent::Cleaned), [Command::Spawn]);
}

#[test]
fn a_stop_while_a_process_is_adopted_stops_it() {
    let mut story = Story::new();
    story.tell(LifeEvent::Adopting);
    assert_eq!(story.tell(LifeEvent::Stop), [REPORT]);
    assert_eq!(
        story.tell(LifeEvent::Running { pid: 7 }),
        [REPORT, Command::Stop]
    );
}

fn events() -> impl Strategy<Value = Vec<LifeEvent>> {
    let attempt = 0..6_u64;
    let event = prop_oneof![
        Just(LifeEvent::Begin),
        Just(LifeEvent::Running { pid: 7 }),
        Just(LifeEvent::SpawnFailed { reason: "r".into() }),
        attempt.clone().prop_map(|attempt| LifeEvent::Ready {
            attempt,
            address: None
        }),
        Just(LifeEvent::Exited { record: crash() }),
        Just(LifeEvent::Cleaned),
        attempt
            .clone()
            .prop_map(|attempt| LifeEvent::Due { attempt }),
        attempt.prop_map(|attempt| LifeEvent::Proved { attempt }),
        Just(LifeEvent::Stop),
        Just(LifeEvent::Stopped { record: crash() }),
    ];
    proptest::collection::vec(event, 0..60)
}

fn restart() -> impl Strategy<Value = Restart> {
    let all = [Restart::Permanent, Restart::Transient, Restart::Temporary];
    proptest::sample::select(all.to_vec())
}

proptest! {
    #[test]
    fn no_order_of_events_spawns_twice_or_after_the_end(events in events(), restart in restart()) {
        let mut story = Story::of(restart);
        let (mut spawning, mut alive, mut finished) = (false, false, false);
        for event in events {
            // Only what was asked for can have succeeded; anything else may come at any time.
            match &event {
                LifeEvent::Running { .. } if !spawning => continue,
                LifeEvent::Running { .. } => (spawning, alive) = (false, true),
                LifeEvent::SpawnFailed { .. } if !spawning => continue,
                LifeEvent::SpawnFailed { .. } => spawning = false,
                LifeEvent::Exited { .. } | LifeEvent::Stopped { .. } if !alive => continue,
                _ => {}
            }
            for command in story.tell(event) {
                prop_assert!(!finished, "{command:?} after the end");
                match command {
                    Command::Spawn => {
                        prop_assert!(!spawning && !alive);
                        spawning = true;
                    }
                    Command::Report { exited: Some(_) } => {
                        prop_assert!(alive, "one end per process");
                        alive = false;
                    }
                    Command::Finish { exited } => {
                        prop_assert!(!spawning && alive == exited.is_some(), "it leaves nothing behind");
                        (alive, finished) = (false, true);
                    }
                    _ => {}
                }
            }
            prop_assert_eq!(story.life.pid().is_some(), alive);
        }
    }
}
