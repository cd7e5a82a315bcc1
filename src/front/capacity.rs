//! [`Capacity`]: how many connections of clients there may be.

use super::settings::Limits;

/// File descriptors kept back for everything but clients: processes and their logs, the API's socket, connections to
/// apps.
const KEPT_BACK: u64 = 512;

/// Descriptors that the server has open before the first client: listeners, logs, epoll and event descriptors.
const OWN: u64 = 32;
const OWN_OF_WORKER: u64 = 8;

/// Descriptors that one application takes while it is deployed: its process and logs, git and its pipes.
const APPLICATION: u64 = 15;

/// Returns the fewest descriptors with which a server works at all.
#[must_use]
pub fn least(workers: usize, listeners: usize) -> u64 {
    OWN + OWN_OF_WORKER * workers.max(1) as u64 + listeners as u64 + APPLICATION
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    pub total: usize,
    pub per_worker: usize,
    /// At most half of all, or one address could keep everybody else out.
    pub per_address: usize,
}

impl Capacity {
    /// Allows what `limits` say, as far as that leaves enough `descriptors` for everything else. `None` is no limit.
    #[must_use]
    pub fn of(limits: &Limits, workers: usize, descriptors: Option<u64>) -> Self {
        let workers = workers.max(1);
        let own = OWN + OWN_OF_WORKER * workers as u64;
        let for_clients = descriptors.map_or(u64::MAX, |all| {
            let kept = (all / 4).max(KEPT_BACK).min(all / 2);
            // Among few descriptors those that are open anyway count, and each client needs a connection to its app.
            let few = if all < 2 * KEPT_BACK {
                all.saturating_sub(own) / 2
            } else {
                all
            };
            (all - kept).min(few)
        });
        let wanted = limits.connections.saturating_mul(workers);
        let total = usize::try_from(for_clients)
            .unwrap_or(usize::MAX)
            .min(wanted)
            .max(1);
        Self {
            total,
            per_worker: limits.connections.max(1),
            per_address: limits.connections_per_address.min((total / 2).max(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(connections: usize, per_address: usize, workers: usize, all: Option<u64>) -> Capacity {
        let limits = Limits {
            head: 1,
            body: 1,
            headers: 1,
            connections,
            connections_per_address: per_address,
            buffer: 1,
        };
        Capacity::of(&limits, workers, all)
    }

    #[test]
    fn descriptors_are_kept_back_and_nobody_has_more_than_half() {
        for (workers, all, total) in [
            (2, None, 20_000),
            (2, Some(65_536), 20_000),
            (8, Some(65_536), 49_152),
            (2, Some(4096), 3072),
            (2, Some(1024), 512),
            (2, Some(256), 104),
            (2, Some(64), 8),
            (2, Some(16), 1),
            (2, Some(0), 1),
        ] {
            let room = room(10_000, 10_000, workers, all);
            assert_eq!(
                (room.total, room.per_address),
                (total, (total / 2).clamp(1, 10_000)),
                "{all:?}"
            );
        }
        assert_eq!(room(10, 3, 2, None).per_address, 3);
        assert_eq!(room(1, 9, 1, None).per_address, 1);
    }

    #[test]
    fn something_is_always_kept_back() {
        for all in 1024..10_000 {
            assert!(
                room(1_000_000, 1, 4, Some(all)).total as u64 + 512 <= all,
                "{all}"
            );
        }
    }
}
