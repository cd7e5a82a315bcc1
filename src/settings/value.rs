//! The values of settings, valid by construction, from text: a flag, a variable or a string of the file.

use std::fmt;
use std::marker::PhantomData;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use serde::de::{Deserializer, Error, Visitor};

use crate::document::size;

/// What is wrong with a value and what is allowed, as a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ValueError(pub(super) String);

/// Takes a string, number or boolean of the file through the same parser as a flag, so that both accept the same and
/// say the same; the file's reader adds the line.
pub(super) fn from_text<'de, D: Deserializer<'de>, T: FromStr<Err = ValueError>>(
    from: D,
) -> Result<T, D::Error> {
    struct Text<T>(PhantomData<T>);
    impl<T: FromStr<Err = ValueError>> Visitor<'_> for Text<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }

        fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
            self.visit_str(&number.to_string())
        }

        fn visit_f64<E: Error>(self, number: f64) -> Result<T, E> {
            self.visit_str(&number.to_string())
        }
    }
    from.deserialize_any(Text(PhantomData))
}

macro_rules! deserialize_from_text {
    ($($name:ty $(, $parameter:ident: $kind:ty)*;)*) => {$(
        impl<'de, $(const $parameter: $kind),*> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                $crate::settings::value::from_text(from)
            }
        }
    )*};
}

pub(super) use deserialize_from_text;

deserialize_from_text! {
    Listen;
    PortRange;
    Period;
    Network;
    Size<MIN, MAX>, MIN: u64, MAX: u64;
    Count<MIN, MAX>, MIN: usize, MAX: usize;
}

/// An address to listen on: `0.0.0.0:80`, `[::]:80`, or `:80` and `80` for all IPv4 addresses. Port 0: any free one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen(pub SocketAddr);

impl FromStr for Listen {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let port_alone = text.strip_prefix(':').unwrap_or(text);
        if let Ok(port) = port_alone.parse::<u16>() {
            return Ok(Self(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port)));
        }
        text.parse().map(Self).map_err(|_| {
            let why = match text.rsplit_once(':') {
                Some(("localhost", port)) => format!("write 127.0.0.1:{port}"),
                Some((host, _)) if host.parse::<IpAddr>().is_ok() => {
                    "an IPv6 address stands in brackets, as in [::1]:80, and a port is 0 to 65535".into()
                }
                _ => "write an IP address and a port, as in \"0.0.0.0:80\" or \"[::]:80\", or a port alone; names \
                      are not looked up"
                    .into(),
            };
            ValueError(format!("\"{text}\" is no address to listen on: {why}"))
        })
    }
}

/// First and last port, `8001-8999`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    pub first: u16,
    pub last: u16,
}

impl FromStr for PortRange {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let port = |part: &str| part.trim().parse::<u16>().ok().filter(|port| *port > 0);
        let range = |(first, last)| {
            let (first, last) = (port(first)?, port(last)?);
            Some(Self { first, last })
        };
        text.split_once('-')
            .and_then(range)
            .filter(|range| range.first <= range.last)
            .ok_or_else(|| {
                ValueError(format!(
                    "\"{text}\" is no range of ports: write the first and the last, as in \"8001-8999\", within 1 to 65535"
                ))
            })
    }
}

/// A duration, longer than nothing and at most a year.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period(pub Duration);

impl FromStr for Period {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        humantime::parse_duration(text)
            .ok()
            .filter(|period| !period.is_zero() && *period <= Duration::from_secs(366 * 86_400))
            .map(Self)
            .ok_or_else(|| {
                ValueError(format!(
                    "\"{text}\" is no duration: write a number with a unit, as in \"500ms\", \"30s\", \"2m\" or \"1h\", \
                     longer than 0 and at most a year"
                ))
            })
    }
}

/// A number of bytes from `MIN` to `MAX`: `65536`, `64K`, `10M`, `1G` (powers of 1024).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size<const MIN: u64, const MAX: u64>(pub u64);

impl<const MIN: u64, const MAX: u64> FromStr for Size<MIN, MAX> {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        size::parse(text, MIN..=MAX).map(Self).map_err(ValueError)
    }
}

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count<const MIN: usize, const MAX: usize>(pub usize);

impl<const MIN: usize, const MAX: usize> FromStr for Count<MIN, MAX> {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        text.parse::<usize>()
            .ok()
            .filter(|number| (MIN..=MAX).contains(number))
            .map(Self)
            .ok_or_else(|| {
                ValueError(format!(
                    "\"{text}\" is not a whole number from {MIN} to {MAX}"
                ))
            })
    }
}

/// A network, `ADDRESS` or `ADDRESS/BITS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network(pub IpNet);

