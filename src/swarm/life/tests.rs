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

/// As [`seen`], with other tasks than this server has told.
fn changed_by_others(replicas: u64) -> Event {
    let Event::Seen(mut found) = seen(replicas, &[]) else {
        unreachable!()
    };
    found.service.as_mut().expect("there is one").template = Some([1; 32]);
    Event::Seen(found)
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
fn an_end_is_told_once_with_its_code_however_quickly_another_task_follows() {
    let ended = TaskState::Ended(ExitStatus::Code(3));
    let mut tale = Tale::routed(1);
    tale.tell(seen(1, &[task("a", 1, TaskState::Running)]));
    let told = tale.tell(seen(1, &[task("a", 1, ended)]));
    assert_eq!(ends(&told), [(1, ExitStatus::Code(3))]);
    assert_eq!(tale.phases(), [Phase::Backoff]);
    let both = [task("a", 1, ended), later("b", 1, TaskState::Waiting)];
    assert_eq!(ends(&tale.tell(seen(1, &both))), []);

    let mut tale = Tale::routed(1);
    tale.tell(seen(1, &[task("a", 1, TaskState::Running)]));
    let told = tale.tell(seen(1, &both));
    assert_eq!(ends(&told), [(1, ExitStatus::Code(3))]);
    assert_eq!(tale.life.member(1).unwrap().restarts, 1);
}

#[test]
fn a_task_on_a_machine_that_is_gone_ends_when_another_takes_its_place() {
    let mut tale = Tale::routed(1);
    tale.tell(seen(1, &[task("a", 1, TaskState::Running)]));
    let lost = SeenTask {
        is_wanted: false,
        is_out_of_reach: true,
        ..task("a", 1, TaskState::Running)
    };
    let told = tale.tell(seen(1, &[lost, later("b", 1, TaskState::Running)]));
    assert_eq!(ends(&told), [(1, ExitStatus::Unknown)]);
    let member = tale.life.member(1).unwrap();
    let reason = member.last_exit.as_ref().unwrap().reason.as_ref().unwrap();
    assert!(reason.contains("node1"), "{reason}");
}

/// Whether web.1 keeps crashing, after seven tasks of it that end one after the other as `end` says.
fn crashes_by(end: impl Fn(SeenTask) -> SeenTask) -> bool {
    let mut tale = Tale::routed(1);
    tale.tell(seen(1, &[task("t0", 1, TaskState::Running)]));
    for n in 1..=7 {
        let old = end(task(&format!("t{}", n - 1), 1, TaskState::Running));
        let next = later(&format!("t{n}"), 1, TaskState::Running);
        let told = tale.tell(seen(1, &[old, next]));
        assert_eq!(ends(&told).len(), 1, "each end is told");
    }
    tale.life.member(1).unwrap().is_crashlooping()
}

#[test]
fn what_the_swarm_moves_does_not_crash() {
    let failed = |code| TaskState::Ended(ExitStatus::Code(code));
    assert!(crashes_by(|old| SeenTask {
        is_wanted: false,
        state: failed(1),
        ..old
    }));
    // It ends still, or has.
    for state in [TaskState::Running, failed(143)] {
        assert!(!crashes_by(|old| SeenTask {
            is_wanted: false,
            is_dismissed: true,
            state,
            ..old
        }));
    }
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
fn what_somebody_else_has_changed_is_put_right() {
    let mut tale = Tale::routed(2);
    let both = [
        task("a", 1, TaskState::Running),
        task("b", 2, TaskState::Running),
    ];
    tale.tell(seen(2, &both));
    let scale = Command::Scale {
        id: "s".to_owned(),
        version: 1,
        replicas: 2,
    };
    assert!(tale.tell(seen(5, &both)).contains(&scale));
    tale.tell(Event::Changed);
    assert_eq!(
        tale.tell(Event::Seen(Seen::default()))[0],
        Command::Create(2)
    );
}

#[test]
fn after_a_call_that_failed_comes_another_one_later() {
    let mut tale = Tale::routed(1);
    tale.tell(Event::Seen(Seen::default()));
    let told = tale.tell(Event::Failed("no manager".to_owned()));
    assert!(told.contains(&Command::ArmRetry), "{told:?}");
    assert_eq!(tale.life.trouble(), Some("no manager"));
    assert_eq!(tale.tell(Event::Seen(Seen::default())), []);
    assert_eq!(tale.tell(Event::Due), [Command::Look]);
    let told = tale.tell(Event::Seen(Seen::default()));
    assert!(told.contains(&Command::Create(1)), "{told:?}");
    tale.tell(Event::Changed);
    assert_eq!(tale.life.trouble(), None);
}

#[test]
fn what_the_engine_refuses_for_good_is_told_as_such_until_a_call_is_carried_out() {
    let mut tale = Tale::routed(1);
    tale.tell(Event::Seen(Seen::default()));
    tale.tell(Event::Failed("no leader".to_owned()));
    assert!(!tale.life.is_refused());
    tale.tell(Event::Due);
    tale.tell(Event::Seen(Seen::default()));
    let told = tale.tell(Event::Refused("too large".to_owned()));
    let report = Command::Report {
        number: 1,
        exited: None,
    };
    assert!(told.contains(&report), "{told:?}");
    assert!(tale.life.is_refused());
    tale.tell(Event::Due);
    tale.tell(Event::Seen(Seen::default()));
    tale.tell(Event::Changed);
    assert!(!tale.life.is_refused());
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
        1 => Just(Event::Unseen("y".to_owned())),
        1 => Just(Event::Due),
        1 => (1u64..4).prop_map(Event::Want),
        2 => (0u8..6, any::<bool>()).prop_map(|(id, is_ready)| Event::Checked {
            task: format!("t{id}"),
            is_ready,
        }),
    ]
}

fn is_call(command: &Command) -> bool {
    matches!(
        command,
        Command::Create(_) | Command::Scale { .. } | Command::Restore { .. } | Command::Remove(_)
    )
}

proptest! {
    /// Whatever the swarm says: there is one call at a time, only what runs is ready, and a stop comes to its end.
    #[test]
    fn it_is_never_confused(events in proptest::collection::vec(events(), 0..40)) {
        let mut tale = Tale::routed(2);
        let mut is_calling = false;
        for event in events {
            // Answers come to calls only, and a retry after a failure.
            match &event {
                Event::Changed | Event::Failed(_) if !is_calling => continue,
                Event::Changed | Event::Failed(_) => is_calling = false,
                _ => {}
            }
            let commands = tale.tell(event);
            let calls = commands.iter().filter(|c| is_call(c)).count();
            prop_assert!(calls <= 1 && !(is_calling && calls > 0), "{commands:?}");
            is_calling |= calls > 0;
            for (_, member) in tale.life.members() {
                let runs = member.task.as_ref().is_some_and(SeenTask::runs);
                prop_assert!(member.phase != Phase::Ready || runs);
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
fn what_others_have_changed_gets_its_specification_again() {
    let mut tale = Tale::routed(1);
    tale.tell(seen(1, &[]));
    let restore = Command::Restore {
        id: "s".to_owned(),
        version: 1,
        replicas: 1,
    };
    assert!(tale.tell(changed_by_others(1)).contains(&restore));
    assert_eq!(tale.tell(changed_by_others(1)), []);
    assert_eq!(tale.tell(Event::Changed), [Command::Look]);
    // An engine may write it in another way than it was first.
    assert!(!tale.tell(changed_by_others(1)).contains(&restore));
    assert!(!tale.tell(changed_by_others(1)).contains(&restore));
}

#[test]
fn what_others_change_right_behind_a_call_is_not_taken_for_ours() {
    let mut tale = Tale::routed(1);
    tale.tell(seen(1, &[]));
    let scale = Command::Scale {
        id: "s".to_owned(),
        version: 1,
        replicas: 1,
    };
    assert!(tale.tell(seen(3, &[])).contains(&scale));
    tale.tell(Event::Changed);
    let is_restore = |command: &Command| matches!(command, Command::Restore { .. });
    assert!(tale.tell(changed_by_others(1)).iter().any(is_restore));
    tale.tell(Event::Failed("others change it".to_owned()));
    tale.tell(Event::Due);
    assert!(tale.tell(changed_by_others(1)).iter().any(is_restore));
    tale.tell(Event::Changed);
    // As it was; and the same change once more is one that others make.
    assert!(!tale.tell(seen(1, &[])).iter().any(is_restore));
    assert!(tale.tell(changed_by_others(1)).iter().any(is_restore));
}

#[test]
fn nobody_gets_requests_in_the_place_of_a_process_that_ends() {
    let mut tale = Tale::routed(1);
    let running = task("a", 1, TaskState::Running);
    tale.tell(seen(1, std::slice::from_ref(&running)));
    tale.tell(Event::Checked {
        task: "a".to_owned(),
        is_ready: true,
    });
    assert_eq!(tale.phases(), [Phase::Ready]);
    let told = tale.tell(Event::Ending("a".to_owned()));
    assert!(told.contains(&Command::Uncheck(1)) && told.contains(&Command::Look));
    // The swarm has not heard of it yet.
    let told = tale.tell(seen(1, &[running]));
    assert!(!told.iter().any(|c| matches!(c, Command::Check { .. })));
    assert_eq!(tale.phases(), [Phase::Starting]);
    let killed = TaskState::Ended(ExitStatus::Signal(9));
    let told = tale.tell(seen(1, &[task("a", 1, killed)]));
    assert_eq!(ends(&told), [(1, ExitStatus::Signal(9))]);
}

#[test]
fn what_may_still_be_made_after_the_end_is_removed() {
    let mut tale = Tale::routed(1);
    tale.tell(Event::Seen(Seen::default()));
    tale.tell(Event::Failed("late".to_owned()));
    tale.tell(Event::Stop);
    tale.tell(Event::Due);
    let last = tale.tell(Event::Seen(Seen::default()));
    assert!(
        last.ends_with(&[Command::RemoveLate, Command::Finish]),
        "{last:?}"
    );

    let mut tale = Tale::routed(1);
    tale.tell(Event::Seen(Seen::default()));
    tale.tell(Event::Failed("late".to_owned()));
    tale.tell(Event::Due);
    tale.tell(seen(1, &[]));
    tale.tell(Event::Stop);
    tale.tell(seen(1, &[]));
    tale.tell(Event::Changed);
    let last = tale.tell(Event::Seen(Seen::default()));
    assert!(!last.contains(&Command::RemoveLate), "{last:?}");
}

#[test]
fn why_a_call_failed_is_told_until_none_is_needed() {
    let mut tale = Tale::routed(1);
    let told = |tale: &Tale| tale.life.trouble().map(str::to_owned);
    tale.tell(Event::Seen(Seen::default()));
    tale.tell(Event::Failed("no".to_owned()));
    tale.tell(Event::Due);
    tale.tell(Event::Seen(Seen::default()));
    assert_eq!(told(&tale).as_deref(), Some("no"));
    tale.tell(Event::Failed("no".to_owned()));
    tale.tell(Event::Due);
    tale.tell(seen(1, &[]));
    assert_eq!(told(&tale), None);
    tale.tell(Event::Unseen("gone".to_owned()));
    assert_eq!(told(&tale).as_deref(), Some("gone"));
    tale.tell(seen(1, &[]));
    assert_eq!(told(&tale), None);
}

#[test]
fn an_end_by_the_kernel_is_told_with_what_the_task_has_said_last() {
    let mut tale = Tale::routed(1);
    tale.life = Life::new(Restart::Permanent, true, true, 1);
    tale.tell(seen(1, &[task("a", 1, TaskState::Running)]));
    let killed = TaskState::Ended(ExitStatus::Signal(9));
    let next = [task("a", 1, killed), later("b", 1, TaskState::Waiting)];
    let told = tale.tell(seen(1, &next));
    assert_eq!(told, [Command::Look]);
    let told = tale.tell(Event::Heard {
        task: "a".to_owned(),
        is_out_of_memory: true,
    });
    assert_eq!(ends(&told), [(1, ExitStatus::Signal(9))]);
    let member = tale.life.member(1).unwrap();
    assert!(member.last_exit.as_ref().unwrap().oom);
    assert_eq!(member.restarts, 1);
}

#[test]
fn an_end_of_which_nothing_more_is_heard_is_told_too() {
    let mut tale = Tale::routed(1);
    tale.life = Life::new(Restart::Permanent, true, true, 1);
    tale.tell(seen(1, &[task("a", 1, TaskState::Running)]));
    let killed = TaskState::Ended(ExitStatus::Signal(9));
    assert_eq!(ends(&tale.tell(seen(1, &[task("a", 1, killed)]))), []);
    tale.now += super::ends::LAST_WORDS;
    let told = tale.tell(seen(1, &[task("a", 1, killed)]));
    assert_eq!(ends(&told), [(1, ExitStatus::Signal(9))]);
    let last = tale.life.member(1).unwrap().last_exit.clone();
    assert!(!last.unwrap().oom);
    assert_eq!(ends(&tale.tell(seen(1, &[task("a", 1, killed)]))), []);
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
