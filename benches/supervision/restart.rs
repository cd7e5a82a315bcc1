//! `restart`: from the end of a process to the first instruction of the next one.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::Effort;
use crate::ground::{Ground, send};
use crate::subject::now;
use crate::supervisor::{Kind, Supervisor};
use crate::wait::until;

/// What a process must have lived for its end to be no failed start, by the reckoning of all of them.
const SETTLED: Duration = Duration::from_millis(1500);

/// Longer than any of them waits.
const LONGEST: Duration = Duration::from_secs(10);

/// Each process is killed once: a second end soon after the first would be a crash loop, which procserver slows down.
pub(crate) fn run(ground: &Ground, effort: &Effort) {
    println!("\nrestart: ms from kill -9 of a process to the first instruction of the next one");
    println!(
        "{:<12}{:>10}{:>10}{:>10}{:>10}{:>10}",
        "", "median", "p90", "least", "most", "samples"
    );
    for kind in Kind::ALL {
        let Some(supervisor) = Supervisor::start(kind, effort.kills, ground) else {
            continue;
        };
        let mut delays = kill_each(&supervisor, effort.kills_within);
        delays.sort_by(f64::total_cmp);
        let at = |share: f64| delays[((delays.len() - 1) as f64 * share).round() as usize];
        let figures = [at(0.5), at(0.9), at(0.0), at(1.0)].map(|ms| format!("{ms:>10.2}"));
        println!(
            "{:<12}{}{:>10}",
            kind.name(),
            figures.concat(),
            delays.len()
        );
    }
}

/// Milliseconds for each.
fn kill_each(supervisor: &Supervisor, within: Duration) -> Vec<f64> {
    let mut known = supervisor.all_run();
    supervisor.all_ready();
    std::thread::sleep(SETTLED);
    let (victims, end) = (known.clone(), Instant::now() + within);
    let mut delays = Vec::new();
    for victim in victims {
        let killed = now();
        send(victim.pid, Signal::SIGKILL);
        known = until(LONGEST, "another process starts", || {
            Some(supervisor.stamps()).filter(|stamps| stamps.len() > known.len())
        });
        let next = known.last().expect("it is not empty");
        delays.push(next.at.saturating_sub(killed) as f64 / 1e6);
        if Instant::now() > end {
            break;
        }
    }
    delays
}
