//! `start`: from the start of a supervisor until all its processes run.

use crate::Effort;
use crate::ground::Ground;
use crate::procfs;
use crate::subject::now;
use crate::supervisor::{Kind, Supervisor};

/// The CPU time is that of the supervisor and of what it started, up to when all are ready.
pub(crate) fn run(ground: &Ground, effort: &Effort) {
    println!(
        "\nstart: ms from the start of the supervisor to the first instruction of the last process, until it says that all\n\
         are up (procserver and supervisord: alive for a second), and CPU of all of it"
    );
    println!(
        "{:<12}{:>10}{:>12}{:>12}{:>12}{:>16}",
        "", "processes", "last runs", "all up", "CPU", "CPU a process"
    );
    for processes in effort.starts {
        for kind in [Kind::Ours, Kind::Supervisord, Kind::S6, Kind::Runit] {
            if let Some(supervisor) = Supervisor::start(kind, *processes, ground) {
                print(&supervisor, *processes);
            }
        }
    }
}

fn print(supervisor: &Supervisor, processes: usize) {
    let last = supervisor.all_run().last().map_or(0, |stamp| stamp.at);
    supervisor.all_ready();
    let since = |at: u64| at.saturating_sub(supervisor.started) as f64 / 1e6;
    let (last, ready) = (since(last), since(now()).max(since(last)));
    let cpu = procfs::tree(supervisor.pid).into_iter().map(procfs::cpu);
    let cpu = cpu.sum::<std::time::Duration>().as_secs_f64() * 1e3;
    println!(
        "{:<12}{processes:>10}{last:>12.0}{ready:>12.0}{cpu:>12.0}{:>16.2}",
        supervisor.kind.name(),
        cpu / processes as f64
    );
}
