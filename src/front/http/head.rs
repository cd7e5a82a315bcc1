//! Request and response heads, as strict as RFC 9112 allows (pure).
//!
//! What two parsers may read differently is refused, not repaired: a proxy that repairs is what request smuggling
//! needs. `httparse` splits a head into its fields; the rules it is lax about are checked here.

use std::mem::MaybeUninit;
use std::sync::LazyLock;

use memchr::memmem;

use super::authority::Authority;
use super::field::{Field, Name};
use super::fields::Fields;
use super::framing::Framing;

/// Fields that a head may have at most, whatever the settings say.
pub const MAX_FIELDS: usize = 256;

/// Fields that a response head may have at most, and its bytes: some programs set a cookie for each thing they know.
const MAX_RESPONSE_FIELDS: usize = 1000;
pub(crate) const MAX_RESPONSE: usize = 256 * 1024;

/// Options that Connection may list at most: each field is compared with each of them.
const MAX_OPTIONS: usize = 64;

/// Bytes of a request target at most; RFC 9112 §3 asks for 8,000 at least.
pub const MAX_TARGET: usize = 16 * 1024;

/// Bytes of a request line at which it is not read on.
pub(crate) const MAX_LINE: usize = MAX_TARGET + 64;

/// Why a request head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 400.
    #[error("The request is malformed: {0}.")]
    Malformed(&'static str),
    /// 405: CONNECT or TRACE.
    #[error("The method is not offered here: use GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS.")]
    Method,
    /// 414.
    #[error("The request target is too long: at most {MAX_TARGET} bytes are accepted.")]
    Target,
    /// 417.
    #[error("The expectation cannot be met: only \"100-continue\" is known.")]
    Expectation,
    /// 501.
    #[error("The transfer coding is not known here: only \"chunked\" is.")]
    Coding,
    /// 431.
    #[error("The request head is too large, or has too many fields: send fewer or shorter ones.")]
    TooLarge,
    /// 505.
    #[error("The protocol version is not supported: use HTTP/1.1.")]
    Version,
}

impl Refusal {
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::Malformed(_) => 400,
            Self::Method => 405,
            Self::Target => 414,
            Self::Expectation => 417,
            Self::TooLarge => 431,
            Self::Coding => 501,
            Self::Version => 505,
        }
    }
}

/// Why a response head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed response: {0}")]
pub struct BadResponse(pub &'static str);

/// A parsed and checked request head.
#[derive(Clone, Debug)]
pub struct Request<'b> {
    pub method: &'b str,
    /// What is forwarded: path and query, byte for byte, or `*`.
    pub target: &'b str,
    /// 0 or 1: HTTP/1.0 or HTTP/1.1.
    pub minor: u8,
    /// All fields, in order.
    pub fields: Fields<'b>,
    /// Whom the request is for: from an absolute target, else Host; `None` in HTTP/1.0 without Host.
    pub authority: Option<Authority<'b>>,
    /// The authority came with the target and replaces Host.
    pub absolute: bool,
    /// How the body is delimited.
    pub framing: Framing,
    /// The client wants the connection kept.
    pub keep_alive: bool,
    /// The client waits for a 100 before it sends the body.
    pub expects_continue: bool,
    /// The protocols that the client would switch to.
    pub upgrade: Option<&'b str>,
}

/// A parsed and checked response head.
#[derive(Clone, Debug)]
pub struct Response<'b> {
    /// The status code, 100 to 999.
    pub status: u16,
    /// The reason phrase, as it came; bytes above 127 may be in it.
    pub reason: &'b [u8],
    /// All fields, in order.
    pub fields: Fields<'b>,
    /// How the body is delimited.
    pub framing: Framing,
    /// What Content-Length says, of a message without a body too.
    pub length: Option<u64>,
    /// The backend keeps the connection.
    pub keep_alive: bool,
}

