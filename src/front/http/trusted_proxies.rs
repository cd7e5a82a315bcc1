//! Networks whose forwarding fields are believed, and what they say of the client (pure).

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::authority::Authority;
use super::field::{Field, Name};

/// Whether `address` is in one of `networks`; an IPv4 address that came over an IPv6 socket counts as IPv4.
#[must_use]
pub fn is_trusted(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

/// Returns the address that counts: the `peer`'s, or where it `is_trusted` the one that it reports.
#[must_use]
pub fn client(peer: IpAddr, is_trusted: bool, fields: &[Field<'_>], trusted: &[IpNet]) -> IpAddr {
    let told = is_trusted.then(|| reported(fields, trusted));
    told.flatten().unwrap_or(peer).to_canonical()
}

/// Returns the client's address as trusted proxies report it. The hops are those of X-Forwarded-For, or else of
/// Forwarded, or else of X-Real-IP. The client is the last hop that is not trusted itself, or the first if all are. A
/// hop that is no address hides those before it.
#[must_use]
pub fn reported(fields: &[Field<'_>], trusted: &[IpNet]) -> Option<IpAddr> {
    let lines = [Name::ForwardedFor, Name::Forwarded, Name::RealIp];
    let name = lines
        .into_iter()
        .find(|name| fields.iter().any(|f| f.is(*name)))?;
    let backwards = fields.iter().rev().filter(|f| f.is(name));
    let hops = backwards.flat_map(|f| f.value.rsplit(|b| *b == b','));
    let mut client = None;
    for hop in hops.map(<[u8]>::trim_ascii).filter(|h| !h.is_empty()) {
        let hop = std::str::from_utf8(hop).ok();
        let node = match name {
            Name::Forwarded => hop.and_then(for_of),
            _ => hop,
        };
        let Some(address) = node.and_then(address) else {
            break;
        };
        client = Some(address);
        if !is_trusted(trusted, address) {
            break;
        }
    }
    client
}

/// `Forwarded`, in the terms of `X-Forwarded-*`.
#[derive(Debug, Default)]
pub struct Stated<'b> {
    /// The hops, each with a comma behind it.
    pub hops: String,
    /// How the client came to the outermost trusted proxy: `http` or `https`.
    pub protocol: Option<&'static str>,
    /// The host that the client asked that proxy for.
    pub host: Option<Authority<'b>>,
}

/// Reads what trusted proxies say in `Forwarded`. Each element describes the peer of the proxy that wrote it, so the
/// client's is the last one whose `for` is no trusted proxy.
#[must_use]
pub fn stated<'b>(fields: &[Field<'b>], trusted: &[IpNet]) -> Stated<'b> {
    let lines = fields.iter().filter(|f| f.is(Name::Forwarded));
    let elements = lines.flat_map(|f| f.value.split(|b| *b == b','));
    let elements = elements.filter_map(|element| std::str::from_utf8(element).ok());
    let elements: Vec<&str> = elements.filter(|e| !e.trim().is_empty()).collect();
    let mut stated = Stated::default();
    for element in &elements {
        match for_of(element).and_then(address) {
            Some(hop) => stated.hops.push_str(&hop.to_string()),
            None => stated.hops.push_str("unknown"),
        }
        stated.hops.push_str(", ");
    }
    let is_proxy = |element: &&&str| {
        let hop = for_of(element).and_then(address);
        hop.is_some_and(|hop| is_trusted(trusted, hop))
    };
    let client = elements.iter().rev().find(|element| !is_proxy(element));
    if let Some(element) = client.or(elements.first()) {
        stated.protocol = match value_of(element, "proto") {
            Some(protocol) if protocol.eq_ignore_ascii_case("https") => Some("https"),
            Some(protocol) if protocol.eq_ignore_ascii_case("http") => Some("http"),
            _ => None,
        };
        let host = value_of(element, "host").map(str::as_bytes);
        stated.host = host.and_then(authority);
    }
    stated
}

/// Parses a host, perhaps with a port, that is not empty.
#[must_use]
pub fn authority(text: &[u8]) -> Option<Authority<'_>> {
    let text = std::str::from_utf8(text).ok()?;
    Authority::parse(text).filter(|authority| !authority.host.is_empty())
}

fn for_of(element: &str) -> Option<&str> {
    value_of(element, "for")
}

