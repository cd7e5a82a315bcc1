//! [`Limiter`]: how many requests each address may make. All workers count in the same buckets.
//!
//! A bucket is one number: when it will be full again (the generic cell rate algorithm, ITU-T I.371, which is a token
//! bucket without a clock of its own). Buckets lie in sets of eight, and an address always falls into the same set: so
//! memory is bounded whoever comes, no request looks at more than eight of them, and two workers wait for each other
//! only where they count in one set.
//!
//! A new address takes the place of the bucket that is nearest to full, mostly one that is, of which forgetting changes
//! nothing. Whoever has used up his own and wants it forgotten needs eight other addresses in the same set, each of
//! which has asked as often as he did; which ones these are depends on a secret of each limiter.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::document::policies::rate::Rate;

const SETS: usize = 4096;
const WAYS: usize = 8;

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    of: u64,
    /// Nanoseconds after the limiter's start. Zero where there is none.
    full_at: u64,
}

type Set = [Bucket; WAYS];

/// Counts the requests of addresses: 32,768 at a time, in at most 650 KiB.
#[derive(Debug)]
pub struct Limiter {
    /// Nanoseconds until one more request is allowed.
    interval: u64,
    /// Nanoseconds until an empty bucket is full.
    whole: u64,
    start: Instant,
    hasher: RandomState,
    /// A set takes memory once an address fell into it.
    sets: Box<[OnceLock<Box<Mutex<Set>>>]>,
}

