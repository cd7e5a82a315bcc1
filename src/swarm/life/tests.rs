mod calls;
mod ends;

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::member::ALIVE;
use super::*;
use crate::exit_status::ExitStatus;
use crate::swarm::seen::{Head, TaskState};

fn task(id: &str, slot: u64, state: TaskState) -> SeenTask {
    SeenTask {
        id: id.to_owned(),
        slot,
        created: jiff::Timestamp::UNIX_EPOCH,
        state,
        is_wanted: !state.is_over(),
        message: None,
        at: jiff::Timestamp::UNIX_EPOCH,
        address: (state == TaskState::Running).then(|| ([10, 0, 0, 2], 32_768).into()),
        node: Some("node1".to_owned()),
        is_out_of_reach: false,
        is_dismissed: false,
        is_fetching: false,
    }
}

/// Made later than any [`task`].
fn later(id: &str, slot: u64, state: TaskState) -> SeenTask {
    SeenTask {
        created: jiff::Timestamp::MAX,
        ..task(id, slot, state)
    }
}

fn seen(replicas: u64, tasks: &[SeenTask]) -> Event {
    Event::Seen(Seen {
        service: Some(Head {
            id: "s".to_owned(),
            version: 1,
            replicas,
            template: Some([0; 32]),
        }),
        tasks: tasks.to_vec(),
    })
}

/// A life with the time that it is told.
struct Tale {
    life: Life,
    now: Instant,
}

impl Tale {
    fn of(restart: Restart, is_routed: bool, wanted: u64) -> Self {
        Self {
            life: Life::new(restart, is_routed, false, wanted),
            now: Instant::now(),
        }
    }

    fn routed(wanted: u64) -> Self {
        Self::of(Restart::Permanent, true, wanted)
    }

    fn tell(&mut self, event: Event) -> Vec<Command> {
        self.life.handle(event, self.now)
    }

    fn phases(&self) -> Vec<Phase> {
        self.life
            .members()
            .map(|(_, member)| member.phase)
            .collect()
    }
}

/// The ends that are reported.
fn ends(commands: &[Command]) -> Vec<(u64, ExitStatus)> {
    let end = |command: &Command| match command {
        Command::Report {
            number,
            exited: Some(exit),
        } => Some((*number, exit.status)),
        _ => None,
    };
    commands.iter().filter_map(end).collect()
}

#[test]
fn a_service_that_is_not_there_is_made_and_its_tasks_get_ready() {
    let mut tale = Tale::routed(1);
    assert_eq!(
        tale.tell(Event::Seen(Seen::default())),
        [Command::Create(1)]
    );
    // No second call while one is under way.
    assert_eq!(tale.tell(Event::Seen(Seen::default())), []);
    assert_eq!(tale.tell(Event::Changed), [Command::Look]);
    tale.tell(seen(1, &[task("a", 1, TaskState::Waiting)]));
    assert_eq!(tale.phases(), [Phase::Starting]);
    let commands = tale.tell(seen(1, &[task("a", 1, TaskState::Running)]));
    let check = Command::Check {
        number: 1,
        task: "a".to_owned(),
    };
    assert!(commands.contains(&check), "{commands:?}");
    assert_eq!(tale.phases(), [Phase::Starting]);
    tale.tell(Event::Checked {
        task: "a".to_owned(),
        is_ready: true,
    });
    assert_eq!(tale.phases(), [Phase::Ready]);
}

#[test]
fn a_process_without_requests_is_ready_once_it_has_lived() {
    let mut tale = Tale::of(Restart::Permanent, false, 1);
    let runs = [task("a", 1, TaskState::Running)];
    assert!(tale.tell(seen(1, &runs)).contains(&Command::Look));
    assert_eq!(tale.phases(), [Phase::Starting]);
    tale.now += ALIVE;
    tale.tell(seen(1, &runs));
    assert_eq!(tale.phases(), [Phase::Ready]);
}

#[test]
fn a_running_task_keeps_an_address_that_the_swarm_has_lost() {
    let Event::Seen(before) = seen(1, &[task("a", 1, TaskState::Running)]) else {
        unreachable!();
    };
    let lost = SeenTask {
        address: None,
        ..task("a", 1, TaskState::Running)
    };
    let of = |id: &str| Seen {
        tasks: vec![SeenTask {
            id: id.to_owned(),
            ..lost.clone()
        }],
        ..before.clone()
    };
    assert_eq!(of("a").with_addresses_of(&before), before);
    assert_eq!(of("b").with_addresses_of(&before), of("b"));
}

