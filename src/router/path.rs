//! Finds the first segment of a request path, as routing sees it (pure).
//!
//! Routing looks at a decoded and resolved copy of the path, and the path itself is forwarded. Both must have the same
//! first segment, or `/a/..%2fb` would be app `a` for the router and app `b` for whoever resolves it. Who that is, and
//! how it reads a path, is not known, so they must agree for every reader.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// The most times that a path may be encoded over. To decode it more often would cost more than it can mean.
const DECODED: usize = 4;

/// Returns the first segment of `path`, which may carry a query, decoded, and the length of the raw prefix (`/` and
/// segment) that names it. Returns `None` if there is none, or if the path leaves it for any reader.
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
    if !is_name(&segment) || decode(&segment) != segment {
        return None;
    }
    let mut length = 1;
    for part in rest.split('/').skip(1) {
        let step = shortest(part)?;
        if length + step.least < 1 {
            return None;
        }
        length += step.to;
    }
    Some((Cow::Owned(segment), 1 + raw.len()))
}

/// Decodes `%XX`. Bytes that are not UTF-8 then become U+FFFD, which no name contains.
fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// The segments by which a path gets longer, or below 0 shorter, where one of its parts is resolved.
#[derive(Clone, Copy)]
struct Step {
    to: isize,
    least: isize,
}

/// Returns the shortest that a part between two slashes leaves a path in any reading. Readers differ: some decode
/// before they resolve dot segments, some after, some once more than they should, and some separate at a backslash.
/// Several segments for one are a single one for another, so it is not enough that the path comes back to its first
/// segment: no reading may leave it. Returns `None` if the part is encoded too often.
fn shortest(part: &str) -> Option<Step> {
    let mut text = Cow::Borrowed(part);
    let mut shortest = walk(&text);
    for _ in 0..DECODED {
        let again = decode(&text);
        if again == text {
            return Some(shortest);
        }
        let step = walk(&again);
        shortest.to = shortest.to.min(step.to);
        shortest.least = shortest.least.min(step.least);
        text = Cow::Owned(again);
    }
    (decode(&text) == text).then_some(shortest)
}

/// Resolves dot segments (RFC 3986 §5.2.4) so that `..` removes the most: empty segments count as none, and names that
/// follow each other as one, because not every reader separates at what separates here.
fn walk(part: &str) -> Step {
    let (mut to, mut least, mut in_name) = (0, 0, false);
    for segment in part.split(['/', '\\']) {
        match segment.split(ends).next().unwrap_or(segment) {
            "" | "." => {}
            ".." => (to, in_name) = (to - 1, false),
            _ if in_name => {}
            _ => (to, in_name) = (to + 1, true),
        }
        least = least.min(to);
    }
    Step { to, least }
}

/// Whether some server cuts a segment off at this character before it looks for dots: at parameters (`..;x`), at what
/// would begin a query or fragment, at a control byte.
fn ends(c: char) -> bool {
    matches!(c, ';' | '?' | '#' | ' ') || c.is_ascii_control()
}

/// Whether a segment is the same name for all readers.
fn is_name(segment: &str) -> bool {
    let separates = |c: char| matches!(c, '/' | '\\') || ends(c);
    !matches!(segment, "" | "." | "..") && !segment.contains(separates)
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
        assert_eq!(
            first("/blog/a%2Fb/../x/y/../../z"),
            Some(("blog".into(), 5))
        );
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
            "/blog/%252525252525252525252520",
            "/blog/..%00/x",
            "/blog;x/%2e",
            "/blog/../shop//../blog",
            "/blog/../blog/x",
            "/blog/a%2fb/../../shop",
            "/blog/a%2fb/%2e%2e/%2e%2e/shop",
            "/blog/a%5cb/../../shop",
            "/blog/a\\b/../../shop",
            "/blog/a%2fb%5c../../shop",
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