impl Limiter {
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        let per = u64::try_from(rate.per.as_nanos()).unwrap_or(u64::MAX);
        let interval = per.div_ceil(u64::from(rate.requests.max(1)));
        Self {
            interval,
            whole: interval.saturating_mul(u64::from(rate.burst.max(1))),
            start: Instant::now(),
            hasher: RandomState::new(),
            sets: (0..SETS).map(|_| OnceLock::new()).collect(),
        }
    }

    /// Counts a request of this address.
    ///
    /// # Errors
    /// It has made too many, and may make one after this time.
    pub fn take(&self, client: IpAddr) -> Result<(), Duration> {
        self.take_at(key(client), self.now())
    }

    /// Whether this address may make a request, which is not counted.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn look(&self, client: IpAddr) -> Result<(), Duration> {
        let (of, now) = (key(client), self.now());
        let Some(set) = self.sets[self.place(of)].get() else {
            return Ok(());
        };
        let set = *set.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = set.iter().find(|b| b.of == of).copied();
        taken(bucket.unwrap_or_default(), now, self.interval, self.whole).map(drop)
    }

    /// Counts a request of this address no longer, which [`Self::take`] did.
    pub fn give_back(&self, client: IpAddr) {
        let of = key(client);
        let Some(set) = self.sets[self.place(of)].get() else {
            return;
        };
        let mut set = set.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = set.iter_mut().find(|b| b.of == of) {
            bucket.full_at = bucket.full_at.saturating_sub(self.interval);
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn place(&self, of: u64) -> usize {
        usize::try_from(self.hasher.hash_one(of) % SETS as u64).unwrap_or(0)
    }

    fn take_at(&self, of: u64, now: u64) -> Result<(), Duration> {
        let set = self.sets[self.place(of)].get_or_init(Box::default);
        let mut set = set.lock().unwrap_or_else(PoisonError::into_inner);
        take_in(&mut set, of, now, self.interval, self.whole)
    }
}

/// An address as it is counted. Who has one address by IPv6 has a network of 2^64 of them, so these are one. IPv4 has
/// numbers that are no network of IPv6 in use (0:1::/32).
#[must_use]
pub fn key(client: IpAddr) -> u64 {
    match client.to_canonical() {
        IpAddr::V4(v4) => 1 << 32 | u64::from(v4.to_bits()),
        IpAddr::V6(v6) => u64::try_from(v6.to_bits() >> 64).unwrap_or(0),
    }
}

/// When a bucket is full again once a request is taken out of it `now`, or how long to wait for one.
fn taken(bucket: Bucket, now: u64, interval: u64, whole: u64) -> Result<u64, Duration> {
    let full_at = bucket.full_at.max(now).saturating_add(interval);
    match (full_at - now).checked_sub(whole) {
        None | Some(0) => Ok(full_at),
        Some(wait) => Err(Duration::from_nanos(wait)),
    }
}

fn take_in(set: &mut Set, of: u64, now: u64, interval: u64, whole: u64) -> Result<(), Duration> {
    let own = set.iter().position(|b| b.of == of && b.full_at > 0);
    let at = own.unwrap_or_else(|| {
        let nearest = set.iter().enumerate().min_by_key(|(_, b)| b.full_at);
        let (at, _) = nearest.unwrap_or((0, &set[0]));
        set[at] = Bucket { of, full_at: 0 };
        at
    });
    set[at].full_at = taken(set[at], now, interval, whole)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn v6(text: &str) -> u64 {
        key(text.parse().unwrap())
    }

    #[test]
    fn addresses_are_counted_by_networks_of_ipv6_and_one_by_one_of_ipv4() {
        assert_eq!(v6("2001:db8:1:2::1"), v6("2001:db8:1:2:ffff::9"));
        assert_ne!(v6("2001:db8:1:2::1"), v6("2001:db8:1:3::1"));
        assert_ne!(v6("192.0.2.1"), v6("192.0.2.2"));
        assert_eq!(v6("::ffff:192.0.2.1"), v6("192.0.2.1"));
        assert_ne!(v6("::1"), v6("0.0.0.0"));
    }

    #[test]
    fn the_burst_is_allowed_at_once_and_then_one_by_one() {
        let limiter = Limiter::new(Rate {
            burst: 3,
            ..Rate::parse("10/s").unwrap()
        });
        let at = |millis: u64| limiter.take_at(7, millis * 1_000_000);
        assert!((0..3).all(|_| at(0).is_ok()));
        assert_eq!(at(0), Err(Duration::from_millis(100)));
        assert_eq!(at(40), Err(Duration::from_millis(60)));
        assert!(at(100).is_ok() && at(100).is_err());
        assert!((0..3).all(|_| at(10_000).is_ok()) && at(10_000).is_err());
        assert!(limiter.take_at(8, 10_000_000_000).is_ok());
    }

    #[test]
    fn to_look_counts_nothing() {
        let limiter = Limiter::new(Rate::parse("1/h").unwrap());
        let client = [192, 0, 2, 1].into();
        assert!((0..3).all(|_| limiter.look(client).is_ok()));
        assert!(limiter.take(client).is_ok());
        assert!(limiter.look(client).is_err() && limiter.take(client).is_err());
    }

    #[test]
    fn what_is_given_back_counts_no_longer() {
        let limiter = Limiter::new(Rate::parse("2/h").unwrap());
        let (client, other) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        limiter.give_back(client);
        for _ in 0..10 {
            assert!(limiter.take(client).is_ok());
            limiter.give_back(client);
            limiter.give_back(other);
        }
        assert!((0..2).all(|_| limiter.take(client).is_ok()));
        assert!(limiter.take(client).is_err());
        limiter.give_back(client);
        assert!(limiter.take(client).is_ok() && limiter.take(client).is_err());
    }

    /// Whoever is over his rate stays so, whatever crowd of others asks once or twice.
    #[test]
    fn a_crowd_of_addresses_makes_no_bucket_forgotten_and_takes_bounded_memory() {
        let limiter = Limiter::new(Rate::parse("5/h").unwrap());
        assert!((0..5).all(|_| limiter.take_at(1, 0).is_ok()));
        for other in 0..10 * (SETS * WAYS) as u64 {
            let _ = limiter.take_at(1000 + other, other);
        }
        assert!(limiter.take_at(1, 1_000_000).is_err());
        assert!(limiter.sets.len() * (size_of::<Set>() + 32) < 700 * 1024);
    }

    proptest! {
        /// In no window of time are more allowed than the burst and what the rate gives.
        #[test]
        fn no_window_has_more_than_burst_and_rate(
            requests in 1u32..50,
            burst in 1u32..50,
            asked in proptest::collection::vec((0u64..6, 0u64..200_000_000), 1..400),
        ) {
            let rate = Rate { requests, per: Duration::from_secs(1), burst };
            let limiter = Limiter::new(rate);
            let (mut now, mut allowed) = (0, vec![Vec::new(); 6]);
            for (of, passed) in asked {
                now += passed;
                if limiter.take_at(of, now).is_ok() {
                    allowed[usize::try_from(of).unwrap()].push(now);
                }
            }
            for times in allowed {
                for (first, begin) in times.iter().enumerate() {
                    for (last, end) in times.iter().enumerate().skip(first) {
                        let most = u64::from(burst) + (end - begin) / limiter.interval;
                        prop_assert!((last - first + 1) as u64 <= most);
                    }
                }
            }
        }

        /// Who keeps to the rate is never refused.
        #[test]
        fn who_keeps_to_the_rate_is_never_refused(requests in 1u32..1000, count in 1u64..500) {
            let limiter = Limiter::new(Rate { requests, per: Duration::from_secs(1), burst: 1 });
            for n in 0..count {
                prop_assert!(limiter.take_at(3, n * limiter.interval).is_ok());
            }
        }
    }
}