#[test]
fn a_process_that_no_port_is_told_of_is_not_ready_and_says_so() {
    let mut tale = Tale::routed(1);
    let ready = Event::Checked {
        task: "a".to_owned(),
        is_ready: true,
    };
    let runs = task("a", 1, TaskState::Running);
    tale.tell(seen(1, std::slice::from_ref(&runs)));
    tale.tell(ready.clone());
    let lost = SeenTask {
        address: None,
        ..runs.clone()
    };
    tale.tell(seen(1, &[lost]));
    assert_eq!(tale.phases(), [Phase::Starting]);
    let warning = tale.life.member(1).unwrap().warning.clone();
    assert!(warning.unwrap().contains("restart"));
    tale.tell(seen(1, &[runs]));
    tale.tell(ready);
    assert_eq!(tale.phases(), [Phase::Ready]);
    assert_eq!(tale.life.member(1).unwrap().warning, None);
}

#[test]
fn a_task_whose_machine_fetches_the_image_says_so() {
    let mut tale = Tale::routed(1);
    let fetches = SeenTask {
        is_fetching: true,
        ..task("a", 1, TaskState::Waiting)
    };
    let told = tale.tell(seen(1, &[fetches]));
    assert!(told.iter().any(|c| matches!(c, Command::Report { .. })));
    let warning = tale.life.member(1).unwrap().warning.clone();
    assert_eq!(warning.as_deref(), Some("node1 fetches the image"));
}

#[test]
fn one_that_is_not_started_again_has_finished() {
    let mut tale = Tale::of(Restart::Transient, false, 1);
    tale.tell(seen(1, &[task("a", 1, TaskState::Running)]));
    tale.tell(seen(
        1,
        &[task("a", 1, TaskState::Ended(ExitStatus::Code(0)))],
    ));
    assert_eq!(tale.phases(), [Phase::Finished]);
}

#[test]
fn while_the_swarm_cannot_be_asked_everything_stays_as_it_was() {
    let mut tale = Tale::routed(1);
    tale.tell(seen(1, &[task("a", 1, TaskState::Running)]));
    tale.tell(Event::Checked {
        task: "a".to_owned(),
        is_ready: true,
    });
    tale.tell(Event::Unseen("gone".to_owned()));
    assert_eq!(tale.phases(), [Phase::Ready]);
    assert_eq!(tale.life.trouble(), Some("gone"));
}

#[test]
fn what_was_known_runs_on_until_the_swarm_can_be_listed() {
    let mut tale = Tale::routed(1);
    let Event::Seen(known) = seen(1, &[task("a", 1, TaskState::Running)]) else {
        unreachable!();
    };
    let told = tale.tell(Event::Known(known.clone()));
    assert!(
        told.iter().any(|c| matches!(c, Command::Check { .. })),
        "{told:?}"
    );
    assert!(!told.iter().any(is_call), "{told:?}");
    tale.tell(Event::Checked {
        task: "a".to_owned(),
        is_ready: true,
    });
    tale.tell(Event::Unseen("gone".to_owned()));
    assert_eq!(tale.phases(), [Phase::Ready]);
    // Once it is listed, that counts.
    tale.tell(seen(1, &[later("b", 1, TaskState::Running)]));
    assert_eq!(tale.tell(Event::Known(known.clone())), []);
    assert_eq!(tale.phases(), [Phase::Starting]);
    let mut tale = Tale::of(Restart::Permanent, false, 1);
    tale.tell(Event::Known(known));
    assert_eq!(tale.phases(), [Phase::Ready]);
}

#[test]
fn a_stop_removes_the_service_and_is_over_when_nothing_runs() {
    let mut tale = Tale::routed(1);
    let runs = [task("a", 1, TaskState::Running)];
    tale.tell(seen(1, &runs));
    assert!(tale.tell(Event::Stop).contains(&Command::Look));
    assert_eq!(tale.phases(), [Phase::Stopping]);
    assert_eq!(tale.tell(seen(1, &runs)), [Command::Remove("s".to_owned())]);
    tale.tell(Event::Changed);
    let still = Seen {
        service: None,
        tasks: runs.to_vec(),
    };
    assert_eq!(tale.tell(Event::Seen(still)), []);
    let told = tale.tell(Event::Seen(Seen::default()));
    assert_eq!(told.last(), Some(&Command::Finish));
    assert_eq!(tale.phases(), [Phase::Stopped]);
}

#[test]
fn where_another_slot_was_ended_what_is_left_is_counted_anew() {
    let mut tale = Tale::routed(2);
    let both = [
        task("a", 1, TaskState::Running),
        task("b", 2, TaskState::Running),
    ];
    tale.tell(seen(2, &both));
    let told = tale.tell(Event::Want(1));
    assert!(told.contains(&Command::Look), "{told:?}");
    tale.tell(seen(2, &both));
    tale.tell(Event::Changed);
    tale.tell(seen(1, &[task("b", 2, TaskState::Running)]));
    let member = tale.life.member(1).unwrap();
    assert_eq!(member.task.as_ref().map(|t| t.id.as_str()), Some("b"));
    assert_eq!(tale.life.member(2).unwrap().phase, Phase::Stopped);
}

fn states() -> impl Strategy<Value = TaskState> {
    prop_oneof![
        Just(TaskState::Waiting),
        Just(TaskState::Running),
        Just(TaskState::Ended(ExitStatus::Code(1))),
        Just(TaskState::Rejected),
    ]
}

