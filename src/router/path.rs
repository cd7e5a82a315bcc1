//! The first segment of a request path, as routing sees it (pure).
//!
//! Routing looks at a decoded and resolved copy; what is forwarded is what came. The two must agree on the first
//! segment, or `/a/..%2fb` would be app `a` for the router and app `b` for whoever resolves it.

use std::borrow::Cow;

/// The first segment of `path` (which may carry a query), decoded, and the length of the raw prefix (`/` and segment)
/// that names it. `None` if there is no first segment or the resolved path begins with another one.
#[must_use]
pub fn first_segment(path: &str) -> Option<(Cow<'_, str>, usize)> {
    let path = path.split(['?', '#']).next().unwrap_or(path);
    let rest = path.strip_prefix('/')?;
    let raw = rest.split('/').next().unwrap_or(rest);
    let plain = |text: &str| !text.contains(['%', '\\']);
    if plain(path) && !path.contains("//") && !path.contains("/.") {
        return (!raw.is_empty()).then_some((Cow::Borrowed(raw), 1 + raw.len()));
    }
    let segment = decode(raw);
    // Someone decodes once more than he should: each time the path must begin with the same segment.
    let mut decoded = decode(path);
    loop {
        if segment.is_empty() || first_resolved(&decoded)? != segment {
            return None;
        }
        let again = decode(&decoded);
        if again.len() >= decoded.len() {
            return Some((Cow::Owned(segment), 1 + raw.len()));
        }
        decoded = again;
    }
}

/// `%XX` decoded, byte by byte; what is no UTF-8 then becomes U+FFFD, which no name contains.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = |n: usize| bytes.get(at + n).and_then(|b| (*b as char).to_digit(16));
        if bytes[at] == b'%'
            && let (Some(high), Some(low)) = (hex(1), hex(2))
        {
            decoded.push(u8::try_from(high * 16 + low).unwrap_or(b'%'));
            at += 3;
        } else {
            decoded.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// The first segment after empty and dot segments are resolved (RFC 3986 §5.2.4); a backslash separates, as it does
/// for browsers and some servers. A segment ends where some server cuts it off before it looks for dots: at its
/// parameters (`..;x`), at what would begin a query or fragment, at a control byte.
fn first_resolved(path: &str) -> Option<&str> {
    let cut = |c: char| matches!(c, ';' | '?' | '#' | ' ') || c.is_ascii_control();
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split(['/', '\\']) {
        match segment.split(cut).next().unwrap_or(segment) {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            other => segments.push(other),
        }
    }
    segments.first().copied()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn first(path: &str) -> Option<(String, usize)> {
        first_segment(path).map(|(name, raw)| (name.into_owned(), raw))
    }

    #[test]
    fn the_first_segment_is_found_decoded() {
        assert_eq!(first("/blog"), Some(("blog".into(), 5)));
        assert_eq!(first("/blog/x?y=/../z"), Some(("blog".into(), 5)));
        assert_eq!(first("/blog?x"), Some(("blog".into(), 5)));
        assert_eq!(first("/b%6Cog/x"), Some(("blog".into(), 7)));
        assert_eq!(first("/blog//x"), Some(("blog".into(), 5)));
        assert_eq!(first("/blog/x/../y"), Some(("blog".into(), 5)));
        assert_eq!(first("/blog/.well-known"), Some(("blog".into(), 5)));
        assert_eq!(first("/"), None);
        assert_eq!(first("*"), None);
    }

    #[test]
    fn a_path_that_resolves_elsewhere_has_none() {
        for path in [
            "//blog",
            "/./blog",
            "/../blog",
            "/a/../blog",
            "/a/..",
            "/a/%2e%2e/blog",
            "/a%2Fblog",
            "/a/..%2fblog",
            "/%2fblog",
            "/%2e%2e/blog",
            "/a/x/../../blog",
            "/a\\..\\blog",
            "/a%5c..%5cblog",
            "/.",
            "/%2e",
            "/blog/..;/x",
            "/blog/..;a=b/x",
            "/blog/%2e%2e%3b/x",
            "/blog/%252e%252e/x",
            "/blog/..%25252fx",
            "/blog/..%00/x",
            "/blog;x/%2e",
        ] {
            assert_eq!(first(path), None, "{path}");
        }
    }

    proptest! {
        #[test]
        fn it_is_total_and_names_a_prefix(path in "[/a.%2eF5c\\\\?é]{0,12}") {
            if let Some((_, raw)) = first_segment(&path) {
                prop_assert!(raw >= 2 && raw <= path.len());
                prop_assert!(path.is_char_boundary(raw));
                prop_assert!(matches!(path.as_bytes().get(raw), None | Some(b'/' | b'?' | b'#')));
            }
        }
    }
}
