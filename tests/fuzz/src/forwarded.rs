//! What a request's forwarding fields become, for a peer that is believed and for one that is not.

use std::net::IpAddr;

use procserver::front::http::authority::Authority;
use procserver::front::http::field::Field;
use procserver::front::http::forwarded;
use procserver::front::http::forwarded::Context;
use procserver::front::http::head;
use procserver::front::http::head::Request;
use procserver::front::http::parse;
use procserver::front::http::trusted_proxies::is_trusted;
use procserver::settings::value::Network;

use super::heads::{FROM_PROXY, folded, only, values};

/// Lines, of which the first is the peer's address, the second a trusted network, the third the value of Host; the
/// others are fields.
pub fn forwarded(data: &[u8]) {
    let mut lines = data.splitn(4, |b| *b == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let (peer, network, host, fields) = (line(), line(), line(), line());
    let text = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
    let (peer, network, host) = (text(peer), text(network), text(host));
    let peer: IpAddr = peer.parse().unwrap_or(IpAddr::from([192, 0, 2, 1]));
    check_network(network, peer);
    check_authority(host);
    let trusted = network
        .parse()
        .is_ok_and(|n: Network| is_trusted(&[n.0], peer));
    check_trailers(fields);
    let sent = head_of(host, fields);
    let Ok(request) = parse::request(&sent, 100) else {
        return;
    };
    let id = forwarded::sane_request_id(&request.fields);
    let plain = |id: &str| {
        id.bytes()
            .all(|b| b.is_ascii_graphic() && !b"\"<>&'\\".contains(&b))
    };
    assert!(id.is_none_or(|id| plain(id) && (1..=128).contains(&id.len())));
    let context = Context {
        peer,
        local: ([192, 0, 2, 2], 8080).into(),
        secure: false,
        http2: false,
        trusted,
        networks: &[],
        request_id: id.unwrap_or("own-id").as_bytes(),
        arrived: 1_700_000_000_123,
        strip: 4,
        withheld: None,
        user: None,
        cookie: None,
        trace: None,
    };
    let mut written = Vec::new();
    forwarded::request(&mut written, &request, &context);
    let again = parse::request(&written, head::MAX_FIELDS).expect("what is forwarded is valid");
    check_fields(&request, &again, &context);
}

/// A request head of these field lines, which end with LF or CRLF.
fn head_of(host: &str, fields: &[u8]) -> Vec<u8> {
    let mut sent = format!("GET /app/x HTTP/1.1\r\nHost: {host}\r\n").into_bytes();
    sent.extend_from_slice(&lines_of(fields));
    sent
}

/// Field lines with CRLF, and a blank line behind them.
fn lines_of(fields: &[u8]) -> Vec<u8> {
    let mut lines = Vec::new();
    for line in fields.split(|b| *b == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if !line.is_empty() {
            lines.extend_from_slice(line);
            lines.extend_from_slice(b"\r\n");
        }
    }
    lines.extend_from_slice(b"\r\n");
    lines
}

/// The forwarding fields are those of this hop, behind those of a trusted peer.
fn check_fields(request: &Request<'_>, again: &Request<'_>, context: &Context<'_>) {
    let peer = context.peer.to_canonical();
    let authority = request.authority.expect("HTTP/1.1 has one");
    let port = port(request, context).to_string();
    // What that says stands for those that did not come; what it comes to is another test's matter.
    let stated = context.trusted && !values(&request.fields, "forwarded").is_empty();
    let mut forwarded = vec![
        ("x-forwarded-for", peer.to_string().into_bytes()),
        ("x-forwarded-proto", b"http".to_vec()),
        ("x-forwarded-host", authority.text.as_bytes().to_vec()),
        ("x-forwarded-port", port.into_bytes()),
        ("x-forwarded-prefix", b"/app".to_vec()),
    ];
    for (name, own) in &mut forwarded {
        let mut expected: Vec<Vec<u8>> = Vec::new();
        if context.trusted {
            expected.extend(
                values(&request.fields, name)
                    .into_iter()
                    .map(<[u8]>::to_vec),
            );
        }
        if stated && expected.is_empty() && *name != "x-forwarded-prefix" {
            assert_eq!(values(&again.fields, name).len(), 1, "{name}");
            continue;
        }
        match (*name, expected.as_mut_slice()) {
            (_, []) => expected.push(own.clone()),
            ("x-forwarded-for", [.., last]) => {
                last.extend_from_slice(b", ");
                last.append(own);
            }
            ("x-forwarded-prefix", [first, ..]) => first.append(own),
            _ => {}
        }
        let trimmed: Vec<&[u8]> = expected.iter().map(|value| value.trim_ascii()).collect();
        assert_eq!(values(&again.fields, name), trimmed, "{name}");
    }
    let own = |f: &&Field<'_>| {
        let name = folded(f.name);
        name.starts_with("x-forwarded-") && !forwarded.iter().any(|(own, _)| f.is_named(own))
    };
    let others = again.fields.iter().filter(own).count();
    assert!(context.trusted || others == 0);
    let told = |f: &&Field<'_>| FROM_PROXY.contains(&&*folded(f.name));
    let told = again.fields.iter().filter(told).count();
    assert!(context.trusted || told == 1, "X-Real-IP alone");
    let real = only(&again.fields, "x-real-ip");
    let real = std::str::from_utf8(real)
        .ok()
        .and_then(|ip| ip.parse().ok());
    assert!(real.is_some_and(|ip: IpAddr| context.trusted || ip == peer));
    assert_eq!(only(&again.fields, "x-request-id"), context.request_id);
    let own = format!("t={}", context.arrived).into_bytes();
    let came = values(&request.fields, "x-request-start");
    let expected = match context.trusted && !came.is_empty() {
        true => came,
        false => vec![own.as_slice()],
    };
    assert_eq!(values(&again.fields, "x-request-start"), expected);
    assert!(values(&again.fields, "x-app").is_empty());
    check_forwarded_field(request, again, context, authority.text);
}

