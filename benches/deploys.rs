//! What a deploy costs: time, disk, and requests.
//!
//! `cargo bench --bench deploys [-- --quick] [--built]`. The real server (release build) runs in a temporary directory and
//! deploys from a repository on the same disk, over loopback; beside it stands what one would do by hand: `git clone` and a
//! copy. Medians over the rounds are shown, with the least and the greatest. Everything stops by itself within minutes.
//! `--built` measures only the redeploy with an install command, in turn with a clone and a copy by hand. It is about files
//! that are made and removed, so the file system decides: ext4 without a journal passes over every inode that was freed in
//! the last minutes, and one mounted with `discard` waits for the disk at each removal. `TMPDIR` says where it runs.
//! The app is this program too (`serve`), so that its own start costs nothing that counts.
#![allow(clippy::print_stdout, clippy::print_stderr)]

#[path = "deploys/app.rs"]
mod app;
#[path = "deploys/calls.rs"]
mod calls;
#[path = "deploys/load.rs"]
mod load;
#[path = "product/mod.rs"]
mod product;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use calls::{act, configure, create, document, remove, visit};
use product::repository::{Repository, clean_git, must};
use product::server::{Server, open_to_all};

/// As many as releases are kept.
const CLONES: usize = 5;

/// How much is measured.
struct Effort {
    rounds: usize,
    files: usize,
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|word| word == "serve") {
        return app::serve();
    }
    let quick = words.iter().any(|word| word == "--quick");
    let effort = match quick {
        true => Effort {
            rounds: 3,
            files: 2_000,
        },
        false => Effort {
            rounds: 5,
            files: 10_000,
        },
    };
    let home = tempfile::Builder::new()
        .prefix("procserver-bench-")
        .tempdir()
        .expect("a temporary directory");
    open_to_all(home.path());
    let only_built = words.iter().any(|word| word == "--built");
    let program = home.path().join("app");
    let this = std::env::current_exe().expect("this program");
    std::fs::copy(this, &program).expect("a copy of this program");
    run(home.path(), &program, &effort, only_built);
}

fn run(home: &Path, program: &Path, effort: &Effort, only_built: bool) {
    let procfile = format!("web: exec {} serve\n", program.display());
    let large = Repository::new(&home.join("large"), &procfile, effort.files);
    let server = Server::start(&home.join("data"), &["--ports", "17000-17099"]);
    println!(
        "{} files in the repository, {} rounds\n",
        effort.files, effort.rounds
    );
    if only_built {
        server.deploy(&document("large", &large, &["true"]));
        return built_beside_by_hand(&server, home, &large, effort);
    }
    head();
    let small = Repository::new(&home.join("small"), &procfile, 0);
    first_answers(&server, &small, effort);
    by_hand(&home.join("clones"), &large);
    server.deploy(&document("large", &large, &[]));
    redeploys(&server, &large, "redeploy, the same commit", effort, false);
    redeploys(&server, &large, "redeploy, one line changed", effort, true);
    rollbacks(&server, effort);
    let releases = home.join("data/apps/large/releases");
    println!();
    disk(&releases, &home.join("clones"));
    configure(&server, &document("large", &large, &["true"]));
    println!();
    built_beside_by_hand(&server, home, &large, effort);
    println!();
    load::under(&server, &large, effort.rounds);
}

fn head() {
    println!(
        "{:<58}{:>10}{:>10}{:>10}",
        "milliseconds", "median", "least", "most"
    );
}

/// Redeploys with an install command and clones by hand in turn: a disk has better and worse minutes.
fn built_beside_by_hand(server: &Server, home: &Path, repository: &Repository, effort: &Effort) {
    let clones = home.join("beside");
    std::fs::create_dir(&clones).expect("a new directory");
    let (mut built, mut by_hand) = (Vec::new(), Vec::new());
    for round in 0..effort.rounds {
        by_hand.push(clone_and_copy(repository, &clones, round));
        repository.change_a_line();
        let began = Instant::now();
        act(server, "large", "redeploy");
        built.push(began.elapsed());
    }
    head();
    let built = row("redeploy, one line changed, with an install command", built);
    let by_hand = row("by hand, in turn: git clone and a copy of it", by_hand);
    let ratio = built.as_secs_f64() / by_hand.as_secs_f64();
    println!("{:<58}{ratio:>10.2}", "the one in terms of the other");
}

