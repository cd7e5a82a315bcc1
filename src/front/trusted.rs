//! Networks whose forwarding fields are believed (pure).

use std::net::IpAddr;

/// An address or a network, as `ADDRESS` or `ADDRESS/BITS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    /// Parses `ADDRESS` or `ADDRESS/BITS`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(width);
        (bits <= width).then_some(Self { address, bits })
    }

    /// Whether `address` is in it; an IPv4 address that came over an IPv6 socket counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differ = u32::from(own) ^ u32::from(other);
                differ.checked_shr(32 - self.bits).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differ = u128::from(own) ^ u128::from(other);
                differ.checked_shr(128 - self.bits).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_are_in_their_networks_only() {
        let within = |network: &str, address: &str| {
            Network::parse(network)
                .unwrap()
                .contains(address.parse().unwrap())
        };
        assert!(within("10.0.0.0/8", "10.1.2.3"));
        assert!(!within("10.0.0.0/8", "11.1.2.3"));
        assert!(within("127.0.0.1", "127.0.0.1"));
        assert!(!within("127.0.0.1", "127.0.0.2"));
        assert!(within("127.0.0.1", "::ffff:127.0.0.1"));
        assert!(within("0.0.0.0/0", "1.2.3.4"));
        assert!(within("fd00::/8", "fd12::1"));
        assert!(!within("fd00::/8", "::1"));
        for bad in ["", "10.0.0.0/33", "a", "10.0.0.0/", "10.0.0/8"] {
            assert_eq!(Network::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn an_address_is_in_a_network_if_their_first_bits_are_the_same(
            own in any::<u32>(),
            differs in 0usize..=32,
            bits in 0usize..=32,
            wide in any::<bool>(),
        ) {
            // The other one differs from this bit on; at 32 they are the same.
            let other = if differs == 32 { own } else { own ^ (1 << (31 - differs)) };
            let address = |number: u32| -> IpAddr {
                let v4 = std::net::Ipv4Addr::from(number);
                if wide { std::net::Ipv6Addr::from(u128::from(number) << 96).into() } else { v4.into() }
            };
            let network = Network::parse(&format!("{}/{bits}", address(own))).unwrap();
            prop_assert_eq!(network.contains(address(other)), differs >= bits);
        }
    }
}
