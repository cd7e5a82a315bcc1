//! [`FailedLogins`]: counts wrong tokens by address and locks an address out that sends too many (pure).
//!
//! After ten wrong tokens in a minute every request with a token from that address is refused until the minute is over,
//! with the right token too: otherwise the answer would tell a hit from a guess. The Unix socket asks for no token, so
//! nobody can lock out the machine's own users.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::tally::PERIOD;

/// Failures of one address in a [`PERIOD`], after which it must wait.
const MOST: u32 = 10;

/// Addresses that are remembered. When there are more, the one that failed first is forgotten.
const ADDRESSES: usize = 4096;

/// Lines about failures that the log gets in a [`PERIOD`], for all addresses together.
const LINES: u32 = 100;

/// Wrong tokens by address. An IPv6 address counts as its network of 64 bits, which is what one customer is given.
#[derive(Debug, Default)]
pub struct FailedLogins {
    by_address: HashMap<IpAddr, Failures>,
    told: Option<Failures>,
    untold: u64,
    /// All since the server's start.
    total: u64,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    since: Instant,
    count: u32,
}

impl Failures {
    fn left(&self, now: Instant) -> Duration {
        PERIOD.saturating_sub(now.saturating_duration_since(self.since))
    }
}

/// Whether the log says something about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Carries how many failures before this one were left out.
    Now(u64),
    /// There were too many lines in this minute.
    Later,
}

impl FailedLogins {
    /// Returns how long this address is locked out, `None` when it is not.
    #[must_use]
    pub fn waits(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let failures = self.by_address.get(&address)?;
        let left = failures.left(now);
        (failures.count >= MOST && !left.is_zero()).then_some(left)
    }

    /// How often somebody failed since the server's start.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Counts a failure of this address.
    pub fn count(&mut self, address: IpAddr, now: Instant) -> Told {
        self.total += 1;
        if !self.by_address.contains_key(&address) && self.by_address.len() >= ADDRESSES {
            self.make_room(now);
        }
        let fresh = Failures {
            since: now,
            count: 0,
        };
        let failures = self.by_address.entry(address).or_insert(fresh);
        if failures.left(now).is_zero() {
            *failures = fresh;
        }
        failures.count = failures.count.saturating_add(1);
        self.tell(now)
    }

    /// Counts a request that was refused unread.
    pub fn refuse(&mut self, now: Instant) -> Told {
        self.tell(now)
    }

    fn tell(&mut self, now: Instant) -> Told {
        let told = self.told.filter(|told| !told.left(now).is_zero());
        let mut told = told.unwrap_or(Failures {
            since: now,
            count: 0,
        });
        told.count += 1;
        let says = told.count <= LINES;
        if says {
            self.told = Some(told);
            return Told::Now(std::mem::take(&mut self.untold));
        }
        self.untold += 1;
        Told::Later
    }

    fn make_room(&mut self, now: Instant) {
        self.by_address
            .retain(|_, failures| !failures.left(now).is_zero());
        if self.by_address.len() >= ADDRESSES {
            let oldest = self
                .by_address
                .iter()
                .min_by_key(|(_, failures)| failures.since);
            let oldest = oldest.map(|(address, _)| *address);
            oldest.map(|address| self.by_address.remove(&address));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from(number).into()
    }

    #[test]
    fn ten_in_a_minute_and_the_address_waits_until_it_is_over() {
        let (mut all, begin) = (FailedLogins::default(), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        for second in 0..10 {
            assert_eq!(all.waits(address(1), at(second)), None);
            all.count(address(1), at(second));
        }
        assert_eq!(all.waits(address(1), at(10)), Some(Duration::from_secs(50)));
        assert_eq!(all.waits(address(2), at(10)), None);
        assert_eq!(all.waits(address(1), at(60)), None);
        all.count(address(1), at(60));
        assert_eq!(all.waits(address(1), at(61)), None, "it begins anew");
    }

    #[test]
    fn memory_and_lines_are_bounded() {
        let (mut all, now) = (FailedLogins::default(), Instant::now());
        let told = (0..20_000).filter(|n| all.count(address(*n), now) == Told::Now(0));
        assert_eq!(told.count(), 100);
        assert_eq!((all.by_address.len(), all.total()), (ADDRESSES, 20_000));
        let later = now + PERIOD;
        assert_eq!(all.count(address(30_000), later), Told::Now(19_900));
        assert_eq!(all.by_address.len(), 1, "what is over is forgotten first");
    }
}