/// Looks for the blank line that ends a head. `seen` bytes of `bytes` were looked at before; the answer is the length
/// of the head with its blank line, if it is there.
///
/// # Errors
/// A text when the bytes can be no head: a CR or LF that is not part of a CRLF, or a NUL.
pub fn find_end(bytes: &[u8], seen: usize) -> Result<Option<usize>, &'static str> {
    // Of the blank line three bytes may have come before.
    let seen = seen.min(bytes.len());
    let from = seen.saturating_sub(BLANK.len() - 1);
    let end = BLANK_LINE
        .find(&bytes[from..])
        .map(|at| from + at + BLANK.len());
    // The last byte may be a CR whose LF only comes now, or then.
    let from = seen - usize::from(bytes[..seen].ends_with(b"\r"));
    let until = end.unwrap_or(bytes.len() - usize::from(bytes.ends_with(b"\r")));
    match bytes.get(from..until).is_none_or(has_whole_lines) {
        true => Ok(end),
        false => Err(first_fault(bytes)),
    }
}

/// The same for a response head: applications that end their lines with LF alone are read as they mean it (RFC 9112
/// §2.2). It is written anew, so nobody else sees them.
///
/// # Errors
/// A text when the bytes can be no head: a CR that is not part of a CRLF, or a NUL.
pub fn find_response_end(bytes: &[u8], seen: usize) -> Result<Option<usize>, &'static str> {
    // Of the blank line two bytes may have come before.
    let from = seen.min(bytes.len()).saturating_sub(2);
    let blank = |at: usize| {
        let line = &bytes[from + at + 1..];
        let length = match line {
            [b'\n', ..] => 1,
            [b'\r', b'\n', ..] => 2,
            _ => return None,
        };
        Some(from + at + 1 + length)
    };
    let end = memchr::memchr_iter(b'\n', &bytes[from..]).find_map(blank);
    let until = end.unwrap_or(bytes.len());
    let wrong = |(b, next): (&u8, &u8)| ((*b == b'\r') & (*next != b'\n')) | (*b == 0);
    let looked = &bytes[from..until];
    let pairs = looked.iter().zip(looked.get(1..).unwrap_or_default());
    let found = pairs.fold(false, |found, pair| found | wrong(pair));
    match found || looked.last() == Some(&0) {
        true => Err("a NUL byte, or a carriage return without LF"),
        false => Ok(end),
    }
}

const BLANK: &[u8] = b"\r\n\r\n";

static BLANK_LINE: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(BLANK));

/// Whether each CR comes before an LF, each LF after a CR, and there is no NUL. Without an early end: the compiler looks
/// at many bytes at once.
fn has_whole_lines(bytes: &[u8]) -> bool {
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return true;
    };
    let wrong = |(b, next): (&u8, &u8)| ((*b == b'\r') != (*next == b'\n')) | (*b == 0);
    let pairs = bytes.iter().zip(&bytes[1..]);
    let found = pairs.fold(false, |found, pair| found | wrong(pair));
    !found && *first != b'\n' && !matches!(last, b'\r' | 0)
}

/// What is wrong first, so that it does not depend on the pieces in which the bytes came.
fn first_fault(bytes: &[u8]) -> &'static str {
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            0 => return "a NUL byte",
            b'\n' if !bytes[..at].ends_with(b"\r") => return "a line feed without CR",
            b'\r' if bytes.get(at + 1).is_some_and(|next| *next != b'\n') => break,
            _ => {}
        }
    }
    "a carriage return without LF"
}

/// Parses the head that `bytes` is (to the end of its blank line, see [`find_end`]).
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
    super::request_rules::check(method, target, minor, fields)
}

/// Parses a head of HTTP/1.2 or later, which is read as HTTP/1.1 (RFC 9110 §2.5); `httparse` knows no such version.
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
    super::request_rules::check(method, target, 1, fields)
}

/// The version that a request line names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineVersion {
    /// HTTP/1.0 or HTTP/1.1.
    Known,
    /// HTTP/1.2 to HTTP/1.9.
    Newer,
}

/// The request line is method, target and version with one blank between them; `httparse` allows more.
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

