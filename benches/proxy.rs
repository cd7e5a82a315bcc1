//! procserver as it is shipped beside nginx, haproxy and a relay that looks at nothing: CPU per request and memory per
//! connection.
//!
//! `cargo bench --bench proxy [-- --quick] [-- --no-access-log] [-- --load NAME] [-- --row NAME]…`. Ours is
//! `procserver serve` with one worker, and its origin is an application that was deployed by the API; the peers stand
//! before the same program. Two loads: `kept` is this program's, with an origin that serves all connections on one
//! thread; `wrk` is wrk, with an origin that has a thread for each connection. Both speak TLS; `kept` can resume
//! sessions, too, and counts a handshake that is not of the kind that its row is about as an error. Everything runs on this machine over
//! loopback and stops by itself. Each proxy has core 0 for itself, the load and the origin share core 1. In every round
//! each row is run against each proxy in turn, so that whatever else the machine does hits all of them; medians over
//! the rounds are shown. CPU comes from `/proc/PID/stat`: of ours the daemon's with all its threads, of a peer its
//! children's, too. nginx, haproxy, wrk and h2load are used where they are installed (Debian: `nginx-light`, `haproxy`,
//! `wrk`, `nghttp2-client`); nothing is installed here.
#![allow(clippy::print_stdout, clippy::print_stderr)]

#[path = "proxy/certificates.rs"]
mod certificates;
#[path = "proxy/cores.rs"]
mod cores;
#[path = "proxy/http2.rs"]
mod http2;
#[path = "proxy/load.rs"]
mod load;
#[path = "proxy/measure.rs"]
mod measure;
#[path = "proxy/origin.rs"]
mod origin;
#[path = "proxy/ours.rs"]
mod ours;
#[path = "product/mod.rs"]
mod product;
#[path = "proxy/relay.rs"]
mod relay;
#[path = "proxy/report.rs"]
mod report;
#[path = "proxy/rows.rs"]
mod rows;
#[path = "product/sites.rs"]
mod sites;
#[path = "proxy/subject.rs"]
mod subject;
#[path = "proxy/tls.rs"]
mod tls;
#[path = "proxy/wrk.rs"]
mod wrk;

use std::process::{Command, Stdio};
use std::time::Duration;

use measure::Samples;
use origin::{Origin, Style};
use rows::{ROWS, Row};
use subject::{Kind, Setup, Subject};

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
    apps: usize,
    loads: Vec<String>,
    rows: Vec<String>,
}

impl Options {
    fn has_row(&self, name: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|r| r == name)
    }

    fn has_load(&self, name: &str) -> bool {
        self.loads.is_empty() || self.loads.iter().any(|l| l == name)
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.first().map(String::as_str) {
        Some("serve-origin") => origin::serve(&words[1..]),
        Some("serve-relay") => relay::serve(&words[1..]),
        _ => compare(&options(&words)),
    }
}

/// Unknown words are cargo's own (`--bench`).
fn options(words: &[String]) -> Options {
    let quick = words.iter().any(|w| w == "--quick");
    let (rounds, warm_up, round, apps) = if quick {
        (3, 100, 500, 100)
    } else {
        (5, 300, 1500, 1000)
    };
    let named = |word: &str| {
        let named = words.windows(2).filter(|w| w[0] == word);
        named.map(|w| w[1].clone()).collect()
    };
    Options {
        effort: Effort {
            rounds,
            warm_up: Duration::from_millis(warm_up),
            round: Duration::from_millis(round),
        },
        access_log: !words.iter().any(|w| w == "--no-access-log"),
        apps,
        loads: named("--load"),
        rows: named("--row"),
    }
}

fn compare(options: &Options) {
    cores::allow_many_files();
    cores::pin(cores::LOAD);
    if options.has_load("kept") {
        with_load(
            "load `kept`, an origin of one thread",
            Style::OneThread,
            options,
        );
    }
    if options.has_load("wrk") && is_there("wrk") {
        with_load(
            "load `wrk`, an origin with a thread for each connection",
            Style::Threads,
            options,
        );
    } else if options.has_load("wrk") {
        println!("wrk is missing: its table is left out");
    }
}

/// Whether a program is installed.
fn is_there(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdout(Stdio::null());
    command.stderr(Stdio::null()).status().is_ok()
}

fn with_load(title: &str, style: Style, options: &Options) {
    let directory = tempfile::Builder::new()
        .prefix("procserver-bench-")
        .tempdir()
        .expect("a temporary directory");
    product::server::open_to_all(directory.path());
    let origin = Origin::start(style);
    let setup = Setup {
        style,
        origin: &origin,
        directory: directory.path(),
        access_log: options.access_log,
        apps: options.apps,
    };
    let samples = all_rounds(&setup, options);
    report::print(title, &samples);
    if style == Style::Threads {
        return;
    }
    if options.has_row("memory") {
        report::print_memory("", &idle_memory(&setup, false));
    }
    if options.has_row("memory-tls") {
        report::print_memory(" by TLS", &idle_memory(&setup, true));
    }
    if options.has_row("certificates") {
        certificates::print_starts(directory.path());
    }
}

fn all_rounds(setup: &Setup, options: &Options) -> Samples {
    let has_h2load = is_there("h2load");
    let wants_h2load = http2::ROWS.iter().any(|row| options.has_row(row.name));
    if wants_h2load && !has_h2load && setup.style == Style::Threads {
        println!("h2load is missing: rows by HTTP/2 are left out");
    }
    let has_load = |row: &Row| match (row.http2, setup.style) {
        (true, style) => has_h2load && style == Style::Threads,
        (false, Style::OneThread) => true,
        (false, Style::Threads) => row.runs_with_wrk(),
    };
    let rows = || {
        let all = ROWS.iter().chain(&http2::ROWS);
        let named = all.filter(|row| options.has_row(row.name));
        named.filter(|row| has_load(row))
    };
    let needed = Kind::ALL
        .into_iter()
        .filter(|kind| rows().any(|row| row.runs_on(*kind)));
    let subjects: Vec<Subject> = needed
        .filter_map(|kind| Subject::start(kind, setup))
        .collect();
    for row in rows() {
        for subject in subjects.iter().filter(|s| row.runs_on(s.kind)) {
            measure::check(subject, row);
        }
    }
    let mut samples = Samples::default();
    for round in 1..=options.effort.rounds {
        eprintln!("round {round} of {}", options.effort.rounds);
        for row in rows() {
            for subject in subjects.iter().filter(|s| row.runs_on(s.kind)) {
                let first = round == 1;
                let sample = measure::sample(subject, row, setup.style, &options.effort, first);
                samples.add(row.name, subject.kind, sample);
            }
        }
    }
    samples
}

/// KiB per idle keep-alive connection, each in a fresh process; with `by_tls`, by HTTPS.
fn idle_memory(setup: &Setup, by_tls: bool) -> Vec<(Kind, f64)> {
    let tls = by_tls.then(|| tls::Tls::of(&ROWS[0]));
    let kinds = [Kind::Ours, Kind::Nginx, Kind::Haproxy];
    let subjects = kinds
        .into_iter()
        .filter_map(|kind| Subject::start(kind, setup));
    subjects
        .map(|subject| {
            let kib = measure::idle_memory(&subject, IDLE_CONNECTIONS, tls.as_ref());
            (subject.kind, kib)
        })
        .collect()
}
