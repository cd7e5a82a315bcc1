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
            // pm2 starts its daemon with its first process, and takes long to end many.
            if kind == Kind::Pm2 && *processes != 10 {
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
    let before = procfs::threads(&pids);
    std::thread::sleep(watch);
    let (mut cpu, mut sleeps) = (Duration::ZERO, 0);
    for (id, after) in procfs::threads(&pids) {
        let before = before.get(&id).copied().unwrap_or_default();
        cpu += after.cpu.saturating_sub(before.cpu);
        sleeps += after.sleeps.saturating_sub(before.sleeps);
    }
    let memory = procfs::memory(&pids);
    let share = cpu.as_secs_f64() / watch.as_secs_f64();
    println!(
        "{:<12}{processes:>10}{:>11}{:>15}{:>10}{:>9.3}{:>12.1}",
        supervisor.kind.name(),
        memory.resident,
        memory.proportional,
        memory.private,
        share * 100.0,
        sleeps as f64 / watch.as_secs_f64()
    );
}
