//! [`Authority`]: the host and port that a request is for, by RFC 3986 §3.2 (pure).

use super::token::alphanumeric_or;

/// A DNS name has at most 253 bytes, a port 5 digits.
const MAX_AUTHORITY: usize = 262;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authority<'b> {
    pub text: &'b str,
    /// An IPv6 address has its brackets.
    pub host: &'b str,
    pub port: Option<u16>,
}

impl<'b> Authority<'b> {
    /// Parses `host[:port]`. It may be empty, which Host is for targets without an authority (RFC 9112 §3.2).
    #[must_use]
    pub fn parse(text: &'b str) -> Option<Self> {
        if text.len() > MAX_AUTHORITY {
            return None;
        }
        let end = match text.strip_prefix('[') {
            Some(rest) => {
                let end = rest.find(']')?;
                rest[..end].parse::<std::net::Ipv6Addr>().ok()?;
                end + 2
            }
            None => memchr::memchr(b':', text.as_bytes()).unwrap_or(text.len()),
        };
        let (host, rest) = text.split_at(end);
        if !host.starts_with('[') && !is_name(host) {
            return None;
        }
        let port = match rest.strip_prefix(':') {
            None if rest.is_empty() => None,
            None => return None,
            Some("") => None,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                Some(digits.parse().ok()?)
            }
            Some(_) => return None,
        };
        (!host.is_empty() || rest.is_empty()).then_some(Self { text, host, port })
    }

    /// Returns the host as routing looks for it: in lower case, without the dot that ends a fully qualified name.
    #[must_use]
    pub fn routed(&self) -> Box<str> {
        let host = self.host.strip_suffix('.').unwrap_or(self.host);
        host.to_ascii_lowercase().into_boxed_str()
    }
}

/// Whether a host is a name without empty labels, except for the dot at the end of a fully qualified one. RFC 3986
/// §3.2.2 allows the comma, too, which some programs take for a list of hosts.
fn is_name(host: &str) -> bool {
    let mut before = b'.';
    for byte in host.bytes() {
        if !IN_NAME[usize::from(byte)] || (byte, before) == (b'.', b'.') {
            return false;
        }
        before = byte;
    }
    is_percent_encoded(host)
}

const IN_NAME: [bool; 256] = alphanumeric_or(b"-._~!$&'()*+;=%");

/// Whether two hexadecimal digits follow each percent sign (RFC 3986 §2.1).
pub(super) fn is_percent_encoded(text: &str) -> bool {
    let text = text.as_bytes();
    memchr::memchr_iter(b'%', text).all(|at| {
        let digits = text.get(at + 1..at + 3);
        digits.is_some_and(|d| d.iter().all(u8::is_ascii_hexdigit))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hosts_ports_and_addresses() {
        let parse = |text| Authority::parse(text).map(|a| (a.host, a.port));
        assert_eq!(parse("a.local"), Some(("a.local", None)));
        assert_eq!(parse("a.local:8080"), Some(("a.local", Some(8080))));
        assert_eq!(parse("a.local:"), Some(("a.local", None)));
        assert_eq!(parse("[::1]:80"), Some(("[::1]", Some(80))));
        assert_eq!(parse(""), Some(("", None)));
        for bad in [
            ":80", "a:b", "a:80:80", "a:99999", "a:-1", "a b", "a/b", "a@b", "a,b", "[::1", "[x]",
            "[::1]x", "::1", "a?b", "a#b", "a\\b", "ä", "a..b", ".a", ".", "a%", "a%4", "a%zz",
            "a%+1",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert_eq!(
            &*Authority::parse("Blog.LOCAL.:80").unwrap().routed(),
            "blog.local"
        );
    }

    proptest! {
        #[test]
        fn host_and_port_say_what_they_were_parsed_from(
            host in "[a-zA-Z0-9]([a-zA-Z0-9._~-]|%[0-9a-f]{2}){0,9}|\\[[0-9a-f:]{2,9}\\]",
            port in proptest::option::of(any::<u16>()),
        ) {
            let text = format!("{host}{}", port.map(|p| format!(":{p}")).unwrap_or_default());
            if let Some(parsed) = Authority::parse(&text) {
                prop_assert_eq!((parsed.host, parsed.port), (&*host, port));
                let routed = parsed.routed();
                prop_assert!(!routed.ends_with('.') && *routed == routed.to_ascii_lowercase());
            }
        }

        #[test]
        fn it_is_total_and_lets_nothing_through_that_ends_a_host(text in "[a:.%0\\[\\] /@,\"\\\\?#é]{0,9}") {
            if let Some(parsed) = Authority::parse(&text) {
                prop_assert!(text.starts_with(parsed.host));
                prop_assert!(!text.contains([' ', '/', '@', ',', '"', '\\', '?', '#', 'é']), "{text}");
            }
        }
    }
}
