//! PROXY headers of real balancers and such as none would send.

use std::net::SocketAddr;

use procserver::front::proxy_header::{Header, HeaderError, Named, parse};
use serde::Deserialize;

use super::{Bytes, table};

#[derive(Deserialize)]
struct Case {
    name: String,
    bytes: Bytes,
    /// The client, and the address to which it connected.
    names: Option<[SocketAddr; 2]>,
    error: Option<String>,
}

#[test]
fn proxy_headers_are_read_as_the_specification_says() {
    let cases: Vec<Case> = table(include_str!("../../conformance/proxy_headers.json"), 79);
    for case in cases {
        let (name, bytes) = (&case.name, case.bytes.get());
        let parsed = parse(&bytes);
        if let Some(error) = case.error {
            let expected = match &*error {
                "missing" => HeaderError::Missing,
                "malformed" => HeaderError::Malformed,
                _ => HeaderError::TooLong,
            };
            assert_eq!(parsed, Err(expected), "{name}");
            continue;
        }
        let named = match case.names {
            Some([from, to]) => Named::Client { from, to },
            None => Named::Nobody,
        };
        let length = bytes.len();
        assert_eq!(parsed, Ok(Some(Header { named, length })), "{name}");
        for end in 0..length {
            assert_eq!(parse(&bytes[..end]), Ok(None), "{name}: {end} bytes of it");
        }
    }
}
