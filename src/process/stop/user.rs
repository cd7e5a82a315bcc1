//! Ends all processes of a user who has none but an app's: whatever got out of its instance, and what others have started
//! as this user by a file with the set-user-ID bit.

use std::time::Instant;

use rustix::process::Signal;

use super::{Patience, Stat, Unique, freeze, held, procfs, signal, unique};

/// SIGKILL to every process of this user wherever it is, repeated until none lives. Else it would be of the next user who
/// gets the id. Blocks.
pub fn kill_all_of(uid: u32) {
    let mut patience = Patience::default();
    loop {
        let mut known = living(uid);
        if known.is_empty() {
            return;
        }
        freeze(|each| {
            known = living(uid);
            known.iter().copied().for_each(each);
        });
        for process in &known {
            signal(*process, Signal::KILL);
        }
        let is_held = known.iter().all(|process| held::is_held(*process));
        match patience.pause(is_held, Instant::now()) {
            Some(pause) => std::thread::sleep(pause),
            None => {
                let pids: Vec<u32> = known.iter().map(|process| process.pid).collect();
                return log::error!("processes of the user {uid} do not die of SIGKILL: {pids:?}");
            }
        }
    }
}

fn living(uid: u32) -> Vec<Unique> {
    let of_user = procfs::pids().filter(|pid| procfs::may_act_as(*pid, uid));
    let living = of_user.filter_map(|pid| {
        let stat = procfs::stat(pid).filter(Stat::is_alive)?;
        Some(unique(pid, &stat))
    });
    living.collect()
}
