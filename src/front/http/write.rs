//! Appends text and numbers to bytes without the formatting machinery (pure).
//!
//! Every request has heads and a log line written, and `write!` was a tenth of the front end's own cost.

use std::net::IpAddr;

/// Appends the parts. Inlined, so that no call copies a part of two bytes whose size is known.
#[inline(always)]
pub(crate) fn all<const N: usize>(out: &mut Vec<u8>, parts: [&[u8]; N]) {
    out.reserve(parts.iter().map(|part| part.len()).sum());
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// Appends a number in decimal digits.
pub(crate) fn decimal(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends the last `WIDTH` decimal digits of a number, with zeros in front.
pub(crate) fn padded<const WIDTH: usize>(out: &mut Vec<u8>, number: u64) {
    let mut digits = [b'0'; WIDTH];
    let mut rest = number;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(&digits);
}

/// Appends an IP address. IPv4 within IPv6 becomes IPv4.
pub(crate) fn address(out: &mut Vec<u8>, address: IpAddr) {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let (mut text, mut end) = ([b'.'; 15], 0);
            for (at, octet) in v4.octets().into_iter().enumerate() {
                end += usize::from(at > 0);
                let digits = [octet / 100, octet / 10 % 10, octet % 10].map(|digit| digit + b'0');
                let needed = 1 + usize::from(octet >= 10) + usize::from(octet >= 100);
                text[end..end + needed].copy_from_slice(&digits[3 - needed..]);
                end += needed;
            }
            out.extend_from_slice(&text[..end]);
        }
        IpAddr::V6(v6) => out.extend_from_slice(v6.to_string().as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_as_format_has_them() {
        for text in ["127.0.0.1", "255.0.10.1", "2001:db8::1", "::ffff:192.0.2.1"] {
            let given: IpAddr = text.parse().unwrap();
            let mut out = Vec::new();
            address(&mut out, given);
            assert_eq!(
                String::from_utf8(out).unwrap(),
                given.to_canonical().to_string()
            );
        }
    }

    #[test]
    fn numbers_are_as_format_has_them() {
        for number in [0, 7, 10, 999, 123_456, u64::MAX] {
            let mut out = Vec::new();
            decimal(&mut out, number);
            all(&mut out, [b" ", b"", b"x "]);
            padded::<6>(&mut out, number);
            let wanted = format!("{number} x {:06}", number % 1_000_000);
            assert_eq!(String::from_utf8(out).unwrap(), wanted);
        }
    }
}
