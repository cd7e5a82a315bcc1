use proptest::prelude::*;

use super::*;

fn task(state: TaskState) -> SeenTask {
    SeenTask {
        id: "t".to_owned(),
        slot: 0,
        created: jiff::Timestamp::UNIX_EPOCH,
        state,
        is_wanted: !state.is_over(),
        message: None,
        at: jiff::Timestamp::UNIX_EPOCH,
        address: None,
        node: Some("node1".to_owned()),
        is_out_of_reach: false,
        is_dismissed: false,
        is_fetching: false,
    }
}

fn seen(tasks: &[SeenTask]) -> Event {
    Event::Seen {
        is_there: true,
        tasks: tasks.to_vec(),
    }
}

fn gone() -> Event {
    Event::Seen {
        is_there: false,
        tasks: vec![],
    }
}

/// A life, and the time that its events come at.
struct Told {
    life: Life,
    now: Instant,
}

impl Told {
    fn new(is_new: bool, time: Option<Duration>, is_awaited: bool) -> Self {
        let now = Instant::now();
        let limits = Limits { time, is_awaited };
        let life = Life::new(is_new, limits, now).0;
        Self { life, now }
    }

    /// One that runs.
    fn running(time: Option<Duration>, is_awaited: bool) -> Self {
        let mut told = Self::new(true, time, is_awaited);
        told.hear(Event::Created);
        let commands = told.hear(seen(&[task(TaskState::Running)]));
        assert!(
            commands.contains(&Command::Read("t".to_owned())),
            "{commands:?}"
        );
        told
    }

    fn hear(&mut self, event: Event) -> Vec<Command> {
        self.life.handle(event, self.now)
    }

    /// The next time that it wakes, and what it does then.
    fn wake(&mut self) -> (Duration, Vec<Command>) {
        let at = self.life.wakes().expect("it waits for a time");
        let after = at.saturating_duration_since(self.now);
        self.now = self.now.max(at);
        (after, self.hear(Event::Due))
    }

    /// Its end, once its output was read.
    fn end(&mut self, event: Event) -> Outcome {
        let mut commands = self.hear(event);
        if commands.contains(&Command::EndReading) {
            commands = self.hear(Event::Printed);
        }
        match commands.pop() {
            Some(Command::Finish(outcome)) => outcome,
            other => panic!("{other:?}"),
        }
    }
}

fn not_started(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::NotStarted(why) => why,
        Outcome::Ended { .. } => panic!("{outcome:?}"),
    }
}

fn ended(outcome: &Outcome) -> (ExitStatus, Option<&str>) {
    match outcome {
        Outcome::Ended { status, reason, .. } => (*status, reason.as_deref()),
        Outcome::NotStarted(why) => panic!("{why}"),
    }
}

#[test]
fn its_code_is_told_once_its_last_output_was_read() {
    let mut told = Told::running(None, true);
    let end = seen(&[task(TaskState::Ended(ExitStatus::Code(3)))]);
    let commands = told.hear(end.clone());
    assert_eq!(commands, [Command::Report, Command::EndReading]);
    assert_eq!(told.hear(end), []);
    let commands = told.hear(Event::Printed);
    assert!(matches!(&commands[..], [Command::Finish(o)] if ended(o).0 == ExitStatus::Code(3)));
    // One that was quick is never seen to run.
    let mut told = Told::new(true, None, true);
    told.hear(Event::Created);
    let commands = told.hear(seen(&[task(TaskState::Ended(ExitStatus::Code(0)))]));
    assert!(
        commands.contains(&Command::Read("t".to_owned())),
        "{commands:?}"
    );
    assert!(told.life.has_run());
}

#[test]
fn a_second_task_is_not_looked_at() {
    let mut told = Told::running(None, true);
    let first = task(TaskState::Ended(ExitStatus::Code(3)));
    let second = SeenTask {
        id: "u".to_owned(),
        created: jiff::Timestamp::MAX,
        ..task(TaskState::Running)
    };
    let outcome = told.end(seen(&[second, first]));
    assert_eq!(ended(&outcome).0, ExitStatus::Code(3));
}

#[test]
fn what_cannot_begin_is_told_with_the_reason() {
    let rejected = SeenTask {
        message: Some("No such image: shop".to_owned()),
        ..task(TaskState::Rejected)
    };
    let mut told = Told::new(true, None, true);
    told.hear(Event::Created);
    assert!(not_started(&told.end(seen(&[rejected]))).contains("No such image"));

    let placeless = SeenTask {
        node: None,
        message: Some("no suitable node (2 nodes are not available)".to_owned()),
        ..task(TaskState::Waiting)
    };
    let mut told = Told::new(true, None, false);
    told.hear(Event::Created);
    told.hear(seen(&[placeless]));
    assert!(told.life.warning().unwrap().contains("no suitable node"));
    let (after, commands) = told.wake();
    assert_eq!(after, NO_PLACE);
    assert!(
        matches!(&commands[..], [Command::Finish(o)] if not_started(o).contains("no suitable node"))
    );

    let mut told = Told::new(true, None, false);
    told.hear(Event::Created);
    told.hear(seen(&[task(TaskState::Waiting)]));
    assert_eq!(told.wake().0, START);
}

