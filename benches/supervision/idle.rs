//! `idle`: what a supervisor takes while nothing happens.

use std::time::Duration;

use crate::Effort;
use crate::ground::Ground;
use crate::procfs;
use crate::supervisor::{Kind, Supervisor};

pub(crate) fn run(ground: &Ground, effort: &Effort) {
    println!(
        "\nidle: memory of the supervisor (all of its own processes) in KiB, and what it does meanwhile"
    );
    println!(
        "{:<12}{:>10}{:>11}{:>15}{:>10}{:>9}{:>12}",
        "", "processes", "resident", "proportional", "private", "CPU %", "wakeups/s"
    );
    for processes in effort.idle {
        for kind in Kind::ALL {
            // pm2 starts its daemon with its first process.
            if kind == Kind::Pm2 && *processes == 0 {
                continue;
            }
            if let Some(supervisor) = Supervisor::start(kind, *processes, ground) {
                supervisor.all_run();
                supervisor.all_ready();
                std::thread::sleep(effort.settle);
                print(&supervisor, *processes, effort.watch);
            }
        }
    }
}

fn print(supervisor: &Supervisor, processes: usize, watch: Duration) {
    let pids = supervisor.own_pids();
    let cpu = || pids.iter().map(|pid| procfs::cpu_of_threads(*pid)).sum();
    let sleeps = || pids.iter().map(|pid| procfs::sleeps(*pid)).sum();
    let before: (Duration, u64) = (cpu(), sleeps());
    std::thread::sleep(watch);
    let after: (Duration, u64) = (cpu(), sleeps());
    let memory = procfs::memory(&pids);
    let share = after.0.saturating_sub(before.0).as_secs_f64() / watch.as_secs_f64();
    println!(
        "{:<12}{processes:>10}{:>11}{:>15}{:>10}{:>9.3}{:>12.1}",
        supervisor.kind.name(),
        memory.resident,
        memory.proportional,
        memory.private,
        share * 100.0,
        after.1.saturating_sub(before.1) as f64 / watch.as_secs_f64()
    );
}
