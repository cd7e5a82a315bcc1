//! Which id the user of an app gets (pure). One that another app's user had is given again as late as possible: what
//! that one left on the machine, files with the setuid bit among them, would be the next one's.

use std::ops::RangeInclusive;

/// Where `login.defs` says nothing (login.defs(5)).
const SYSTEM: RangeInclusive<u32> = 100..=999;

/// The ids of system users on this machine: all other ids are of people, containers or none.
pub(super) fn system_range(login_defs: &str) -> RangeInclusive<u32> {
    let value = |name| {
        let of_line = |line: &str| {
            let mut words = line.split_whitespace();
            (words.next()? == name).then(|| words.next()?.parse().ok())?
        };
        login_defs.lines().filter_map(of_line).next_back()
    };
    let first = value("SYS_UID_MIN").unwrap_or(*SYSTEM.start()).max(1);
    let before_people = value("UID_MIN").map_or(*SYSTEM.end(), |min: u32| min.saturating_sub(1));
    first..=value("SYS_UID_MAX").unwrap_or(before_people)
}

/// The id that is given next. `had` lists those that apps' users had, the one that is free for the longest time first.
/// `None`: all of the range are taken.
pub(super) fn next(
    had: &[u32],
    range: RangeInclusive<u32>,
    is_taken: impl Fn(u32) -> bool,
) -> Option<u32> {
    let is_new = |id: &u32| !had.contains(id) && !is_taken(*id);
    // Downwards, as useradd(8) does.
    let new = range.clone().rev().find(is_new);
    let longest_free = || {
        let mut had = had.iter().copied();
        had.find(|id| range.contains(id) && !is_taken(*id))
    };
    new.or_else(longest_free)
}

/// Notes that the id is given, or becomes free, now.
pub(super) fn note(had: &mut Vec<u32>, id: u32) {
    had.retain(|other| *other != id);
    had.push(id);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_range_is_what_login_defs_says() {
        assert_eq!(system_range(""), 100..=999);
        assert_eq!(
            system_range("#SYS_UID_MIN 5\nUID_MIN\t\t 1000\n"),
            100..=999
        );
        assert_eq!(system_range("UID_MIN 500\n"), 100..=499);
        let all = "UID_MIN 1000\nSYS_UID_MIN 201 # ours\nSYS_UID_MAX  899\n";
        assert_eq!(system_range(all), 201..=899);
        assert_eq!(system_range("SYS_UID_MIN 0\nSYS_UID_MAX x\n"), 1..=999);
    }

    proptest! {
        /// Apps come and go, beside users of others.
        #[test]
        fn an_id_comes_again_only_when_all_were_given_and_then_the_one_that_is_free_longest(
            others in proptest::collection::btree_set(100_u32..112, 0..6),
            steps in proptest::collection::vec((any::<bool>(), 0_usize..12), 0..80),
        ) {
            let range = 100..=111_u32;
            let (mut had, mut live) = (Vec::new(), Vec::new());
            // With the step at which each became free.
            let mut freed: Vec<(u32, usize)> = Vec::new();
            let mut ever = BTreeSet::new();
            for (step, (is_new, which)) in steps.into_iter().enumerate() {
                if !is_new {
                    if !live.is_empty() {
                        let gone = live.remove(which % live.len());
                        freed.retain(|(id, _)| *id != gone);
                        freed.push((gone, step));
                        note(&mut had, gone);
                    }
                    continue;
                }
                let is_taken = |id| others.contains(&id) || live.contains(&id);
                let Some(id) = next(&had, range.clone(), is_taken) else {
                    prop_assert_eq!(others.len() + live.len(), 12);
                    continue;
                };
                prop_assert!(range.contains(&id) && !is_taken(id));
                if ever.contains(&id) {
                    prop_assert_eq!(ever.len() + others.len(), 12);
                    let oldest = freed.iter().filter(|(id, _)| !live.contains(id)).min_by_key(|(_, at)| *at);
                    prop_assert_eq!(Some(id), oldest.map(|(id, _)| *id));
                }
                ever.insert(id);
                note(&mut had, id);
                live.push(id);
            }
        }
    }
}
