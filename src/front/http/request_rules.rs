//! The rules for a request head beyond its syntax: method, target, Host, framing, expectations (pure).

use super::authority::{Authority, is_percent_encoded};
use super::body_length::BodyLength;
use super::connection_options::{has_many_options, keeps_alive};
use super::field::Name;
use super::fields::Fields;
use super::framing::Framing;
use super::head::{Refusal, Request};
use super::token::{decimal, is_token};
use super::upgrade;

/// Checks a request whose syntax is right, and finds its meaning.
pub(crate) fn check<'b>(
    method: &'b str,
    target: &'b str,
    minor: u8,
    fields: Fields<'b>,
) -> Result<Request<'b>, Refusal> {
    if matches!(method, "CONNECT" | "TRACE") {
        return Err(Refusal::Method);
    }
    let host = host(&fields, minor)?;
    if has_many_options(&fields) {
        return Err(Refusal::TooLarge);
    }
    if fields.named(Name::XApp).count() > 1 {
        return Err(Refusal::Malformed("X-App is repeated"));
    }
    let (authority, target, absolute) = match absolute(method, target)? {
        Some((authority, path)) => (Some(authority), path, true),
        None => (host, origin(method, target)?, false),
    };
    let framing = framing(&fields, minor)?;
    let keep_alive = keeps_alive(&fields, minor);
    let expects_continue = minor == 1 && expectation(&fields)? && framing != Framing::Empty;
    let upgrade = match minor {
        1 => upgrade::offered(&fields),
        _ => None,
    };
    Ok(Request {
        method,
        target,
        minor,
        fields,
        authority,
        absolute,
        framing,
        keep_alive,
        expects_continue,
        upgrade,
    })
}

/// Reads Host. There must be exactly one in HTTP/1.1, at most one in HTTP/1.0 (RFC 9112 §3.2).
fn host<'b>(fields: &Fields<'b>, minor: u8) -> Result<Option<Authority<'b>>, Refusal> {
    let mut hosts = fields.named(Name::Host);
    let Some(first) = hosts.next() else {
        let missing = Err(Refusal::Malformed("Host is missing"));
        return if minor == 1 { missing } else { Ok(None) };
    };
    if hosts.next().is_some() {
        return Err(Refusal::Malformed("Host is repeated"));
    }
    let text = std::str::from_utf8(first.value).ok();
    let parsed = text.and_then(Authority::parse);
    parsed
        .map(Some)
        .ok_or(Refusal::Malformed("Host is invalid"))
}

/// Splits a target in absolute form into its authority and the part that is forwarded. That part may be a query alone,
/// without the slash of an empty path. Returns `None` for other forms.
fn absolute<'b>(
    method: &str,
    target: &'b str,
) -> Result<Option<(Authority<'b>, &'b str)>, Refusal> {
    let invalid = Refusal::Malformed("the target is invalid");
    if target.starts_with(['/', '*']) {
        return Ok(None);
    }
    let Some((scheme, rest)) = target.split_once("://") else {
        return Err(invalid);
    };
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(invalid);
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let authority = Authority::parse(authority)
        .filter(|a| !a.host.is_empty())
        .ok_or(invalid)?;
    let path = match (path, method) {
        // RFC 9112 §3.2.4: in absolute form this means the server as a whole.
        ("", "OPTIONS") => "*",
        ("", _) => "/",
        (path, _) => valid(path)?,
    };
    Ok(Some((authority, path)))
}

/// Checks a target in origin form, or `*` for OPTIONS.
fn origin<'b>(method: &str, target: &'b str) -> Result<&'b str, Refusal> {
    if target == "*" {
        let refused = Refusal::Malformed("the target \"*\" is for OPTIONS only");
        return if method == "OPTIONS" {
            Ok(target)
        } else {
            Err(refused)
        };
    }
    if target.starts_with('/') {
        valid(target)
    } else {
        Err(Refusal::Malformed("the target is invalid"))
    }
}

/// Checks that a target is visible ASCII without a fragment. Other bytes must come percent-encoded (RFC 3986 §2).
/// Percent signs are checked in the path only: queries come with lone ones, and nobody looks for a file by them.
fn valid(target: &str) -> Result<&str, Refusal> {
    // Without an early end, so that the compiler looks at many bytes at once.
    let visible = |b: u8| b.is_ascii_graphic() & (b != b'#');
    if !target.bytes().fold(true, |all, b| all & visible(b)) {
        let why = "the target has a byte that is not allowed";
        return Err(Refusal::Malformed(why));
    }
    let end = memchr::memchr(b'?', target.as_bytes());
    let path = &target[..end.unwrap_or(target.len())];
    if !is_percent_encoded(path) {
        let why = "the path has a percent sign without two hexadecimal digits";
        return Err(Refusal::Malformed(why));
    }
    Ok(target)
}

fn framing(fields: &Fields<'_>, minor: u8) -> Result<Framing, Refusal> {
    let body = match BodyLength::read(fields) {
        Ok(body) => body,
        Err(_) if minor == 1 && has_unknown_coding(fields) => return Err(Refusal::Coding),
        Err(why) => return Err(Refusal::Malformed(why)),
    };
    match (body.chunked, body.length) {
        (true, _) if minor == 0 => Err(Refusal::Malformed("Transfer-Encoding in HTTP/1.0")),
        (true, _) => Ok(Framing::Chunked),
        (false, Some(length)) => Ok(Framing::length(length)),
        (false, None) => Ok(Framing::Empty),
    }
}

/// Whether a body has an unknown transfer coding and its framing is sound otherwise: no Content-Length beside it, and
/// `chunked` nowhere but at its end (RFC 9112 §6.1, §6.3).
fn has_unknown_coding(fields: &Fields<'_>) -> bool {
    // Parameters may follow a name.
    let codings = fields.tokens(Name::TransferEncoding);
    let names = codings.filter_map(|coding| coding.split(|b| *b == b';').next());
    let codings: Vec<&[u8]> = names.map(<[u8]>::trim_ascii).collect();
    let is_chunked = |coding: &&[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let Some((last, others)) = codings.split_last() else {
        return false;
    };
    let is_coding = |coding: &&[u8]| !coding.is_empty() && coding.iter().all(|b| is_token(*b));
    let others_are_sound = others.iter().all(|c| is_coding(c) && !is_chunked(c));
    let has_other = !others.is_empty() || !is_chunked(last);
    has_other && is_coding(last) && others_are_sound && !fields.has(Name::ContentLength)
}

/// Whether a 100 is expected (RFC 9110 §10.1.1).
fn expectation(fields: &Fields<'_>) -> Result<bool, Refusal> {
    let mut expects = false;
    for field in fields.named(Name::Expect) {
        if !field.value.eq_ignore_ascii_case(b"100-continue") {
            return Err(Refusal::Expectation);
        }
        expects = true;
    }
    Ok(expects)
}

/// Whether an OPTIONS may go no further than this server (RFC 9110 §7.6.2).
pub(crate) fn ends_here(request: &Request<'_>) -> bool {
    let mut hops = request.fields.named(Name::MaxForwards);
    request.method == "OPTIONS" && hops.any(|f| decimal(f.value) == Some(0))
}
