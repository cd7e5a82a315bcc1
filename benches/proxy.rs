//! procserver's front end beside nginx, haproxy and a relay that looks at nothing: CPU per request and memory per
//! connection.
//!
//! `cargo bench --bench proxy [-- --quick] [-- --no-access-log] [-- --row NAME]…`. Everything runs on this machine over
//! loopback and stops by itself. Each proxy has core 0 for itself, the load and the origin share core 1. In every round
//! each row is run against each proxy in turn, so that whatever else the machine does hits all of them; medians over
//! the rounds are shown. CPU comes from `/proc/PID/stat`, with all threads and children. nginx and haproxy are used
//! where they are installed (Debian: `nginx-light`, `haproxy`); nothing is installed here.
#![allow(clippy::print_stdout, clippy::print_stderr)]

#[path = "proxy/cores.rs"]
mod cores;
#[path = "proxy/front.rs"]
mod front;
#[path = "proxy/load.rs"]
mod load;
#[path = "proxy/measure.rs"]
mod measure;
#[path = "proxy/origin.rs"]
mod origin;
#[path = "proxy/relay.rs"]
mod relay;
#[path = "proxy/report.rs"]
mod report;
#[path = "proxy/rows.rs"]
mod rows;
#[path = "proxy/subject.rs"]
mod subject;

use std::net::SocketAddr;
use std::time::Duration;

use measure::Samples;
use rows::ROWS;
use subject::{Kind, Subject};

/// Connections that are opened and left idle to see what one takes.
const IDLE_CONNECTIONS: usize = 1000;

/// How long and how often is measured.
struct Effort {
    rounds: usize,
    warm_up: Duration,
    round: Duration,
}

/// What the command line asks for.
struct Options {
    effort: Effort,
    access_log: bool,
    rows: Vec<String>,
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.first().map(String::as_str) {
        Some("serve-front") => front::serve(&words[1..]),
        Some("serve-relay") => relay::serve(&words[1..]),
        _ => compare(&options(words)),
    }
}

/// Unknown words are cargo's own (`--bench`).
fn options(words: Vec<String>) -> Options {
    let quick = words.iter().any(|w| w == "--quick");
    let (rounds, warm_up, round) = if quick { (3, 200, 500) } else { (5, 500, 2000) };
    let named = words.windows(2).filter(|w| w[0] == "--row");
    Options {
        effort: Effort {
            rounds,
            warm_up: Duration::from_millis(warm_up),
            round: Duration::from_millis(round),
        },
        access_log: !words.iter().any(|w| w == "--no-access-log"),
        rows: named.map(|w| w[1].clone()).collect(),
    }
}

fn compare(options: &Options) {
    cores::allow_many_files();
    cores::pin(cores::LOAD);
    let origin = origin::start();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let start = |kind| Subject::start(kind, origin, directory.path(), options.access_log);
    let kinds = Kind::ALL.into_iter();
    let subjects: Vec<Subject> = kinds.filter_map(start).collect();
    let mut samples = Samples::default();
    let wanted = |name: &str| options.rows.is_empty() || options.rows.iter().any(|r| r == name);
    for round in 1..=options.effort.rounds {
        eprintln!("round {round} of {}", options.effort.rounds);
        for row in ROWS.iter().filter(|row| wanted(row.name)) {
            for subject in subjects.iter().filter(|s| row.runs_on(s.kind)) {
                let sample = measure::sample(subject, row, &options.effort);
                samples.add(row.name, subject.kind, sample);
            }
        }
    }
    drop(subjects);
    let memory = if wanted("memory") {
        idle_memory(origin, directory.path(), options.access_log)
    } else {
        Vec::new()
    };
    report::print(&samples, &memory);
}

/// KiB per idle keep-alive connection, each in a fresh process.
fn idle_memory(
    origin: SocketAddr,
    directory: &std::path::Path,
    access_log: bool,
) -> Vec<(Kind, f64)> {
    let kinds = [Kind::Front, Kind::Nginx, Kind::Haproxy];
    let subjects = kinds
        .into_iter()
        .filter_map(|kind| Subject::start(kind, origin, directory, access_log));
    subjects
        .map(|subject| {
            let kib = measure::idle_memory(&subject, IDLE_CONNECTIONS);
            (subject.kind, kib)
        })
        .collect()
}