#[test]
fn a_manager_that_is_away_is_waited_for_and_then_told_of() {
    let away = || Event::Unseen("it cannot be reached".to_owned());
    // It is not made yet: this is tried again, for a while.
    let mut told = Told::new(true, None, false);
    told.hear(Event::NotCreated {
        why: "it cannot be reached".to_owned(),
        is_final: false,
    });
    let (after, commands) = told.wake();
    assert_eq!((after, commands), (RETRY, vec![Command::Create]));
    let (after, commands) = told.wake();
    assert_eq!(after, UNHEARD - RETRY);
    assert!(
        matches!(&commands[..], [Command::RemoveLate, Command::Finish(o)] if not_started(o).contains("it cannot be reached"))
    );
    // It runs, and somebody waits for its end.
    let mut told = Told::running(None, true);
    told.hear(away());
    let (after, commands) = told.wake();
    assert_eq!(after, UNHEARD_RUNNING);
    let Some(Command::Finish(outcome)) = commands.last() else {
        panic!("{commands:?}");
    };
    assert_eq!(ended(outcome).0, ExitStatus::Unknown);
    // One that is detached is waited for as long as it takes, also by the next server.
    for mut told in [Told::running(None, false), Told::new(false, None, false)] {
        told.hear(away());
        let after = told.life.wakes().map(|at| at - told.now);
        assert!(after.is_none_or(|after| after >= START), "{after:?}");
        assert!(told.life.warning().is_some());
        told.hear(seen(&[task(TaskState::Running)]));
        assert!(told.life.warning().is_none());
    }
}

#[test]
fn a_machine_that_dies_takes_it_along_and_nobody_knows_its_code() {
    let lost = |state| SeenTask {
        is_out_of_reach: true,
        ..task(state)
    };
    let mut told = Told::running(None, false);
    let outcome = told.end(seen(&[lost(TaskState::Running)]));
    let (status, why) = ended(&outcome);
    assert_eq!(status, ExitStatus::Unknown);
    assert!(why.unwrap().contains("its machine node1 is gone"));
    let mut told = Told::new(true, None, false);
    told.hear(Event::Created);
    let outcome = told.end(seen(&[lost(TaskState::Waiting)]));
    assert!(not_started(&outcome).contains("node1 is gone"));
    // One that had ended before has its code.
    let mut told = Told::running(None, false);
    let outcome = told.end(seen(&[lost(TaskState::Ended(ExitStatus::Code(0)))]));
    assert_eq!(ended(&outcome).0, ExitStatus::Code(0));
}

#[test]
fn one_that_is_ended_is_removed_and_waited_for_with_its_reason() {
    let mut told = Told::running(Some(Duration::from_secs(5)), true);
    let (after, commands) = told.wake();
    assert_eq!(after, Duration::from_secs(5));
    assert_eq!(commands, [Command::Remove, Command::Report]);
    told.hear(Event::NotRemoved);
    assert_eq!(told.wake(), (RETRY, vec![Command::Remove, Command::Report]));
    assert_eq!(told.hear(Event::Removed), [Command::Look]);
    let is_ending = |tasks: &[SeenTask]| Event::Seen {
        is_there: false,
        tasks: tasks.to_vec(),
    };
    assert_eq!(told.hear(is_ending(&[task(TaskState::Running)])), []);
    let outcome = told.end(is_ending(&[task(TaskState::Ended(ExitStatus::Signal(15)))]));
    let told = (ExitStatus::Signal(15), Some("its timeout was over"));
    assert_eq!(ended(&outcome), told);
}

#[test]
fn one_that_is_ended_before_it_is_made_is_removed_all_the_same() {
    let mut told = Told::new(true, None, false);
    assert_eq!(told.hear(Event::Stop(None)), []);
    let commands = told.hear(Event::Created);
    assert!(commands.contains(&Command::Remove), "{commands:?}");
    told.hear(Event::Removed);
    assert!(not_started(&told.end(gone())).contains("before it ran"));
}

