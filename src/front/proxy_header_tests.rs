use proptest::prelude::*;

use super::*;

fn addresses() -> impl Strategy<Value = (SocketAddr, SocketAddr)> {
    let of = |wide: bool| {
        (any::<u128>(), any::<u16>()).prop_map(move |(bits, port)| {
            let address = match wide {
                true => std::net::Ipv6Addr::from_bits(bits).into(),
                false => IpAddr::from((bits as u32).to_be_bytes()),
            };
            SocketAddr::new(address, port)
        })
    };
    any::<bool>().prop_flat_map(move |wide| (of(wide), of(wide)))
}

fn line(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    let family = if from.is_ipv4() { "TCP4" } else { "TCP6" };
    let (a, b) = (from.ip(), to.ip());
    format!("PROXY {family} {a} {b} {} {}\r\n", from.port(), to.port()).into_bytes()
}

fn block(from: SocketAddr, to: SocketAddr, fields: &[u8]) -> Vec<u8> {
    let mut addresses = Vec::new();
    for ip in [from.ip(), to.ip()] {
        match ip {
            IpAddr::V4(v4) => addresses.extend(v4.octets()),
            IpAddr::V6(v6) => addresses.extend(v6.octets()),
        }
    }
    addresses.extend(from.port().to_be_bytes());
    addresses.extend(to.port().to_be_bytes());
    addresses.extend(fields);
    let length = u16::try_from(addresses.len()).unwrap();
    let family = if from.is_ipv4() { 0x11 } else { 0x21 };
    let mut header = SIGNATURE.to_vec();
    header.extend([0x21, family]);
    header.extend(length.to_be_bytes());
    header.extend(addresses);
    header
}

proptest! {
    #[test]
    fn what_is_written_is_read_and_nothing_behind_it(
        (from, to) in addresses(),
        fields in proptest::collection::vec(any::<u8>(), 0..300),
        behind in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        let named = Named::Client {
            from: known(from.ip(), from.port()),
            to: known(to.ip(), to.port()),
        };
        for header in [line(from, to), block(from, to, &fields)] {
            let length = header.len();
            let all = [header, behind.clone()].concat();
            prop_assert_eq!(parse(&all), Ok(Some(Header { named, length })));
            for end in 0..length {
                prop_assert_eq!(parse(&all[..end]), Ok(None), "{} of {} bytes", end, length);
            }
        }
    }

    #[test]
    fn any_bytes_are_read_in_bounds_and_more_bytes_change_no_answer(
        start in proptest::sample::select(vec![
            &b""[..], b"PROXY ", b"PROXY TCP4 1.2.3.4 ", b"\r\n\r\n\0\r\nQUIT\n", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x21\x0f",
        ]),
        rest in proptest::collection::vec(any::<u8>(), 0..5000),
    ) {
        let all = [start, &rest].concat();
        let whole = parse(&all);
        if let Ok(Some(header)) = whole {
            prop_assert!(header.length <= all.len() && header.length <= LONGEST);
        }
        // `None` asks for more, which always comes to an end.
        prop_assert!(whole != Ok(None) || all.len() < LONGEST);
        for end in (0..all.len()).step_by(1 + all.len() / 64) {
            let part = parse(&all[..end]);
            prop_assert!(part == Ok(None) || part == whole, "{} bytes: {:?}, then {:?}", end, part, whole);
        }
    }
}