fn events() -> impl Strategy<Value = Event> {
    let tasks = proptest::collection::vec((0u8..6, 1u64..4, states(), any::<bool>()), 0..6);
    let listing = (any::<bool>(), 0u64..4, tasks).prop_map(|(is_there, replicas, tasks)| {
        let tasks = tasks.into_iter().map(|(id, slot, state, is_late)| {
            let id = format!("t{id}");
            match is_late {
                true => later(&id, slot, state),
                false => task(&id, slot, state),
            }
        });
        let tasks: Vec<_> = tasks.collect();
        match is_there {
            true => seen(replicas, &tasks),
            false => Event::Seen(Seen {
                service: None,
                tasks,
            }),
        }
    });
    prop_oneof![
        6 => listing,
        3 => Just(Event::Changed),
        1 => Just(Event::Failed("x".to_owned())),
        1 => Just(Event::Refused("z".to_owned())),
        1 => Just(Event::Unseen("y".to_owned())),
        1 => Just(Event::Due),
        1 => (1u64..4).prop_map(Event::Want),
        2 => (0u8..6, any::<bool>()).prop_map(|(id, is_ready)| Event::Checked {
            task: format!("t{id}"),
            is_ready,
        }),
        1 => (0u8..6).prop_map(|id| Event::Ending(format!("t{id}"))),
        1 => (0u8..6, any::<bool>()).prop_map(|(id, is_out_of_memory)| Event::Heard {
            task: format!("t{id}"),
            is_out_of_memory,
        }),
    ]
}

fn runs(tale: &Tale, task: &str) -> bool {
    let mut members = tale.life.members();
    members.any(|(_, member)| {
        member
            .task
            .as_ref()
            .is_some_and(|t| t.id == task && t.runs())
    })
}

fn is_call(command: &Command) -> bool {
    matches!(
        command,
        Command::Create(_) | Command::Scale { .. } | Command::Restore { .. } | Command::Remove(_)
    )
}

proptest! {
    /// Whatever the swarm says: there is one call at a time, only what runs is ready and has not told that it ends, and a
    /// stop comes to its end.
    #[test]
    fn it_is_never_confused(events in proptest::collection::vec(events(), 0..40)) {
        let mut tale = Tale::routed(2);
        let mut is_calling = false;
        let mut ending = BTreeSet::new();
        for event in events {
            // Answers come to calls only, and a retry after a failure.
            match &event {
                Event::Changed | Event::Failed(_) | Event::Refused(_) if !is_calling => continue,
                Event::Changed | Event::Failed(_) | Event::Refused(_) => is_calling = false,
                // Of one that nobody knows yet nothing is read.
                Event::Ending(task) if runs(&tale, task) => drop(ending.insert(task.clone())),
                Event::Ending(_) => continue,
                _ => {}
            }
            let commands = tale.tell(event);
            let calls = commands.iter().filter(|c| is_call(c)).count();
            prop_assert!(calls <= 1 && !(is_calling && calls > 0), "{commands:?}");
            is_calling |= calls > 0;
            for (_, member) in tale.life.members() {
                let task = member.task.as_ref().filter(|task| task.runs());
                prop_assert!(member.phase != Phase::Ready || task.is_some());
                // One that was forgotten is another of that name.
                let listed = tale.life.last_seen().tasks.iter();
                let listed: BTreeSet<_> = listed.map(|task| task.id.clone()).collect();
                ending.retain(|task| listed.contains(task));
                let is_ending = task.is_some_and(|task| ending.contains(&task.id));
                prop_assert!(member.phase != Phase::Ready || !is_ending);
            }
            tale.now += Duration::from_millis(300);
        }
        tale.tell(Event::Changed);
        tale.tell(Event::Stop);
        let told = tale.tell(Event::Seen(Seen::default()));
        prop_assert_eq!(told.last(), Some(&Command::Finish));
        prop_assert!(tale.phases().iter().all(|phase| *phase == Phase::Stopped));
        prop_assert_eq!(tale.tell(seen(2, &[])), []);
    }
}

#[test]
fn of_two_tasks_in_a_slot_the_one_that_goes_on_counts() {
    let mut tale = Tale::routed(1);
    let old = task("a", 1, TaskState::Running);
    tale.tell(seen(1, std::slice::from_ref(&old)));
    let ready = Event::Checked {
        task: "a".to_owned(),
        is_ready: true,
    };
    tale.tell(ready);
    // Somebody has it made anew, the new one first; then that is taken back.
    tale.tell(seen(1, &[old.clone(), later("b", 1, TaskState::Waiting)]));
    assert_eq!(tale.phases(), [Phase::Ready]);
    let ended = later("b", 1, TaskState::Ended(ExitStatus::Signal(15)));
    tale.tell(seen(1, &[old, ended]));
    assert_eq!(tale.phases(), [Phase::Ready]);
}
