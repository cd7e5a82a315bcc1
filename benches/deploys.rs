//! What a deploy costs: time, disk, and requests.
//!
//! `cargo bench --bench deploys [-- --quick]`. The real server (release build) runs in a temporary directory and deploys
//! from a repository on the same disk, over loopback; beside it stands what one would do by hand: `git clone` and a
//! copy. Medians over the rounds are shown, with the least and the greatest. Everything stops by itself within minutes.
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
    let program = home.path().join("app");
    let this = std::env::current_exe().expect("this program");
    std::fs::copy(this, &program).expect("a copy of this program");
    run(home.path(), &program, &effort);
}

fn run(home: &Path, program: &Path, effort: &Effort) {
    let procfile = format!("web: exec {} serve\n", program.display());
    let large = Repository::new(&home.join("large"), &procfile, effort.files);
    let small = Repository::new(&home.join("small"), &procfile, 0);
    let server = Server::start(&home.join("data"), &["--ports", "17000-17099"]);
    println!(
        "{} files in the repository, {} rounds\n",
        effort.files, effort.rounds
    );
    println!(
        "{:<58}{:>10}{:>10}{:>10}",
        "milliseconds", "median", "least", "most"
    );

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
    println!(
        "\n{:<58}{:>10}{:>10}{:>10}",
        "milliseconds", "median", "least", "most"
    );
    let title = "redeploy, one line changed, with an install command";
    let built = redeploys(&server, &large, title, effort, true);
    // Beside it in time: a disk has better and worse minutes.
    std::fs::remove_dir_all(home.join("clones")).expect("they were made");
    let by_hand = by_hand(&home.join("clones"), &large);
    let ratio = built.as_secs_f64() / by_hand.as_secs_f64();
    println!("{:<58}{ratio:>10.2}", "the one in terms of the other");
    println!();
    load::under(&server, &large, effort.rounds);
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

/// The clones stay, to be weighed. The median.
fn by_hand(clones: &Path, repository: &Repository) -> Duration {
    std::fs::create_dir(clones).expect("a new directory");
    let copy = clones.with_extension("copy");
    let times = (0..CLONES).map(|n| {
        let clone = clones.join(n.to_string());
        let began = Instant::now();
        clone_to(repository, &clone);
        must(Command::new("cp").arg("-a").arg(&clone).arg(&copy));
        let took = began.elapsed();
        must(Command::new("rm").arg("-rf").arg(&copy));
        took
    });
    row("by hand: git clone and a copy of it", times.collect())
}

fn clone_to(repository: &Repository, directory: &Path) {
    let mut command = clean_git();
    must(
        command
            .args(["clone", "--quiet", &repository.url()])
            .arg(directory),
    );
}

fn redeploys(
    server: &Server,
    repository: &Repository,
    title: &str,
    effort: &Effort,
    change: bool,
) -> Duration {
    let times = (0..effort.rounds).map(|_| {
        if change {
            repository.change_a_line();
        }
        let began = Instant::now();
        act(server, "large", "redeploy");
        began.elapsed()
    });
    row(title, times.collect())
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
