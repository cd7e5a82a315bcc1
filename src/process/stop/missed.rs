//! Which processes the signal of a stop has missed. Pure.
//!
//! The leader's group gets it as one: whoever is in it, or is forked in it meanwhile, has got it. Others get it one by
//! one, and may have forked between the look that has found them and their signal.

use std::collections::BTreeMap;

use super::{Stat, Unique};

/// Who got the signal, and when.
#[derive(Clone, Debug, Default)]
pub(super) struct Signalled {
    /// The leader's pid, which is the number of its group and of its session.
    leader: Option<u32>,
    /// When its group got the signal, in clock ticks since boot. A tick is long: what was started in the tick of the
    /// signal may have missed it. What was started later is part of how the others end.
    at: u64,
    /// When the processes of other sessions or groups got it one by one: the last time.
    one_by_one: BTreeMap<Place, u64>,
}

/// A session; in the leader's own, a group of it.
type Place = (u32, u32);

impl Signalled {
    pub(super) fn new(leader: Option<u32>, at: u64) -> Self {
        Self {
            leader,
            at,
            one_by_one: BTreeMap::new(),
        }
    }

    /// The processes that have missed the signal, of those that did not get it one by one.
    pub(super) fn missed(&self, unasked: &[(Unique, Stat)]) -> Vec<Unique> {
        let outside = || unasked.iter().filter(|(_, stat)| !self.is_in_group(stat));
        let is_late = |stat: &Stat| stat.start_time <= self.at;
        let told_at = |stat: &Stat| self.one_by_one.get(&self.place(stat)).copied();
        // What a late process has started since has missed it as well.
        let late = outside().filter(|(_, stat)| is_late(stat));
        let of_late: Vec<Place> = late.map(|(_, stat)| self.place(stat)).collect();
        let missed = outside().filter(|(_, stat)| {
            is_late(stat)
                || of_late.contains(&self.place(stat))
                || told_at(stat).is_some_and(|at| stat.start_time <= at)
        });
        missed.map(|(process, _)| *process).collect()
    }

    /// Notes that these have got the signal now.
    pub(super) fn told<'a>(&mut self, stats: impl Iterator<Item = &'a Stat>, now: u64) {
        for stat in stats {
            self.one_by_one.insert(self.place(stat), now);
        }
    }

    fn is_in_group(&self, stat: &Stat) -> bool {
        Some(stat.group) == self.leader
    }

    fn place(&self, stat: &Stat) -> Place {
        match Some(stat.session) == self.leader {
            true => (stat.session, stat.group),
            false => (stat.session, 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEADER: u32 = 100;

    fn process(pid: u32, session: u32, group: u32, start_time: u64) -> (Unique, Stat) {
        let stat = Stat {
            state: 'S',
            parent: 1,
            group,
            session,
            ticks: 0,
            start_time,
            resident_pages: 0,
        };
        (Unique { pid, start_time }, stat)
    }

    fn missed(signalled: &Signalled, unasked: &[(Unique, Stat)]) -> Vec<u32> {
        let missed = signalled.missed(unasked);
        missed.iter().map(|process| process.pid).collect()
    }

    #[test]
    fn the_group_has_got_it_as_one() {
        let signalled = Signalled::new(Some(LEADER), 50);
        let all = [
            process(101, LEADER, LEADER, 40),
            process(102, LEADER, LEADER, 60),
        ];
        assert_eq!(missed(&signalled, &all), Vec::<u32>::new());
    }

    #[test]
    fn who_was_on_the_way_out_of_the_group_has_missed_it_with_all_it_has_started() {
        let signalled = Signalled::new(Some(LEADER), 50);
        let all = [
            process(101, 101, 101, 50),
            process(102, 101, 101, 70),
            process(103, LEADER, 103, 49),
            process(104, LEADER, 103, 70),
            process(105, 105, 105, 51),
        ];
        assert_eq!(missed(&signalled, &all), [101, 102, 103, 104]);
    }

    #[test]
    fn what_was_forked_between_a_look_and_the_signal_has_missed_it() {
        let mut signalled = Signalled::new(Some(LEADER), 50);
        let late = process(101, 101, 101, 50);
        assert_eq!(missed(&signalled, &[late]), [101]);
        signalled.told([late.1].iter(), 60);
        let all = [
            process(102, 101, 101, 60),
            process(103, 101, 101, 61),
            process(104, 104, 104, 60),
        ];
        assert_eq!(missed(&signalled, &all), [102]);
    }
}
