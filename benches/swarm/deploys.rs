//! How long deploys take until only the new version is answered, and the requests that they lose.

use std::time::{Duration, Instant};

use crate::engines::Engines;
use crate::ours::Ours;
use crate::peer::Peer;
use crate::visits::{self, Door, Visit};

/// How long is looked on after a deploy is done: nginx leaves alone for a second who has failed.
const AFTER: Duration = Duration::from_secs(3);

/// Visitors of one that is deployed under load.
const VISITORS: usize = 8;

/// Prints the seconds from the command to the last answer that was not of the new version.
pub(crate) fn print_switches(engines: &Engines, ours: &Ours, peer: &Peer, rounds: usize) {
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..rounds {
        times[0].push(switch(ours.door(), || ours.redeploy()));
        times[1].push(switch(ours.door(), || ours.roll_back()));
        times[2].push(switch(peer.quick_door(), || {
            peer.update(engines, "0s");
        }));
    }
    println!("\nSeconds from the command until only the new version is answered:\n");
    println!("| | median | least | most |\n|---|---|---|---|");
    let titles = [
        "procserver: redeploy after a change of one line",
        "procserver: rollback, the image there already",
        "`docker service update`, the image there already",
    ];
    for (title, mut times) in titles.into_iter().zip(times) {
        times.sort_unstable();
        let seconds = |time: Duration| format!("{:.2}", time.as_secs_f64());
        let (least, most) = (seconds(times[0]), seconds(times[times.len() - 1]));
        println!(
            "| {title} | {} | {least} | {most} |",
            seconds(times[times.len() / 2])
        );
    }
}

fn switch(door: Door, deploy: impl FnOnce()) -> Duration {
    let began = Instant::now();
    let visits = visits::during(door, 1, || {
        deploy();
        std::thread::sleep(AFTER);
    });
    let new = &visits.last().expect("it was visited").version;
    assert!(new.is_some(), "the new version does not answer");
    let (first, last) = (
        &visits[0].version,
        visits.iter().rfind(|v| v.version != *new),
    );
    assert_ne!(first, new, "it was not the old version before");
    last.expect("the first one").ended - began
}

/// Prints what is lost of requests under load, while each is deployed so many times.
pub(crate) fn print_lost(engines: &Engines, ours: &Ours, peer: &Peer, deploys: usize) {
    let of_ours = visits::during(ours.door(), VISITORS, || {
        (0..deploys).for_each(|_| ours.redeploy());
    });
    let of_peer = |door, delay| {
        visits::during(door, VISITORS, || {
            (0..deploys).for_each(|_| peer.update(engines, delay));
        })
    };
    let plain = of_peer(peer.door(), "0s");
    let tuned = of_peer(peer.quick_door(), "3s");
    println!(
        "\nRequests during {deploys} deploys, {VISITORS} at a time, each 20 ms of work, every other one a POST:\n"
    );
    println!("| | requests | lost | slowest |\n|---|---|---|---|");
    for (name, visits) in [
        ("procserver", of_ours),
        ("`docker service update` behind nginx", plain),
        (
            "the same, tuned: `--update-delay 3s`, `fail_timeout=1s`",
            tuned,
        ),
    ] {
        let lost = visits
            .iter()
            .filter(|visit| visit.version.is_none())
            .count();
        let slowest = visits.iter().map(Visit::took).max().unwrap_or_default();
        println!(
            "| {name} | {} | {lost} | {:.2} s |",
            visits.len(),
            slowest.as_secs_f64()
        );
    }
}