/// That of the host that a trusted peer names first, else of the protocol, else Host's, else the listener's.
fn port(request: &Request<'_>, context: &Context<'_>) -> u16 {
    let first = |name: &str| {
        let lines = values(&request.fields, name);
        let mut words = lines.iter().flat_map(|line| line.split(|b| *b == b','));
        let word = words.find(|word| !word.trim_ascii().is_empty());
        word.filter(|_| context.trusted).map(<[u8]>::trim_ascii)
    };
    let host = first("x-forwarded-host").and_then(|host| std::str::from_utf8(host).ok());
    let host = host.and_then(Authority::parse);
    let host = host.filter(|host| !host.host.is_empty());
    let protocol = first("x-forwarded-proto").map(<[u8]>::to_ascii_lowercase);
    let default = match protocol.as_deref() {
        Some(b"https") => Some(443),
        Some(b"http") => Some(80),
        None if host.is_some() => Some(80),
        _ => None,
    };
    let asked = host.or(request.authority).and_then(|a| a.port);
    asked.or(default).unwrap_or(8080)
}

/// `Forwarded` (RFC 7239) is written only where it came.
fn check_forwarded_field(
    request: &Request<'_>,
    again: &Request<'_>,
    context: &Context<'_>,
    host: &str,
) {
    let (came, mut sent) = (
        values(&request.fields, "forwarded"),
        values(&again.fields, "forwarded"),
    );
    let own = sent.pop();
    assert_eq!(own.is_some(), !came.is_empty());
    assert_eq!(sent, if context.trusted { came } else { Vec::new() });
    let Some(own) = own else {
        return;
    };
    let own = std::str::from_utf8(own).expect("it is ours");
    let (node, rest) = own.split_once(";proto=http").expect("a node");
    let node = node.strip_prefix("for=").expect("a node");
    let address = node.trim_matches('"').trim_matches(['[', ']']).parse();
    assert_eq!(address, Ok(context.peer.to_canonical()));
    // RFC 7239 has no form for a host that is not known.
    let named = rest
        .strip_prefix(";host=\"")
        .and_then(|rest| rest.strip_suffix('"'));
    assert!(named.map_or(rest.is_empty(), |named| !named.is_empty()));
    assert_eq!(named.unwrap_or_default(), host);
    assert!(!host.contains(['"', '\\']), "it would end the string");
}

/// An address is in a network if their first bits are the same.
fn check_network(text: &str, peer: IpAddr) {
    let Ok(Network(network)) = text.parse() else {
        return;
    };
    let (address, bits) = text.split_once('/').unwrap_or((text, "128"));
    let bits: usize = bits.parse().expect("it was parsed");
    let binary = |address: IpAddr| match address {
        IpAddr::V4(v4) => format!("4{:032b}", u32::from(v4)),
        IpAddr::V6(v6) => format!("6{:0128b}", u128::from(v6)),
    };
    let (own, other) = (
        binary(address.parse().expect("it was parsed")),
        binary(peer.to_canonical()),
    );
    let first = |address: &str| address.get(..=bits).unwrap_or(address).to_owned();
    assert_eq!(
        is_trusted(&[network], peer),
        first(&own) == first(&other),
        "{text} {peer}"
    );
}

/// A host and a port say again what they were parsed from.
fn check_authority(text: &str) {
    let Some(authority) = Authority::parse(text) else {
        return;
    };
    assert_eq!(authority.text, text);
    let rest = text
        .strip_prefix(authority.host)
        .expect("it begins with the host");
    let port = rest.strip_prefix(':').unwrap_or_default();
    assert_eq!(authority.port, port.parse().ok());
    assert!(
        !text
            .bytes()
            .any(|b| b.is_ascii_whitespace() || b"\"\\/?#@,<>".contains(&b))
    );
    let routed = authority.routed();
    assert!(!routed.bytes().any(|b| b.is_ascii_uppercase()) && !routed.ends_with('.'));
}

/// Trailers that are passed on are trailers again, and none that would mean something in a head.
fn check_trailers(fields: &[u8]) {
    let section = lines_of(fields);
    let Ok(came) = parse::trailers(&section) else {
        return;
    };
    let mut written = Vec::new();
    forwarded::trailers(&mut written, &came);
    let again = parse::trailers(&written).expect("what is passed on is valid");
    let mut rest = came.iter();
    for field in &again {
        assert!(rest.any(|f| f == field), "{field:?} is not in its place");
        let name = folded(field.name);
        let meant = [
            "content-length",
            "transfer-encoding",
            "host",
            "x-app",
            "connection",
            "set-cookie",
        ];
        assert!(!meant.contains(&&*name) && !name.starts_with("x-forwarded-"));
    }
}
