//! Parses request and response heads, as strictly as RFC 9112 allows (pure).
//!
//! A head that two parsers may read differently is refused, not repaired, because request smuggling needs a proxy that
//! repairs. `httparse` splits a head into its fields, and this file checks the rules that it is lax about.

use std::mem::MaybeUninit;

use super::body_length::BodyLength;
use super::connection_options::{has_many_options, keeps_alive};
use super::field::Field;
use super::fields::Fields;
use super::framing::Framing;
use super::head::{
    BadResponse, MAX_FIELDS, MAX_LINE, MAX_RESPONSE_FIELDS, MAX_TARGET, Refusal, Request, Response,
};
use super::request_rules;
use super::token::is_token;

/// Parses `bytes`, a whole head with its blank line (see [`find_end`](super::head_end::find_end)).
///
/// # Errors
/// [`Refusal`] for everything that RFC 9112 lets a strict server refuse.
pub fn request(bytes: &[u8], max_fields: usize) -> Result<Request<'_>, Refusal> {
    let line_end = bytes
        .iter()
        .position(|b| *b == b'\r')
        .unwrap_or(bytes.len());
    if check_request_line(&bytes[..line_end])? == LineVersion::Newer {
        return newer(bytes, line_end, max_fields);
    }
    let mut space = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(bytes, &mut space) {
        Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
        Ok(_) => return Err(Refusal::Malformed("it ends before its blank line")),
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::TooLarge),
        Err(httparse::Error::Version) => return Err(Refusal::Version),
        Err(_) => return Err(Refusal::Malformed("a field or the request line is invalid")),
    }
    if parsed.headers.len() > max_fields {
        return Err(Refusal::TooLarge);
    }
    let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version)
    else {
        return Err(Refusal::Malformed("the request line is incomplete"));
    };
    let fields = fields(parsed.headers).map_err(Refusal::Malformed)?;
    request_rules::check(method, target, minor, fields)
}

/// Parses a head of HTTP/1.2 or later, which `httparse` does not know, as HTTP/1.1 (RFC 9110 §2.5).
fn newer(bytes: &[u8], line_end: usize, max_fields: usize) -> Result<Request<'_>, Refusal> {
    let invalid = Refusal::Malformed("a field or the request line is invalid");
    let (line, rest) = bytes.split_at_checked(line_end + 2).ok_or(invalid)?;
    let mut space = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let parsed = match httparse::parse_headers(rest, &mut space) {
        Ok(httparse::Status::Complete((length, parsed))) if length == rest.len() => parsed,
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::TooLarge),
        Ok(_) | Err(_) => return Err(invalid),
    };
    if parsed.len() > max_fields {
        return Err(Refusal::TooLarge);
    }
    let line = std::str::from_utf8(line).map_err(|_| invalid)?;
    let mut words = line.split(' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Err(invalid);
    };
    let fields = fields(parsed).map_err(Refusal::Malformed)?;
    request_rules::check(method, target, 1, fields)
}

/// The version that a request line names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineVersion {
    /// HTTP/1.0 or HTTP/1.1.
    Known,
    /// HTTP/1.2 to HTTP/1.9.
    Newer,
}

/// Checks that a request line is method, target and version with one blank between them. `httparse` allows more blanks.
pub(crate) fn check_request_line(line: &[u8]) -> Result<LineVersion, Refusal> {
    if line.len() >= MAX_LINE {
        return Err(Refusal::Target);
    }
    let mut words = line.split(|b| *b == b' ');
    let (method, target, version) = (words.next(), words.next(), words.next());
    let (Some(method), Some(target), Some(version), None) = (method, target, version, words.next())
    else {
        return Err(Refusal::Malformed(
            "the request line is not METHOD TARGET HTTP/1.1",
        ));
    };
    if method.is_empty() || !method.iter().all(|b| is_token(*b)) {
        return Err(Refusal::Malformed("the method is invalid"));
    }
    if target.len() > MAX_TARGET {
        return Err(Refusal::Target);
    }
    match version {
        b"HTTP/1.1" | b"HTTP/1.0" => Ok(LineVersion::Known),
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'2'..=b'9'] => Ok(LineVersion::Newer),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Err(Refusal::Version)
        }
        _ => Err(Refusal::Malformed("the version is invalid")),
    }
}

