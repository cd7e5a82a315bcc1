//! How long requests suffer after a machine has lost its power.

use std::time::{Duration, Instant};

use crate::engines::Engines;
use crate::ours::Ours;
use crate::peer::Peer;
use crate::visits::{self, Visit};

/// Requests before the machine dies, and how long is looked on after that.
const BEFORE: Duration = Duration::from_secs(1);
const AFTER: Duration = Duration::from_secs(60);

const VISITORS: usize = 4;

/// An answer that took longer is no good one.
const SLOW: Duration = Duration::from_secs(1);

/// Kills the second machine under load of both at the same time, and prints when the last request suffered.
pub(crate) fn print(engines: &mut Engines, ours: &Ours, peer: &Peer) {
    let (of_ours, of_peer) = (ours.door(), peer.door());
    let mut died = Instant::now();
    let mut seen_by_peer = Vec::new();
    let seen_by_ours = visits::during(of_ours, VISITORS, || {
        seen_by_peer = visits::during(of_peer, VISITORS, || {
            std::thread::sleep(BEFORE);
            died = Instant::now();
            engines.kill(2);
            std::thread::sleep((died + AFTER).saturating_duration_since(Instant::now()));
        });
    });
    println!("\nOne of two machines loses its power, {VISITORS} requests at a time:\n");
    println!(
        "| | requests | failed | answered after more than 1 s | the last of both kinds ended, s |"
    );
    println!("|---|---|---|---|---|");
    for (name, visits) in [
        ("procserver", &seen_by_ours),
        ("nginx, `proxy_connect_timeout 5s`", &seen_by_peer),
    ] {
        print_row(name, visits, died);
    }
}

fn print_row(name: &str, visits: &[Visit], died: Instant) {
    let failed = |visit: &&Visit| visit.version.is_none();
    let slow = |visit: &&Visit| visit.version.is_some() && visit.took() > SLOW;
    let last = visits.iter().rfind(|v| failed(v) || slow(v));
    let last = last.map_or(Duration::ZERO, |v| v.ended.saturating_duration_since(died));
    println!(
        "| {name} | {} | {} | {} | {:.1} |",
        visits.len(),
        visits.iter().filter(failed).count(),
        visits.iter().filter(slow).count(),
        last.as_secs_f64()
    );
}