/// From POST to the first answer of a new app that has nothing to install.
fn first_answers(server: &Server, repository: &Repository, effort: &Effort) {
    let times = (0..effort.rounds).map(|round| {
        let name = format!("new-{round}");
        let began = Instant::now();
        create(server, &document(&name, repository, &[]));
        // It is held until the app is ready.
        while visit(server, &name) != 200 {}
        let took = began.elapsed();
        remove(server, &name);
        took
    });
    row(
        "POST of a new app to its first 200, nothing to install",
        times.collect(),
    );
}

/// The clones stay, to be weighed.
fn by_hand(clones: &Path, repository: &Repository) {
    std::fs::create_dir(clones).expect("a new directory");
    let times = (0..CLONES).map(|n| clone_and_copy(repository, clones, n));
    row("by hand: git clone and a copy of it", times.collect());
}

/// How long both take; the copy is removed.
fn clone_and_copy(repository: &Repository, clones: &Path, n: usize) -> Duration {
    let (clone, copy) = (clones.join(n.to_string()), clones.with_extension("copy"));
    let began = Instant::now();
    clone_to(repository, &clone);
    must(Command::new("cp").arg("-a").arg(&clone).arg(&copy));
    let took = began.elapsed();
    must(Command::new("rm").arg("-rf").arg(&copy));
    took
}

fn clone_to(repository: &Repository, directory: &Path) {
    let mut command = clean_git();
    must(
        command
            .args(["clone", "--quiet", &repository.url()])
            .arg(directory),
    );
}

fn redeploys(server: &Server, repository: &Repository, title: &str, effort: &Effort, change: bool) {
    let times = (0..effort.rounds).map(|_| {
        if change {
            repository.change_a_line();
        }
        let began = Instant::now();
        act(server, "large", "redeploy");
        began.elapsed()
    });
    row(title, times.collect());
}

fn rollbacks(server: &Server, effort: &Effort) {
    let times = (0..effort.rounds).map(|_| {
        let began = Instant::now();
        act(server, "large", "rollback");
        let took = began.elapsed();
        act(server, "large", "redeploy");
        took
    });
    row("rollback to the release before", times.collect());
}

fn disk(releases: &Path, clones: &Path) {
    let count = || {
        let entries = std::fs::read_dir(releases).expect("releases").flatten();
        entries.filter(|entry| entry.path().is_dir()).count()
    };
    // What is too much is removed after the answer.
    let until = Instant::now() + Duration::from_secs(10);
    while count() > CLONES && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50));
    }
    let kept = count();
    println!("disk, MiB (du, links counted once)");
    for (title, path) in [
        (format!("{kept} releases"), releases),
        (format!("{CLONES} clones"), clones),
    ] {
        println!("{:<58}{:>10}", format!("{title} of it"), mebibytes(path));
    }
}

fn mebibytes(directory: &Path) -> u64 {
    let output = Command::new("du").arg("-sk").arg(directory).output();
    let text = String::from_utf8(output.expect("du").stdout).expect("text");
    let kibibytes = text
        .split_whitespace()
        .next()
        .and_then(|n| n.parse::<u64>().ok());
    kibibytes.expect("a number") / 1024
}

/// Prints a row; the median.
fn row(title: &str, mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    let ms = |time: Duration| format!("{:.0}", time.as_secs_f64() * 1e3);
    let (least, most) = (times[0], times[times.len() - 1]);
    let median = times[times.len() / 2];
    println!(
        "{title:<58}{:>10}{:>10}{:>10}",
        ms(median),
        ms(least),
        ms(most)
    );
    median
}
