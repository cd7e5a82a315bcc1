//! Heads of HTTP/2 as heads of HTTP/1.1, and back (pure).
//!
//! `h2` has checked what RFC 9113 §8 asks for: names in lower case, values without line ends, pseudo-fields first, once
//! and known, no field of the connection, `te` with nothing but `trailers`, and lengths that agree. This file checks
//! what would mean something else in HTTP/1.1. The head that it writes is parsed like any other.
//!
//! Two things `h2` does not show (0.4.20), so that they cannot be refused: it cuts a `#` off `:path` with what follows
//! it, and drops pseudo-fields from trailers. Neither reaches an app.

use http::header::{CONNECTION, CONTENT_LENGTH, COOKIE, HOST, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::front::http::field::Field;
use crate::front::http::fields::Fields;
use crate::front::http::framing::BadBody;
use crate::front::http::head::{BadResponse, Refusal, Response};
use crate::front::http::{parse, write};

/// Fields that concern a connection of HTTP/1.1. None of them is sent (RFC 9113 §8.2.2).
const OF_CONNECTION: [&str; 5] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
];

/// Writes the head of a request as HTTP/1.1 has it. A body whose length is not known is chunked. Returns whether it is.
///
/// # Errors
/// [`Refusal`] of a head that would mean something else there. The method was written.
pub(super) fn request(out: &mut Vec<u8>, head: &Parts, has_body: bool) -> Result<bool, Refusal> {
    write::all(out, [head.method.as_str().as_bytes(), b" "]);
    let authority = head.uri.authority().map(|authority| authority.as_str());
    let target = match head.uri.path_and_query() {
        Some(target) => target.as_str(),
        None if head.method == Method::CONNECT => authority.unwrap_or_default(),
        None => "",
    };
    let is_origin = target.starts_with('/') || target == "*";
    if !is_origin && head.method != Method::CONNECT {
        return Err(Refusal::Malformed(":path does not begin with a slash"));
    }
    write::all(out, [target.as_bytes(), b" HTTP/1.1\r\n"]);
    let is_chunked = has_body && !head.headers.contains_key(CONTENT_LENGTH);
    fields(out, authority, &head.headers)?;
    if is_chunked {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    out.extend_from_slice(b"\r\n");
    Ok(is_chunked)
}

fn fields(out: &mut Vec<u8>, authority: Option<&str>, fields: &HeaderMap) -> Result<(), Refusal> {
    if [CONNECTION, TRANSFER_ENCODING, UPGRADE]
        .iter()
        .any(|name| fields.contains_key(name))
    {
        return Err(Refusal::Malformed("it has a field of the connection"));
    }
    let host = host(authority, fields)?;
    if let Some(host) = host {
        write::all(out, [b"host: ", host, b"\r\n"]);
    }
    // One line for each name that came, in the order in which they came first.
    for name in fields.keys() {
        if *name == HOST {
            continue;
        }
        let mut values = fields.get_all(name).iter().map(HeaderValue::as_bytes);
        if *name == COOKIE {
            cookie(out, values);
            continue;
        }
        values.by_ref().for_each(|value| {
            write::all(out, [name.as_str().as_bytes(), b": ", value, b"\r\n"]);
        });
    }
    Ok(())
}

/// Whom the request is for. Where `:authority` and Host are both there they say the same (RFC 9113 §8.3.1).
fn host<'h>(
    authority: Option<&'h str>,
    fields: &'h HeaderMap,
) -> Result<Option<&'h [u8]>, Refusal> {
    let mut hosts = fields.get_all(HOST).iter();
    let host = hosts.next().map(HeaderValue::as_bytes);
    if hosts.next().is_some() {
        return Err(Refusal::Malformed("Host is repeated"));
    }
    match (authority.map(str::as_bytes), host) {
        (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => Err(
            Refusal::Malformed("Host names another host than :authority"),
        ),
        (authority, host) => Ok(authority.or(host)),
    }
}

/// Puts the crumbs of a cookie together, as HTTP/1.1 has it (RFC 9113 §8.2.3).
fn cookie<'h>(out: &mut Vec<u8>, crumbs: impl Iterator<Item = &'h [u8]>) {
    out.extend_from_slice(b"cookie: ");
    for (at, crumb) in crumbs.enumerate() {
        let before: &[u8] = if at == 0 { b"" } else { b"; " };
        write::all(out, [before, crumb]);
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes the trailer section of a chunked body, behind the size of its last chunk.
pub(super) fn request_trailers(out: &mut Vec<u8>, trailers: &HeaderMap) {
    for (name, value) in trailers {
        let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
        write::all(out, [name, b": ", value, b"\r\n"]);
    }
}

/// The head of a response, without the fields of a connection.
///
/// # Errors
/// [`BadResponse`] of a status or a field that HTTP/2 cannot have.
pub(super) fn response(head: &Response<'_>) -> Result<http::Response<()>, BadResponse> {
    let mut response = http::Response::new(());
    let status = http::StatusCode::from_u16(head.status);
    *response.status_mut() = status.map_err(|_| BadResponse("its status is unknown"))?;
    *response.headers_mut() = header_map(&head.fields)?;
    Ok(response)
}

/// The trailers of a response: the section with its blank line, as a chunked body has it.
///
/// # Errors
/// [`BadBody`] of a section that is malformed.
pub(super) fn response_trailers(section: &[u8]) -> Result<HeaderMap, BadBody> {
    let fields = parse::trailers(section).map_err(BadBody)?;
    header_map(&fields).map_err(|bad| BadBody(bad.0))
}

fn header_map(fields: &Fields<'_>) -> Result<HeaderMap, BadResponse> {
    let mut map = HeaderMap::with_capacity(fields.len());
    for field in fields.iter().filter(|field| !is_of_connection(field)) {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let value = HeaderValue::from_bytes(field.value);
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(BadResponse("a field is invalid"));
        };
        map.append(name, value);
    }
    Ok(map)
}

fn is_of_connection(field: &Field<'_>) -> bool {
    OF_CONNECTION
        .iter()
        .any(|name| field.name.eq_ignore_ascii_case(name))
}
