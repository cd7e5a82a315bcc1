//! [`ConnectionLimit`]: how many connections each address has, over all workers.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard};

/// Counts the connections of each address. An IPv6 network of 64 bits, which is what one customer is given, counts as
/// one address. Clones share the counts.
#[derive(Clone, Debug, Default)]
pub struct ConnectionLimit(Arc<Mutex<HashMap<IpAddr, usize>>>);

impl ConnectionLimit {
    /// Counts one more connection of `address` for as long as the visit lives. Returns `None` if the address has
    /// `most`.
    #[must_use]
    pub fn enter(&self, address: IpAddr, most: usize) -> Option<Visit> {
        let address = counted(address);
        let mut all = self.all();
        let count = all.entry(address).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        drop(all);
        Some(Visit {
            connection_limit: self.clone(),
            address,
        })
    }

    fn all(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// One connection. Dropping it takes it off the count.
#[derive(Debug)]
pub struct Visit {
    connection_limit: ConnectionLimit,
    address: IpAddr,
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut all = self.connection_limit.all();
        if let Entry::Occupied(mut count) = all.entry(self.address) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// Returns what an address counts as: IPv4 as itself, IPv6 as its network of 64 bits.
#[must_use]
pub fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_own_count_and_leaves_no_trace() {
        let connection_limit = ConnectionLimit::default();
        let enter = |address: &str| connection_limit.enter(address.parse().unwrap(), 2);
        let first = enter("192.0.2.1");
        let mapped = enter("::ffff:192.0.2.1");
        assert!(first.is_some() && mapped.is_some());
        assert!(enter("192.0.2.1").is_none());
        let other = enter("192.0.2.2");
        assert!(other.is_some());
        drop(mapped);
        assert!(enter("192.0.2.1").is_some());
        let network = [enter("2001:db8::1"), enter("2001:db8::2:1")];
        assert!(network.iter().all(Option::is_some));
        assert!(enter("2001:db8::3").is_none() && enter("2001:db8:0:1::1").is_some());
        drop((first, other, network));
        assert!(connection_limit.all().is_empty());
    }

    #[test]
    fn no_connection_at_all_may_be_allowed() {
        let connection_limit = ConnectionLimit::default();
        assert!(connection_limit.enter([127, 0, 0, 1].into(), 0).is_none());
    }
}
