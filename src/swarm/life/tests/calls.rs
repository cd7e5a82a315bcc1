//! What the engine is asked for, and what others change.

use super::*;

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

/// As [`seen`], with other tasks than this server has told.
fn changed_by_others(replicas: u64) -> Event {
    let Event::Seen(mut found) = seen(replicas, &[]) else {
        unreachable!()
    };
    found.service.as_mut().expect("there is one").template = Some([1; 32]);
    Event::Seen(found)
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
