//! `boot`: a server that starts with many applications, which are deployed already.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Effort;
use crate::ground::Ground;
use crate::ours::{Server, repository};
use crate::procfs;
use crate::sites;
use crate::wait::until;

/// Longer than it takes.
const LONGEST: Duration = Duration::from_secs(60);

/// Static sites: they have routes, files and patterns, and no processes, which are another row's.
pub(crate) fn run(ground: &Ground, effort: &Effort) {
    println!("\nboot: ms from the start of procserver with deployed static sites");
    println!(
        "{:>12}{:>12}{:>16}{:>12}{:>16}",
        "sites", "healthy", "all routed", "CPU", "resident KiB"
    );
    for sites in [1, effort.apps / 10, effort.apps] {
        let directory = ground.fresh("boot");
        let log = directory.join("log");
        deploy(&directory, &log, sites);
        let start = Instant::now();
        let server = Server::launch(&directory, &log);
        let ms = |start: Instant| start.elapsed().as_secs_f64() * 1e3;
        until(LONGEST, "it is healthy", || server.get("/healthz"));
        let healthy = ms(start);
        until(LONGEST, "all are routed", || {
            // Asking costs the server something, too.
            std::thread::sleep(Duration::from_millis(10));
            let routes: Value = serde_json::from_str(&server.get("/routes")?).ok()?;
            (routes.as_array()?.len() == sites).then_some(())
        });
        let routed = ms(start);
        // Host patterns are still being joined, perhaps.
        std::thread::sleep(Duration::from_secs(1));
        println!(
            "{sites:>12}{healthy:>12.0}{routed:>16.0}{:>12.0}{:>16}",
            procfs::cpu(server.pid).as_secs_f64() * 1e3,
            procfs::memory(&[server.pid]).resident
        );
    }
}

/// One site is deployed, the others are copies of its files.
fn deploy(directory: &Path, log: &Path, count: usize) {
    let url = repository(directory, &[("public/index.html", "<p>hello</p>\n")]);
    let document = json!({
        "name": "site-0", "repo": { "url": url }, "static": { "dir": "public" },
        "domain": ["^site-0\\.example\\.org$", "^www\\.site-0\\.(com|net)$"],
    });
    Server::start(directory, log).deploy(&document);
    sites::copy(directory, count);
}
