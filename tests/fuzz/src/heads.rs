//! What request and response heads have in common.

use procserver::front::http::field::Field;
use procserver::front::http::head_end;
use procserver::front::http::token;

/// Finds the end of a head.
type Find = fn(&[u8], usize) -> Result<Option<usize>, &'static str>;

/// Where the head ends, when it comes in two pieces, and byte by byte: as when it comes at once.
pub(crate) fn end(bytes: &[u8], split: usize) -> Result<Option<usize>, &'static str> {
    end_by(head_end::find_end, bytes, split)
}

/// The same by `find`.
pub(crate) fn end_by(
    find: Find,
    bytes: &[u8],
    split: usize,
) -> Result<Option<usize>, &'static str> {
    let whole = find(bytes, 0);
    let first = split.min(bytes.len());
    assert_eq!(
        in_pieces(find, bytes, [first, bytes.len()]),
        whole,
        "in two"
    );
    assert_eq!(
        in_pieces(find, bytes, 0..=bytes.len()),
        whole,
        "byte by byte"
    );
    if let Ok(Some(end)) = whole {
        let head = &bytes[..end];
        assert!(head.ends_with(b"\n\r\n") || head.ends_with(b"\n\n"));
        assert_eq!(find(head, 0), whole, "what follows counts");
    }
    whole
}

/// The bytes are there up to each of `ends` in turn.
fn in_pieces(
    find: Find,
    bytes: &[u8],
    ends: impl IntoIterator<Item = usize>,
) -> Result<Option<usize>, &'static str> {
    let mut seen = 0;
    for end in ends {
        if let Some(found) = find(&bytes[..end], seen)? {
            return Ok(Some(found));
        }
        seen = end;
    }
    Ok(None)
}

/// What was written is one head and nothing else.
pub(crate) fn assert_one_head(written: &[u8]) {
    assert_eq!(head_end::find_end(written, 0), Ok(Some(written.len())));
}

/// A parsed field can be written again and stays one field.
pub(crate) fn assert_plain(fields: &[Field<'_>]) {
    for field in fields {
        assert!(!field.name.is_empty() && field.name.bytes().all(token::is_token));
        let control = |b: &u8| (*b < b' ' && *b != b'\t') || *b == 0x7f;
        assert!(!field.value.iter().any(control), "{field:?}");
        assert!(!field.value.starts_with(b" ") && !field.value.ends_with(b" "));
    }
}

/// The name as a server that reads `_` as `-` sees it.
pub(crate) fn folded(name: &str) -> String {
    name.to_ascii_lowercase().replace(['_', '.'], "-")
}

/// Whether a field concerns one connection only, by its name or because Connection lists it.
pub(crate) fn ends_here(fields: &[Field<'_>], field: &Field<'_>) -> bool {
    const NAMES: [&str; 12] = [
        "connection",
        "http2-settings",
        "keep-alive",
        "proxy",
        "proxy-connection",
        "te",
        "transfer-encoding",
        "upgrade",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-authentication-info",
        "content-length",
    ];
    let name = folded(field.name);
    // Announced trailers are passed on, so the announcement is; not what only looks like one.
    let trailer = name == "trailer" && field.name.contains(['_', '.']);
    let is_trailer = field.is_named("trailer");
    let protected = field.is_named("host") || name.starts_with("x-forwarded-");
    let lines = fields.iter().filter(|f| f.is_named("connection"));
    let mut options = lines.flat_map(|f| f.value.split(|b| *b == b','));
    let listed = options.any(|o| o.trim_ascii().eq_ignore_ascii_case(field.name.as_bytes()));
    NAMES.contains(&&*name) || trailer || listed && !protected && !is_trailer
}

/// Fields that only proxies send, beside `X-Forwarded-*`.
pub(crate) const FROM_PROXY: [&str; 25] = [
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "client-ip",
    "fastly-client-ip",
    "fly-client-ip",
    "front-end-https",
    "path-info",
    "proxy-client-ip",
    "script-name",
    "true-client-ip",
    "wl-proxy-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-forwarded",
    "x-original-for",
    "x-original-host",
    "x-original-proto",
    "x-original-url",
    "x-originating-ip",
    "x-real-ip",
    "x-remote-addr",
    "x-remote-ip",
    "x-rewrite-url",
    "x-scheme",
    "x-url-scheme",
];

/// The values of all fields of this name, in order.
pub(crate) fn values<'b>(fields: &[Field<'b>], name: &str) -> Vec<&'b [u8]> {
    let named = fields.iter().filter(|f| f.is_named(name));
    named.map(|f| f.value).collect()
}

/// The only value of a field.
pub(crate) fn only<'b>(fields: &[Field<'b>], name: &str) -> &'b [u8] {
    match values(fields, name)[..] {
        [value] => value,
        ref others => panic!("{name}: {others:?}"),
    }
}