/// Returns a value in an element of Forwarded, without quotes (RFC 7239 §4).
fn value_of<'e>(element: &'e str, name: &str) -> Option<&'e str> {
    let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(own, _)| own.trim().eq_ignore_ascii_case(name))?;
    Some(value.trim().trim_matches('"'))
}

/// Parses an address with or without a port, quotes and brackets. IPv4 in IPv6 is IPv4.
fn address(node: &str) -> Option<IpAddr> {
    let node = node.trim().trim_matches('"');
    let bare = node.strip_prefix('[').and_then(|n| n.strip_suffix(']'));
    let address = bare.unwrap_or(node).parse();
    let with_port = || node.parse().map(|a: SocketAddr| a.ip());
    address
        .or_else(|_| with_port())
        .map(|address: IpAddr| address.to_canonical())
        .ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_client_is_the_last_hop_that_is_not_trusted() {
        let trusted = ["10.0.0.0/8", "fd00::/8"].map(|n| n.parse().unwrap());
        let client = |name: &'static str, values: &[&'static str]| {
            let field = |value: &&'static str| Field::new(name, value.as_bytes()).unwrap();
            let fields: Vec<_> = values.iter().map(field).collect();
            reported(&fields, &trusted).map(|a| a.to_string())
        };
        for (values, expected) in [
            (&["6.6.6.6, 1.2.3.4"][..], Some("1.2.3.4")),
            (&["6.6.6.6, 1.2.3.4, 10.1.1.1"], Some("1.2.3.4")),
            (&["6.6.6.6", "1.2.3.4", "10.1.1.1,fd00::1"], Some("1.2.3.4")),
            (&["10.0.0.1, 10.0.0.2"], Some("10.0.0.1")),
            (&["1.2.3.4:5678"], Some("1.2.3.4")),
            (&["::ffff:1.2.3.4, ::ffff:10.1.1.1"], Some("1.2.3.4")),
            (&["[::ffff:1.2.3.4]:5678"], Some("1.2.3.4")),
            (&["[2001:db8::1]:5678"], Some("2001:db8::1")),
            (&["2001:db8::1"], Some("2001:db8::1")),
            (&["1.2.3.4, unknown, 10.0.0.1"], Some("10.0.0.1")),
            (&["<script>"], None),
            (&[""], None),
            (&[], None),
        ] {
            let got = client("X-Forwarded-For", values);
            assert_eq!(got.as_deref(), expected, "{values:?}");
        }
        for (value, expected) in [
            (
                "for=6.6.6.6, for=1.2.3.4;proto=https, for=10.0.0.1",
                Some("1.2.3.4"),
            ),
            (
                "proto=http; For=\"[2001:db8::1]:80\";by=x",
                Some("2001:db8::1"),
            ),
            ("for=\"[2001:db8::1]\"", Some("2001:db8::1")),
            ("for=\"1.2.3.4:80\"", Some("1.2.3.4")),
            ("for=_hidden", None),
            ("proto=http", None),
        ] {
            let got = client("Forwarded", &[value]);
            assert_eq!(got.as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn addresses_are_in_their_networks_only() {
        let within = |network: &str, address: &str| {
            is_trusted(&[network.parse().unwrap()], address.parse().unwrap())
        };
        assert!(within("10.0.0.0/8", "10.1.2.3"));
        assert!(!within("10.0.0.0/8", "11.1.2.3"));
        assert!(within("127.0.0.1/32", "127.0.0.1"));
        assert!(!within("127.0.0.1/32", "127.0.0.2"));
        assert!(within("127.0.0.1/32", "::ffff:127.0.0.1"));
        assert!(within("0.0.0.0/0", "1.2.3.4"));
        assert!(within("fd00::/8", "fd12::1"));
        assert!(!within("fd00::/8", "::1"));
    }

    proptest! {
        #[test]
        fn an_address_is_in_a_network_if_their_first_bits_are_the_same(
            own in any::<u32>(),
            differs in 0usize..=32,
            bits in 0u8..=32,
            wide in any::<bool>(),
        ) {
            // The other one differs from this bit on; at 32 they are the same.
            let other = if differs == 32 { own } else { own ^ (1 << (31 - differs)) };
            let address = |number: u32| -> IpAddr {
                let v4 = std::net::Ipv4Addr::from(number);
                if wide { std::net::Ipv6Addr::from(u128::from(number) << 96).into() } else { v4.into() }
            };
            let network = IpNet::new(address(own), bits).unwrap();
            prop_assert_eq!(is_trusted(&[network], address(other)), differs >= usize::from(bits));
        }
    }
}
