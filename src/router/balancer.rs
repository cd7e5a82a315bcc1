//! Chooses the backend of an app that gets a request: the less loaded of two picked at random.
//!
//! "The power of two choices" (Mitzenmacher 2001) is nearly as even as to ask all of them, and workers that do not know
//! of each other's choices do not all run to the same backend.

use super::address::Address;
use super::backend::{Backend, Lease};

/// Begins a row of random numbers.
#[must_use]
pub fn random_seed() -> u64 {
    getrandom::u64().unwrap_or(0x9e37_79b9_7f4a_7c15) | 1
}

/// Returns the next of a row of random numbers: xorshift64 (Marsaglia 2003). Balancing needs it even, not secret.
#[must_use]
pub fn next_random(mut random: u64) -> u64 {
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    random
}

/// Chooses a backend and counts the request on it. A closed one drains, and a table without it is on its way.
#[must_use]
pub fn take(
    backends: &[Backend],
    mut avoid: Vec<Address>,
    random: u64,
) -> Option<(Backend, Lease)> {
    loop {
        let backend = choose(backends, &avoid, random)?;
        match Lease::take(&backend.load) {
            Some(lease) => return Some((backend.clone(), lease)),
            None => avoid.push(backend.address.clone()),
        }
    }
}

/// Returns the backend with fewer outstanding requests of two that `random` picks. It passes over those to `avoid`,
/// which just refused a connection, even if no other is left.
#[must_use]
pub fn choose<'a>(backends: &'a [Backend], avoid: &[Address], random: u64) -> Option<&'a Backend> {
    if avoid.is_empty() {
        return less_loaded(backends.len(), |at| &backends[at], random);
    }
    let left: Vec<&Backend> = backends
        .iter()
        .filter(|b| !avoid.contains(&b.address))
        .collect();
    less_loaded(left.len(), |at| left[at], random)
}

fn less_loaded<'a>(
    count: usize,
    at: impl Fn(usize) -> &'a Backend,
    random: u64,
) -> Option<&'a Backend> {
    match count {
        0 => None,
        1 => Some(at(0)),
        _ => {
            let (first, second) = two_of(count, random);
            let (first, second) = (at(first), at(second));
            Some(if second.load.outstanding() < first.load.outstanding() {
                second
            } else {
                first
            })
        }
    }
}

/// Returns two different numbers below `count`, which is at least 2, from the two halves of `random`.
fn two_of(count: usize, random: u64) -> (usize, usize) {
    let below =
        |bits: u64, n: usize| usize::try_from(((bits & 0xffff_ffff) * n as u64) >> 32).unwrap_or(0);
    let first = below(random, count);
    let second = below(random >> 32, count - 1);
    (first, if second >= first { second + 1 } else { second })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::router::backend::Load;

    fn backends(count: u16) -> Vec<Backend> {
        (0..count)
            .map(|n| Backend {
                process: format!("web.{n}").into(),
                release: 1,
                address: std::net::SocketAddr::from(([127, 0, 0, 1], 8000 + n)).into(),
                load: Arc::new(Load::default()),
            })
            .collect()
    }

    proptest! {
        #[test]
        fn the_two_are_different_and_exist(count in 2usize..200, random: u64) {
            let (a, b) = two_of(count, random);
            prop_assert!(a < count && b < count && a != b);
        }

        #[test]
        fn of_two_the_less_loaded_is_chosen(random: u64) {
            let two = backends(2);
            let _lease = Lease::new(&two[1].load);
            let address = choose(&two, &[], random).map(|b| &b.address);
            prop_assert_eq!(address, Some(&two[0].address));
        }

        #[test]
        fn one_that_refused_is_not_chosen_again(count in 1u16..5, random: u64) {
            let all = backends(count);
            let chosen = choose(&all, &[all[0].address.clone()], random);
            prop_assert!(chosen.is_none_or(|b| b.address != all[0].address));
            prop_assert_eq!(chosen.is_none(), count == 1);
        }
    }

    #[test]
    fn with_none_there_is_none() {
        assert!(choose(&[], &[], 7).is_none());
    }
}
