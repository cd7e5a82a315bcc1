//! How tasks end, and what that makes of their processes.

use super::*;

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
    // Nor does it count who answers there.
    tale.tell(Event::Checked {
        task: "a".to_owned(),
        is_ready: true,
    });
    assert_eq!(tale.phases(), [Phase::Starting]);
    let killed = TaskState::Ended(ExitStatus::Signal(9));
    let told = tale.tell(seen(1, &[task("a", 1, killed)]));
    assert_eq!(ends(&told), [(1, ExitStatus::Signal(9))]);
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
    tale.now += crate::swarm::life::ends::LAST_WORDS;
    let told = tale.tell(seen(1, &[task("a", 1, killed)]));
    assert_eq!(ends(&told), [(1, ExitStatus::Signal(9))]);
    let last = tale.life.member(1).unwrap().last_exit.clone();
    assert!(!last.unwrap().oom);
    assert_eq!(ends(&tale.tell(seen(1, &[task("a", 1, killed)]))), []);
}
