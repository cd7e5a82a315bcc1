//! The PROXY header that a balancer puts before the bytes of its client: versions 1 and 2 of haproxy's PROXY protocol
//! (pure).
//!
//! It is strict where the specification is: a header that is not understood in full is none. Of the fields behind the
//! addresses of version 2 (TLVs) nothing is believed, a checksum is not verified: TCP has one, and who may send a header
//! may say anything.

use std::net::{IpAddr, SocketAddr};

/// Bytes of the longest header of version 1, with its line's end.
const LONGEST_V1: usize = 107;

/// Bytes of the longest header of version 2 that is read: 216 for addresses, the others for what balancers add, as the
/// names in a client's certificate.
const LONGEST_V2: usize = 4096;

/// Bytes of the longest header that is read.
pub const LONGEST: usize = LONGEST_V2;

/// The first bytes of version 2.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes of version 2 before the addresses.
const PREAMBLE: usize = 16;

/// Whom a header names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// A client, and the address to which it connected.
    Client { from: SocketAddr, to: SocketAddr },
    /// Nobody: the proxy asks for itself (LOCAL), or has no address of its client (UNKNOWN, a Unix socket).
    Nobody,
}

/// A header, and how many bytes it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub named: Named,
    pub length: usize,
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    #[error("no PROXY header comes first")]
    Missing,
    #[error("the PROXY header is malformed")]
    Malformed,
    #[error(
        "the PROXY header is longer than {LONGEST_V1} bytes (version 1) or {LONGEST_V2} (version 2)"
    )]
    TooLong,
}

/// Reads the header that `bytes` begin with. `None`: more bytes are needed, and all of these are part of it.
///
/// # Errors
/// [`HeaderError`], as soon as it is certain.
pub fn parse(bytes: &[u8]) -> Result<Option<Header>, HeaderError> {
    if begins(bytes, SIGNATURE) {
        return version_2(bytes);
    }
    if begins(bytes, b"PROXY ") {
        return version_1(bytes);
    }
    Err(HeaderError::Missing)
}

/// Whether `bytes` begin with `start`, as far as there are any.
fn begins(bytes: &[u8], start: &[u8]) -> bool {
    bytes.iter().zip(start).all(|(a, b)| a == b)
}

fn version_1(bytes: &[u8]) -> Result<Option<Header>, HeaderError> {
    let space = &bytes[..bytes.len().min(LONGEST_V1)];
    let Some(end) = memchr::memchr(b'\n', space) else {
        return match bytes.len() < LONGEST_V1 {
            true => Ok(None),
            false => Err(HeaderError::TooLong),
        };
    };
    let line = space[..end].strip_suffix(b"\r");
    let named = line.and_then(named_in_line).ok_or(HeaderError::Malformed)?;
    let length = end + 1;
    Ok(Some(Header { named, length }))
}

fn named_in_line(line: &[u8]) -> Option<Named> {
    let words = line.strip_prefix(b"PROXY ")?;
    // Whatever follows it is to be ignored.
    if words == b"UNKNOWN" || words.starts_with(b"UNKNOWN ") {
        return Some(Named::Nobody);
    }
    let mut words = std::str::from_utf8(words).ok()?.split(' ');
    let family = words.next()?;
    let mut address = || {
        let address: IpAddr = words.next()?.parse().ok()?;
        let is_of_family = match family {
            "TCP4" => address.is_ipv4(),
            "TCP6" => address.is_ipv6(),
            _ => false,
        };
        is_of_family.then_some(address)
    };
    let (from, to) = (address()?, address()?);
    let mut port = || port(words.next()?);
    let (from, to) = (known(from, port()?), known(to, port()?));
    words.next().is_none().then_some(Named::Client { from, to })
}

/// A number without zeros before it, which some read as octal.
fn port(word: &str) -> Option<u16> {
    let is_number = word.bytes().all(|b| b.is_ascii_digit());
    let is_plain = is_number && (word == "0" || !word.starts_with('0'));
    word.parse().ok().filter(|_| is_plain)
}

/// An IPv4 address in an IPv6 one is known as IPv4.
fn known(address: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(address.to_canonical(), port)
}

fn version_2(bytes: &[u8]) -> Result<Option<Header>, HeaderError> {
    let Some(&[version_and_command, family_and_transport, high, low]) = bytes.get(12..PREAMBLE)
    else {
        let has_bad_version = bytes.get(12).is_some_and(|byte| byte >> 4 != 2);
        return match has_bad_version {
            true => Err(HeaderError::Malformed),
            false => Ok(None),
        };
    };
    let length = PREAMBLE + usize::from(u16::from_be_bytes([high, low]));
    let family = match (version_and_command, family_and_transport) {
        // LOCAL: whatever else it says is to be ignored.
        (0x20, _) => Family::None,
        (0x21, both) => Family::of(both).ok_or(HeaderError::Malformed)?,
        _ => return Err(HeaderError::Malformed),
    };
    if length < PREAMBLE + family.size() {
        return Err(HeaderError::Malformed);
    }
    if length > LONGEST_V2 {
        return Err(HeaderError::TooLong);
    }
    let Some(block) = bytes.get(PREAMBLE..length) else {
        return Ok(None);
    };
    let named = match family {
        Family::V4 => named_in_block::<4>(block),
        Family::V6 => named_in_block::<16>(block),
        Family::Unix | Family::None => Named::Nobody,
    };
    Ok(Some(Header { named, length }))
}

/// Which addresses a header of version 2 has.
#[derive(Clone, Copy)]
enum Family {
    None,
    V4,
    V6,
    Unix,
}

impl Family {
    /// The family is in the upper half, and the transport in the lower one: none, streams, or datagrams, as a proxy for
    /// HTTP/3 has received them.
    fn of(both: u8) -> Option<Self> {
        match (both >> 4, both & 0xf) {
            (0..=3, 0) | (0, 1 | 2) => Some(Self::None),
            (1, 1 | 2) => Some(Self::V4),
            (2, 1 | 2) => Some(Self::V6),
            (3, 1 | 2) => Some(Self::Unix),
            _ => None,
        }
    }

    /// Bytes of the two addresses and ports.
    fn size(self) -> usize {
        match self {
            Self::None => 0,
            Self::V4 => 12,
            Self::V6 => 36,
            Self::Unix => 216,
        }
    }
}

/// Two addresses and two ports.
fn named_in_block<const N: usize>(block: &[u8]) -> Named
where
    IpAddr: From<[u8; N]>,
{
    let address = |at: usize| -> [u8; N] {
        let mut address = [0; N];
        address.copy_from_slice(&block[at..at + N]);
        address
    };
    let port = |at: usize| u16::from_be_bytes([block[at], block[at + 1]]);
    Named::Client {
        from: known(address(0).into(), port(2 * N)),
        to: known(address(N).into(), port(2 * N + 2)),
    }
}

#[cfg(test)]
#[path = "proxy_header_tests.rs"]
mod tests;
