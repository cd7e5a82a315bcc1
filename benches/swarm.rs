//! procserver with an app on a swarm, beside nginx and `docker service update`: CPU per request, seconds of a deploy,
//! lost requests, and how long a dead machine is felt.
//!
//! `cargo bench --bench swarm [-- --quick] [-- --row NAME]…`; rows: `cpu`, `deploys`, `lost`, `death`. Two real engines
//! (Debian's docker.io) in network namespaces of this machine are one swarm; both sides run the same program there
//! (this one), two processes of it, one on each engine. As root. `docker-registry`, `nginx` and `wrk` are used where
//! they are installed. The daemon and nginx have core 0, the load and the app core 1. Everything stops by itself.
#![allow(clippy::print_stdout, clippy::print_stderr)]

#[path = "swarm/app.rs"]
mod app;
#[path = "proxy/cores.rs"]
mod cores;
#[path = "swarm/cpu.rs"]
mod cpu;
#[path = "swarm/death.rs"]
mod death;
#[path = "swarm/deploys.rs"]
mod deploys;
#[allow(dead_code, reason = "tests need more of it")]
#[path = "../tests/swarm/engines.rs"]
mod engines;
#[path = "../tests/swarm/kept_base.rs"]
mod kept_base;
#[path = "../tests/swarm/kernel.rs"]
mod kernel;
#[path = "swarm/ours.rs"]
mod ours;
#[path = "swarm/peer.rs"]
mod peer;
#[allow(dead_code, reason = "other benches need more of it")]
#[path = "product/mod.rs"]
mod product;
#[allow(dead_code, reason = "tests need more of it")]
#[path = "swarm/support.rs"]
mod support;
#[path = "swarm/visits.rs"]
mod visits;

use std::net::{SocketAddr, SocketAddrV4, TcpListener};
use std::time::Duration;

use engines::Engines;
use ours::Ours;
use peer::Peer;
use product::server::open_to_all;
use support::machine::has;

/// How much is measured.
struct Effort {
    rounds: usize,
    /// Whole seconds.
    load: Duration,
    deploys: usize,
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.first().map(String::as_str) {
        Some("serve") => app::serve(),
        Some("check") => app::check(),
        _ => compare(&words),
    }
}

/// Unknown words are cargo's own (`--bench`).
fn compare(words: &[String]) {
    let (rounds, load, deploys) = match words.iter().any(|word| word == "--quick") {
        true => (1, 2, 1),
        false => (5, 5, 5),
    };
    let effort = Effort {
        rounds,
        load: Duration::from_secs(load),
        deploys,
    };
    let rows: Vec<&str> = words
        .windows(2)
        .filter(|pair| pair[0] == "--row")
        .map(|pair| pair[1].as_str())
        .collect();
    let has_row = |name: &str| rows.is_empty() || rows.contains(&name);
    let home = tempfile::Builder::new()
        .prefix("procserver-bench-")
        .tempdir()
        .expect("a temporary directory");
    open_to_all(home.path());
    let program = home.path().join("program");
    let this = std::env::current_exe().expect("this program");
    // Without its symbols, so that the image is not large for them.
    product::repository::must(
        std::process::Command::new("strip")
            .arg("-o")
            .arg(&program)
            .arg(this),
    );
    cores::allow_many_files();
    cores::pin(cores::LOAD);
    let Some(mut engines) = Engines::start(2, "the bench of the swarm") else {
        return;
    };
    // A child has the core of the thread that starts it.
    cores::pin(cores::PROXY);
    let ours = Ours::start(home.path(), &engines, &program);
    let peer = Peer::start(home.path(), &engines, &program);
    cores::pin(cores::LOAD);
    let Some(peer) = peer else {
        return;
    };
    if has_row("cpu") && has("wrk", "wrk", "CPU per request") {
        let subjects = [
            (ours.door(), ours.server.child.id()),
            (peer.door(), peer.nginx.id()),
        ];
        cpu::print(cpu::compare(subjects, &effort));
    }
    if has_row("deploys") {
        deploys::print_switches(&engines, &ours, &peer, effort.rounds);
    }
    if has_row("lost") {
        deploys::print_lost(&engines, &ours, &peer, effort.deploys);
    }
    if has_row("death") {
        death::print(&mut engines, &ours, &peer);
    }
}

/// An address of this machine that the engines reach.
fn free_address(engines: &Engines) -> SocketAddr {
    let any = SocketAddrV4::new(engines.host(), 0);
    let listener = TcpListener::bind(any).expect("a port");
    listener.local_addr().expect("an address")
}
