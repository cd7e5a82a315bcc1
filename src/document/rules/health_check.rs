//! What may stand in the request of a health check (pure).

use super::{field_name, shown};

/// The host that a health check names, with a port or without.
pub(crate) fn request_host(text: &str) -> Result<String, String> {
    let is_port =
        |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok();
    let is_name = |name: &str| {
        let may_be = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        !name.is_empty() && name.bytes().all(may_be)
    };
    let is_host = match text.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(Some((address, rest))) => {
            let is_address = address.parse::<std::net::Ipv6Addr>().is_ok();
            is_address && (rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port))
        }
        Some(None) => false,
        None => match text.split_once(':') {
            Some((name, port)) => is_name(name) && is_port(port),
            None => is_name(text),
        },
    };
    if text.len() > 255 || !is_host {
        return Err(format!(
            "\"{}\" is not a host: write it as \"shop.example.org\"",
            shown(text)
        ));
    }
    Ok(text.to_owned())
}

/// Fields that a health check writes itself, or that say how a request is framed.
const OWN_FIELDS: [&str; 7] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "upgrade",
    "te",
    "expect",
];

/// The name of a field of a request (RFC 9110 §5.6.2).
pub(crate) fn request_field(name: &str) -> Result<(), String> {
    field_name(name)?;
    if name.eq_ignore_ascii_case("host") {
        return Err("is what the field \"host\" of health_check says".to_owned());
    }
    match OWN_FIELDS.iter().any(|own| name.eq_ignore_ascii_case(own)) {
        true => Err("cannot be set: a health check is one GET without a body".to_owned()),
        false => Ok(()),
    }
}

/// A range of final statuses, `200-399`, or one.
pub(crate) fn statuses(text: &str) -> Result<(u16, u16), String> {
    let number = |digits: &str| {
        let plain = digits.len() == 3 && digits.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| digits.parse().ok()).flatten()
    };
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    match (number(from), number(to)) {
        (Some(from), Some(to)) if (200..=to).contains(&from) && to <= 599 => Ok((from, to)),
        _ => Err(format!(
            "\"{}\" is not a range of statuses: write \"200-399\", or one, from 200 to 599",
            shown(text)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_and_perhaps_a_port() {
        for good in [
            "a",
            "shop.example.org:8080",
            "127.0.0.1",
            "[::1]",
            "[::1]:80",
        ] {
            assert_eq!(request_host(good).as_deref(), Ok(good));
        }
        for bad in [
            "", ":80", "a:", "a:99999", "a:b", "a:1:2", "[::1", "[::1]x", "[a]", "::1", "a/b",
        ] {
            assert!(request_host(bad).is_err(), "{bad}");
        }
    }
}