/// Parses `bytes`, a whole response head. `to_head` says that the request was HEAD.
///
/// # Errors
/// [`BadResponse`] with what is wrong.
pub fn response(bytes: &[u8], to_head: bool) -> Result<Response<'_>, BadResponse> {
    // `httparse` skips empty lines.
    if !bytes.starts_with(b"HTTP/1.") {
        return Err(BadResponse("it does not begin with HTTP/1.1 or HTTP/1.0"));
    }
    let (status, minor, fields) = match split_response::<MAX_FIELDS>(bytes) {
        Err(httparse::Error::TooManyHeaders) => split_large_response(bytes),
        split => split,
    }
    .map_err(|error| match error {
        httparse::Error::TooManyHeaders => BadResponse("it has more than 1,000 fields"),
        _ => BadResponse("the status line or a field is invalid"),
    })?;
    if status < 100 {
        return Err(BadResponse("the status code is below 100"));
    }
    if has_many_options(&fields) {
        return Err(BadResponse("Connection lists too much"));
    }
    let body = BodyLength::read(&fields).map_err(BadResponse)?;
    if body.chunked && minor == 0 {
        return Err(BadResponse("Transfer-Encoding in HTTP/1.0"));
    }
    // RFC 9112 §6.3: these have no body, whatever the fields say.
    let framing = if to_head || status < 200 || status == 204 || status == 304 {
        Framing::Empty
    } else if body.chunked {
        Framing::Chunked
    } else {
        body.length.map_or(Framing::UntilClose, Framing::length)
    };
    // A backend that announces a body where none may be could send it late, as the answer to the next request. That
    // costs a connection also where the announcement is right, in answers to HEAD.
    let announced = body.chunked || body.length.is_some_and(|length| length > 0);
    let keep_alive = keeps_alive(&fields, minor) && !(framing == Framing::Empty && announced);
    Ok(Response {
        status,
        reason: reason(bytes),
        fields,
        framing,
        length: body.length,
        keep_alive,
    })
}

/// Status, minor version and fields of a head.
type Split<'b> = Result<(u16, u8, Fields<'b>), httparse::Error>;

fn split_response<const FIELDS: usize>(bytes: &[u8]) -> Split<'_> {
    let mut space = [const { MaybeUninit::uninit() }; FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let length = config.parse_response_with_uninit_headers(&mut parsed, bytes, &mut space)?;
    let (Some(status), Some(minor)) = (parsed.code, parsed.version) else {
        return Err(httparse::Error::Status);
    };
    let whole = length == httparse::Status::Complete(bytes.len());
    let fields = fields(parsed.headers).ok().filter(|_| whole);
    Ok((status, minor, fields.ok_or(httparse::Error::HeaderName)?))
}

/// Few responses have so many fields, and the stack of the others need not be as large.
#[cold]
#[inline(never)]
fn split_large_response(bytes: &[u8]) -> Split<'_> {
    split_response::<MAX_RESPONSE_FIELDS>(bytes)
}

/// Returns what comes behind the status code. `httparse` drops a reason that is not ASCII.
fn reason(bytes: &[u8]) -> &[u8] {
    let line = memchr::memchr2(b'\r', b'\n', bytes).map_or(bytes, |end| &bytes[..end]);
    line.get("HTTP/1.1 200 ".len()..).unwrap_or_default()
}

/// Parses a trailer section with its blank line.
///
/// # Errors
/// A text with what is wrong.
pub fn trailers(bytes: &[u8]) -> Result<Fields<'_>, &'static str> {
    let mut space = [httparse::EMPTY_HEADER; 64];
    match httparse::parse_headers(bytes, &mut space) {
        Ok(httparse::Status::Complete((length, parsed))) if length == bytes.len() => fields(parsed),
        _ => Err("the trailer section is invalid"),
    }
}

fn fields<'b>(parsed: &[httparse::Header<'b>]) -> Result<Fields<'b>, &'static str> {
    let mut fields = Fields::with_capacity(parsed.len());
    for header in parsed {
        let field = Field::new(header.name, header.value).ok_or("a field name is invalid")?;
        fields.push(field);
    }
    Ok(fields)
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
