//! What a request head must be beyond its syntax: method, target, Host, framing, expectations (pure).

use super::framing::Framing;
use super::head::{Field, Refusal, Request, delimited, keeps_alive, tokens};
use super::host::Authority;

/// Checks a request whose syntax is right and gives it its meaning.
pub(super) fn check<'b>(
    method: &'b str,
    target: &'b str,
    minor: u8,
    fields: Vec<Field<'b>>,
) -> Result<Request<'b>, Refusal> {
    if matches!(method, "CONNECT" | "TRACE") {
        return Err(Refusal::Method);
    }
    let host = host(&fields, minor)?;
    let (authority, target, absolute) = match absolute(target)? {
        Some((authority, path)) => (Some(authority), path, true),
        None => (host, origin(method, target)?, false),
    };
    let framing = framing(&fields, minor)?;
    let keep_alive = keeps_alive(&fields, minor);
    let expects_continue = minor == 1 && expectation(&fields)? && framing != Framing::Empty;
    let upgrade = if minor == 1 { upgrade(&fields) } else { None };
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

/// Exactly one valid Host in HTTP/1.1, at most one in HTTP/1.0 (RFC 9112 §3.2).
fn host<'b>(fields: &[Field<'b>], minor: u8) -> Result<Option<Authority<'b>>, Refusal> {
    let mut hosts = fields.iter().filter(|f| f.is("host"));
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

/// Splits an absolute-form target into its authority and what is forwarded; `None` for other forms.
fn absolute(target: &str) -> Result<Option<(Authority<'_>, &str)>, Refusal> {
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
    // `http://host?query` has an empty path, which needs the slash that it lacks: nobody sends it.
    let path = if path.is_empty() { "/" } else { path };
    if !path.starts_with('/') {
        return Err(invalid);
    }
    Ok(Some((authority, valid(path)?)))
}

/// Origin form, or `*` for OPTIONS.
fn origin<'b>(method: &str, target: &'b str) -> Result<&'b str, Refusal> {
    if target == "*" {
        let refused = Refusal::Malformed("the target \"*\" is for OPTIONS only");
        return if method == "OPTIONS" {
            Ok(target)
        } else {
            Err(refused)
        };
    }
    valid(target)
}

/// Visible ASCII without a fragment: other bytes must come percent-encoded (RFC 3986 §2).
fn valid(target: &str) -> Result<&str, Refusal> {
    let fine = target.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
    fine.then_some(target).ok_or(Refusal::Malformed(
        "the target has a byte that is not allowed",
    ))
}

fn framing(fields: &[Field<'_>], minor: u8) -> Result<Framing, Refusal> {
    let delimited = delimited(fields).map_err(Refusal::Malformed)?;
    match (delimited.chunked, delimited.length) {
        (true, _) if minor == 0 => Err(Refusal::Malformed("Transfer-Encoding in HTTP/1.0")),
        (true, _) => Ok(Framing::Chunked),
        (false, Some(length)) => Ok(Framing::length(length)),
        (false, None) => Ok(Framing::Empty),
    }
}

/// Whether a 100 is expected (RFC 9110 §10.1.1).
fn expectation(fields: &[Field<'_>]) -> Result<bool, Refusal> {
    let mut expects = false;
    for field in fields.iter().filter(|f| f.is("expect")) {
        if !field.value.eq_ignore_ascii_case(b"100-continue") {
            return Err(Refusal::Expectation);
        }
        expects = true;
    }
    Ok(expects)
}

/// The value of Upgrade, where Connection names it (RFC 9110 §7.8).
fn upgrade<'b>(fields: &[Field<'b>]) -> Option<&'b str> {
    let value = fields.iter().find(|f| f.is("upgrade"))?.value;
    let mut named = tokens(fields, "connection");
    let named = named.any(|t| t.eq_ignore_ascii_case(b"upgrade"));
    let text = std::str::from_utf8(value).ok()?;
    (named && !text.is_empty()).then_some(text)
}
