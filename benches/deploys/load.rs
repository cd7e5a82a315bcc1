//! Requests at a steady rate while the app is redeployed: none may be lost.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::calls::act;
use crate::product::http::Connection;
use crate::product::repository::Repository;
use crate::product::server::Server;

/// Connections that are kept.
const CLIENTS: usize = 8;

/// Between two requests of one connection: together some 800 a second.
const PAUSE: Duration = Duration::from_millis(10);

/// What the clients saw.
#[derive(Default)]
struct Seen {
    latencies: Vec<Duration>,
    lost: usize,
}

/// Redeploys so many times under load, and says what the clients saw; before that, the same without a redeploy.
pub(crate) fn under(server: &Server, repository: &Repository, redeploys: usize) {
    println!(
        "{:<58}{:>10}{:>10}{:>10}{:>10}{:>8}",
        "latency, ms", "requests", "median", "99 %", "most", "lost"
    );
    let idle = during(server, || std::thread::sleep(Duration::from_secs(3)));
    report("nothing else at work", idle);
    let busy = during(server, || {
        for _ in 0..redeploys {
            repository.change_a_line();
            act(server, "large", "redeploy");
        }
    });
    report(&format!("during {redeploys} redeploys"), busy);
}

fn during(server: &Server, work: impl FnOnce()) -> Seen {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| scope.spawn(|| client(server, &over)))
            .collect();
        work();
        over.store(true, Ordering::Relaxed);
        let mut all = Seen::default();
        for client in clients {
            let seen = client.join().expect("a client does not panic");
            all.latencies.extend(seen.latencies);
            all.lost += seen.lost;
        }
        all
    })
}

fn client(server: &Server, over: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    let mut connection = None;
    while !over.load(Ordering::Relaxed) {
        let began = Instant::now();
        let answer = match &mut connection {
            None => Connection::open(server.address).and_then(|mut fresh| {
                let answer = fresh.send("GET", "/large/", &[], "");
                connection = Some(fresh);
                answer
            }),
            Some(kept) => kept.send("GET", "/large/", &[], ""),
        };
        seen.latencies.push(began.elapsed());
        if !matches!(answer, Ok((200, _))) {
            seen.lost += 1;
            connection = None;
        }
        std::thread::sleep(PAUSE);
    }
    seen
}

fn report(title: &str, mut seen: Seen) {
    seen.latencies.sort_unstable();
    let at = |part: f64| {
        let index = (seen.latencies.len() as f64 * part) as usize;
        let found = seen.latencies.get(index.min(seen.latencies.len() - 1));
        format!("{:.1}", found.map_or(0.0, |time| time.as_secs_f64() * 1e3))
    };
    let (requests, lost) = (seen.latencies.len(), seen.lost);
    let (median, most) = (at(0.5), at(1.0));
    println!(
        "{title:<58}{requests:>10}{median:>10}{:>10}{most:>10}{lost:>8}",
        at(0.99)
    );
}
