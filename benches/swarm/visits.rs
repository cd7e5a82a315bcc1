//! Visitors of an app: what each of their requests came to.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::product::http::Connection;

/// Between two requests of one visitor.
const PAUSE: Duration = Duration::from_millis(5);

/// One request, and how it ended.
pub(crate) struct Visit {
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
    /// `None`: it was not answered with 200.
    pub(crate) version: Option<String>,
}

impl Visit {
    pub(crate) fn took(&self) -> Duration {
        self.ended - self.began
    }
}

/// What is visited: a proxy, and the path of the app there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    pub(crate) path: &'static str,
}

/// What so many visitors saw during `work`, sorted by the ends. Each has a connection that is kept, and every other
/// request of it is a POST.
pub(crate) fn during(door: Door, visitors: usize, work: impl FnOnce()) -> Vec<Visit> {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let visitors: Vec<_> = (0..visitors)
            .map(|_| scope.spawn(|| visitor(door, &is_over)))
            .collect();
        work();
        is_over.store(true, Ordering::Relaxed);
        let seen = visitors.into_iter().flat_map(|visitor| {
            let seen = visitor.join();
            seen.expect("a visitor does not panic")
        });
        let mut seen: Vec<Visit> = seen.collect();
        seen.sort_by_key(|visit| visit.ended);
        seen
    })
}

fn visitor(door: Door, is_over: &AtomicBool) -> Vec<Visit> {
    let target = format!("{}work", door.path);
    let mut seen = Vec::new();
    let mut kept: Option<Connection> = None;
    while !is_over.load(Ordering::Relaxed) {
        let (method, body) = match seen.len() % 2 {
            0 => ("GET", ""),
            _ => ("POST", "one"),
        };
        let began = Instant::now();
        let opened = kept
            .take()
            .map_or_else(|| Connection::open(door.address), Ok);
        let answer = opened.and_then(|mut connection| {
            let answer = connection.send(method, &target, &[], body)?;
            kept = Some(connection);
            Ok(answer)
        });
        let version = match answer {
            Ok((200, text)) => Some(text.trim().to_owned()),
            _ => None,
        };
        seen.push(Visit {
            began,
            ended: Instant::now(),
            version,
        });
        if seen.last().is_some_and(|visit| visit.version.is_none()) {
            kept = None;
        }
        std::thread::sleep(PAUSE);
    }
    seen
}