impl FromStr for Network {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        // By the parser of std: that of `IpNet` takes "010.0.0.0/8", which some programs read as octal.
        let network = match text.split_once('/') {
            Some((address, bits)) => address
                .parse()
                .ok()
                .zip(bits.parse().ok())
                .and_then(|(address, bits)| IpNet::new(address, bits).ok()),
            None => text.parse::<IpAddr>().ok().map(IpNet::from),
        };
        network.map(known).map(Self).ok_or_else(|| {
            ValueError(format!(
                "\"{text}\" is no network: write an IP address, or one with its number of bits, as in \"10.0.0.0/8\" or \"::1\""
            ))
        })
    }
}

/// IPv4 addresses that are written as IPv6 ones are known as IPv4, and so are their networks.
fn known(network: IpNet) -> IpNet {
    let bits = network.prefix_len().checked_sub(96);
    match (network.addr().to_canonical(), bits) {
        (address @ IpAddr::V4(_), Some(bits)) => IpNet::new(address, bits).unwrap_or(network),
        _ => network,
    }
}

/// One environment variable, `NAME=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// A name as shells take it.
    pub name: String,
    /// Anything without a NUL.
    pub value: String,
}

impl Variable {
    pub(super) fn new(name: &str, value: &str) -> Result<Self, ValueError> {
        let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if !starts_well || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(ValueError(format!(
                "\"{name}\" is no name of a variable: use letters, digits and \"_\", and no digit first"
            )));
        }
        if value.contains('\0') {
            return Err(ValueError(format!(
                "the value of {name} holds a NUL byte, which no environment can"
            )));
        }
        Ok(Self {
            name: name.into(),
            value: value.into(),
        })
    }
}

impl FromStr for Variable {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text.split_once('=') {
            Some((name, value)) => Self::new(name, value),
            None => Err(ValueError(format!(
                "\"{text}\" has no \"=\": write NAME=value"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_takes_addresses_and_ports_but_no_names() {
        for (text, address) in [
            ("0.0.0.0:80", "0.0.0.0:80"),
            ("[::]:80", "[::]:80"),
            (":8080", "0.0.0.0:8080"),
            ("8080", "0.0.0.0:8080"),
            ("127.0.0.1:0", "127.0.0.1:0"),
        ] {
            assert_eq!(text.parse::<Listen>().unwrap().0.to_string(), address);
        }
        for (text, hint) in [
            ("localhost:8080", "127.0.0.1:8080"),
            ("example.org:80", "names are not looked up"),
            ("::1:8000", "brackets"),
            ("1.2.3.4:70000", "0 to 65535"),
            ("", "names"),
        ] {
            let error = text.parse::<Listen>().unwrap_err().to_string();
            assert!(error.contains(hint), "{text}: {error}");
        }
    }

    #[test]
    fn a_port_range_goes_upwards_and_excludes_0() {
        let range = |first, last| Ok(PortRange { first, last });
        assert_eq!("8001-8999".parse(), range(8001, 8999));
        assert_eq!("9000-9000".parse(), range(9000, 9000));
        for bad in ["", "8001", "9-8", "0-10", "1-65536", "a-b", "1-2-3"] {
            assert!(bad.parse::<PortRange>().is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_powers_of_1024_within_their_bounds() {
        type Any = Size<0, { u64::MAX }>;
        assert_eq!("512M".parse::<Any>().unwrap().0, 512 << 20);
        assert_eq!("64KiB".parse::<Any>().unwrap().0, 64 << 10);
        assert_eq!("1g".parse::<Any>().unwrap().0, 1 << 30);
        assert_eq!("7".parse::<Any>().unwrap().0, 7);
        for bad in ["", "M", "-1", "1.5M", "1T", "99999999999G", "ä"] {
            assert!(bad.parse::<Any>().is_err(), "{bad}");
        }
        let error = "1K"
            .parse::<Size<4096, { 1 << 30 }>>()
            .unwrap_err()
            .to_string();
        assert!(error.contains("from 4K to 1G"), "{error}");
    }

    #[test]
    fn a_duration_has_a_unit_and_is_not_zero() {
        assert_eq!("90s".parse(), Ok(Period(Duration::from_secs(90))));
        for bad in ["", "30", "0s", "-1s", "2 parsecs", "1000y"] {
            assert!(bad.parse::<Period>().is_err(), "{bad}");
        }
    }

    #[test]
    fn networks_and_variables_are_checked() {
        for good in ["127.0.0.1", "10.0.0.0/8", "::1", "fd00::/8"] {
            assert!(good.parse::<Network>().is_ok(), "{good}");
        }
        for (mapped, plain) in [
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:10.0.0.5", "10.0.0.5"),
            ("::/0", "::/0"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
        ] {
            assert_eq!(mapped.parse::<Network>(), plain.parse(), "{mapped}");
        }
        for bad in [
            "",
            "10.0.0.0/33",
            "::/129",
            "localhost",
            "10.0.0.0/",
            "10.0.0/8",
            "010.0.0.0/8",
        ] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
        assert_eq!("A=b=c".parse::<Variable>().unwrap().value, "b=c");
        for bad in ["A", "1A=x", "=x", "A B=x"] {
            assert!(bad.parse::<Variable>().is_err(), "{bad}");
        }
    }
}
