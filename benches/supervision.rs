//! procserver beside supervisord, s6, runit and pm2: how soon a process is back, how long many take to start, what
//! watching them costs, and what a line of their output costs; beside rsyslog, what sending it on costs.
//!
//! `cargo bench --bench supervision [-- --quick] [-- --row NAME]…`, the rows being restart, start, idle, logs, drains and boot.
//! The peers are used where they are installed (Debian: `supervisor`, `s6`, `runit`, `daemontools`, `rsyslog`; npm: `pm2`) and
//! named where they are not; nothing is installed here. systemd would have to be the first process of the machine, so
//! it is not measured. Everything runs in a temporary directory and ends with it: what is left there is killed, by id.
//!
//! procserver runs as it does everywhere: as root its apps are of another user, which it switches to; the peers start
//! theirs as who they are themselves, which costs them less. What is supervised is this program again ([`subject`]).
#![allow(clippy::print_stdout, clippy::print_stderr)]

#[path = "supervision/boot.rs"]
mod boot;
#[path = "supervision/drains.rs"]
mod drains;
#[path = "supervision/ground.rs"]
mod ground;
#[path = "supervision/idle.rs"]
mod idle;
#[path = "supervision/lines.rs"]
mod lines;
#[path = "supervision/ours.rs"]
mod ours;
#[path = "supervision/peers.rs"]
mod peers;
#[path = "supervision/procfs.rs"]
mod procfs;
#[path = "supervision/restart.rs"]
mod restart;
#[path = "product/sites.rs"]
mod sites;
#[path = "supervision/start.rs"]
mod start;
#[path = "supervision/subject.rs"]
mod subject;
#[path = "supervision/supervisor.rs"]
mod supervisor;
#[path = "supervision/wait.rs"]
mod wait;

use std::time::Duration;

use ground::Ground;

/// How much is measured.
struct Effort {
    /// Processes that are killed, at most.
    kills: usize,
    /// How long killing them may take; supervisord takes a second for each.
    kills_within: Duration,
    /// Numbers of processes that are started.
    starts: &'static [usize],
    /// Numbers of processes that are watched while nothing happens.
    idle: &'static [usize],
    /// How long one is left alone before it counts as idle, and then is watched.
    settle: Duration,
    watch: Duration,
    /// Lines that are written.
    lines: u64,
    /// Applications that a server starts with.
    apps: usize,
}

const FULL: Effort = Effort {
    kills: 50,
    kills_within: Duration::from_secs(20),
    starts: &[1, 50, 200, 500],
    idle: &[0, 10, 100],
    settle: Duration::from_secs(11),
    watch: Duration::from_secs(10),
    lines: 1_000_000,
    apps: 1000,
};

const QUICK: Effort = Effort {
    kills: 20,
    kills_within: Duration::from_secs(2),
    starts: &[1, 50],
    idle: &[0, 100],
    settle: Duration::from_millis(500),
    watch: Duration::from_millis(1500),
    lines: 200_000,
    apps: 100,
};

/// A row: its name, and what measures and prints it.
type Row = (&'static str, fn(&Ground, &Effort));

const ROWS: [Row; 6] = [
    ("restart", restart::run),
    ("start", start::run),
    ("idle", idle::run),
    ("logs", lines::run),
    ("drains", drains::run),
    ("boot", boot::run),
];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if subject::run(&words) {
        return;
    }
    // Unknown words are cargo's own (`--bench`).
    let quick = words.iter().any(|word| word == "--quick");
    let named = words.windows(2).filter(|two| two[0] == "--row");
    let named: Vec<&String> = named.map(|two| &two[1]).collect();
    let effort = if quick { QUICK } else { FULL };
    let ground = Ground::new();
    for (name, run) in ROWS {
        if named.is_empty() || named.iter().any(|wanted| *wanted == name) {
            run(&ground, &effort);
        }
    }
}