/// Parses the response head that `bytes` is. `to_head`: the request was HEAD.
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
    let delimited = delimited(&fields).map_err(BadResponse)?;
    if delimited.chunked && minor == 0 {
        return Err(BadResponse("Transfer-Encoding in HTTP/1.0"));
    }
    // RFC 9112 §6.3: these have no body, whatever the fields say.
    let framing = if to_head || status < 200 || status == 204 || status == 304 {
        Framing::Empty
    } else if delimited.chunked {
        Framing::Chunked
    } else {
        delimited
            .length
            .map_or(Framing::UntilClose, Framing::length)
    };
    // Who announces a body where none may be could send it, late, and the next request would get it for its answer. To
    // HEAD that costs those a connection that do it right.
    let announced = delimited.chunked || delimited.length.is_some_and(|length| length > 0);
    let keep_alive = keeps_alive(&fields, minor) && !(framing == Framing::Empty && announced);
    Ok(Response {
        status,
        reason: reason(bytes),
        fields,
        framing,
        length: delimited.length,
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

/// Few have so many, and the stack of the others need not be as large.
#[cold]
#[inline(never)]
fn split_large_response(bytes: &[u8]) -> Split<'_> {
    split_response::<MAX_RESPONSE_FIELDS>(bytes)
}

/// What comes behind the status code. `httparse` has no reason that is not ASCII.
fn reason(bytes: &[u8]) -> &[u8] {
    let line = memchr::memchr2(b'\r', b'\n', bytes).map_or(bytes, |end| &bytes[..end]);
    line.get("HTTP/1.1 200 ".len()..).unwrap_or_default()
}

/// Checks a trailer section (to the end of its blank line) and returns its fields.
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

/// What Content-Length and Transfer-Encoding say together.
pub(super) struct Delimited {
    pub(super) length: Option<u64>,
    pub(super) chunked: bool,
}

/// Reads Content-Length and Transfer-Encoding: of the first, the same number each time; of the second, one `chunked`;
/// never both (RFC 9112 §6.1, §6.3).
pub(super) fn delimited(fields: &Fields<'_>) -> Result<Delimited, &'static str> {
    let mut length = None;
    let mut chunked = false;
    for field in fields.named(Name::ContentLength) {
        let number = decimal(field.value).ok_or("Content-Length is not a number")?;
        if length.is_some_and(|before| before != number) {
            return Err("two different Content-Lengths");
        }
        length = Some(number);
    }
    for field in fields.named(Name::TransferEncoding) {
        if chunked || !field.value.eq_ignore_ascii_case(b"chunked") {
            return Err("Transfer-Encoding is not exactly \"chunked\"");
        }
        chunked = true;
    }
    if chunked && length.is_some() {
        return Err("both Content-Length and Transfer-Encoding");
    }
    Ok(Delimited { length, chunked })
}

/// Digits only, no sign, no overflow.
pub(crate) fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0u64, |number, byte| {
        let digit = u64::from(byte.wrapping_sub(b'0'));
        let number = number.checked_mul(10)?.checked_add(digit)?;
        (digit < 10).then_some(number)
    })
}

/// Whether Connection lists more than [`MAX_OPTIONS`].
pub(super) fn has_many_options(fields: &Fields<'_>) -> bool {
    let lines = fields.named(Name::Connection);
    let options = lines.flat_map(|f| f.value.split(|b| *b == b','));
    options.take(MAX_OPTIONS + 1).count() > MAX_OPTIONS
}

/// Whether the sender keeps the connection (RFC 9112 §9.3).
pub(super) fn keeps_alive(fields: &Fields<'_>, minor: u8) -> bool {
    let connection = || tokens(fields, Name::Connection);
    let has = |word: &str| connection().any(|t| t.eq_ignore_ascii_case(word.as_bytes()));
    !has("close") && (minor == 1 || has("keep-alive"))
}

/// The elements of all lists of this name, blanks removed, empty ones left out.
pub(super) fn tokens<'f, 'b: 'f>(
    fields: &'f Fields<'b>,
    name: Name,
) -> impl Iterator<Item = &'b [u8]> + 'f {
    fields
        .named(name)
        .flat_map(|f| f.value.split(|b| *b == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|t| !t.is_empty())
}

/// A byte of a token (RFC 9110 §5.6.2).
#[must_use]
pub const fn is_token(byte: u8) -> bool {
    TOKEN[byte as usize]
}

/// One look for each byte of a head.
const TOKEN: [bool; 256] = alphanumeric_or(b"!#$%&'*+-.^_`|~");

/// A table of the bytes that are a letter, a digit or one of `others`.
pub(super) const fn alphanumeric_or(others: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let mut at = 0;
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    table
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;