#[test]
fn what_a_call_without_an_answer_still_makes_is_removed() {
    let unanswered = || Event::NotCreated {
        why: "no answer within 10 s".to_owned(),
        is_final: false,
    };
    let removes_late = |commands: &[Command]| commands.contains(&Command::RemoveLate);
    let finishes = |commands: &[Command]| matches!(commands.last(), Some(Command::Finish(_)));
    // Ended while it is tried again, and before it is answered.
    let mut told = Told::new(true, None, false);
    told.hear(unanswered());
    let commands = told.hear(Event::Stop(None));
    assert!(
        finishes(&commands) && removes_late(&commands),
        "{commands:?}"
    );
    let mut told = Told::new(true, None, false);
    told.hear(Event::Stop(None));
    let commands = told.hear(unanswered());
    assert!(
        finishes(&commands) && removes_late(&commands),
        "{commands:?}"
    );
    // Given up, also while a call is under way.
    let mut told = Told::new(true, None, false);
    let (_, commands) = told.wake();
    assert!(
        finishes(&commands) && removes_late(&commands),
        "{commands:?}"
    );
    // One that was refused is not made, and one that was seen is not made again.
    let mut told = Told::new(true, None, false);
    let commands = told.hear(Event::NotCreated {
        why: "it is refused".to_owned(),
        is_final: true,
    });
    assert!(
        finishes(&commands) && !removes_late(&commands),
        "{commands:?}"
    );
    let mut told = Told::new(true, None, false);
    told.hear(unanswered());
    told.hear(seen(&[task(TaskState::Waiting)]));
    let commands = told.hear(Event::Stop(None));
    assert!(
        finishes(&commands) && !removes_late(&commands),
        "{commands:?}"
    );
}

#[test]
fn what_others_remove_or_nobody_finds_any_more_is_over() {
    let mut told = Told::running(None, false);
    let outcome = told.end(gone());
    assert!(ended(&outcome).1.unwrap().contains("somebody removed"));
    let mut told = Told::new(false, None, false);
    let outcome = told.end(gone());
    assert_eq!(ended(&outcome).0, ExitStatus::Unknown);
    // One whose code is lost may have run while the server before looked.
    let lost = || seen(&[task(TaskState::Ended(ExitStatus::Unknown))]);
    let mut told = Told::new(false, None, false);
    assert_eq!(ended(&told.end(lost())).0, ExitStatus::Unknown);
    let mut told = Told::new(true, None, false);
    told.hear(Event::Created);
    assert!(not_started(&told.end(lost())).contains("did not start"));
}

fn any_event() -> impl Strategy<Value = Event> {
    let state = prop_oneof![
        Just(TaskState::Waiting),
        Just(TaskState::Running),
        Just(TaskState::Rejected),
        Just(TaskState::Ended(ExitStatus::Code(1))),
        Just(TaskState::Ended(ExitStatus::Unknown)),
    ];
    let one = (state, any::<bool>()).prop_map(|(state, is_out_of_reach)| SeenTask {
        is_out_of_reach,
        ..task(state)
    });
    let tasks = proptest::collection::vec(one, 0..2);
    let listing =
        (any::<bool>(), tasks).prop_map(|(is_there, tasks)| Event::Seen { is_there, tasks });
    prop_oneof![
        4 => listing,
        1 => Just(Event::Created),
        1 => Just(Event::NotCreated { why: "w".to_owned(), is_final: false }),
        1 => Just(Event::Removed),
        1 => Just(Event::NotRemoved),
        1 => Just(Event::Unseen("u".to_owned())),
        1 => Just(Event::Printed),
        1 => Just(Event::Stop(None)),
        1 => Just(Event::Due),
    ]
}

proptest! {
    #[test]
    fn it_is_made_once_at_a_time_read_once_and_finished_once(
        events in proptest::collection::vec(any_event(), 1..60)
    ) {
        let mut told = Told::new(true, Some(Duration::from_secs(60)), true);
        let (mut reads, mut ends) = (0, 0);
        for event in events {
            // A call is answered once.
            let is_called = matches!(told.life.stage, Stage::Creating);
            let is_removed = matches!(told.life.stage, Stage::Removing);
            let is_answer = match event {
                Event::Created | Event::NotCreated { .. } => is_called,
                Event::Removed | Event::NotRemoved => is_removed,
                _ => true,
            };
            if !is_answer {
                continue;
            }
            told.now += Duration::from_secs(1);
            for command in told.hear(event) {
                reads += u32::from(matches!(command, Command::Read(_)));
                ends += u32::from(matches!(command, Command::Finish(_)));
            }
            prop_assert!(reads <= 1 && ends <= 1);
        }
        // It comes to an end when it is asked to, and its service is gone.
        for event in [Event::Stop(None), Event::Created, Event::Removed, gone(), Event::Printed] {
            let commands = told.hear(event);
            ends += u32::try_from(commands.iter().filter(|c| matches!(c, Command::Finish(_))).count()).unwrap();
        }
        prop_assert_eq!(ends, 1);
    }
}
