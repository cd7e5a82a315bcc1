//! Says which file below a site's directory a request asks for (pure).
//!
//! A file has one name: no empty or dot segments, no separators that hide in an encoding. The app answers a path that
//! is no name of a file. A path that can only be an attempt to get out is refused.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use crate::front::http::field::Field;
use crate::front::http::quality::weight;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    File(Named),
    /// The path names no file. The app may know it.
    Nothing,
    /// The path leads out of the directory: 404.
    Refused,
}

/// A name below the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// A relative path without dot segments. It is empty for the directory itself.
    pub path: PathBuf,
    /// The path ends with a slash: the index of that directory is meant.
    pub directory: bool,
    /// A segment begins with a dot, but for `.well-known` (RFC 8615) in the first place.
    pub hidden: bool,
}

/// Says what `target` asks for, less `strip` bytes of its front, among files that appear under `prefix`.
#[must_use]
pub fn asked(target: &str, strip: usize, prefix: &str) -> Asked {
    let target = target.get(strip..).unwrap_or_default();
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let Some(path) = path.strip_prefix('/').or((path.is_empty()).then_some("")) else {
        return Asked::Nothing;
    };
    // Without a slash behind the app's name even the site's own directory is only named, not entered.
    let mut directory = path.ends_with('/') || path.is_empty() && target.starts_with('/');
    let mut segments = Vec::new();
    let trimmed = path.strip_suffix('/').unwrap_or(path);
    for raw in trimmed.split('/').filter(|_| !path.is_empty()) {
        match segment(raw) {
            Segment::Name(name) => segments.push(name),
            Segment::Nothing => return Asked::Nothing,
            Segment::Refused => return Asked::Refused,
        }
    }
    let mut rest = segments.as_slice();
    for part in prefix.split('/').filter(|part| !part.is_empty()) {
        match rest.split_first() {
            Some((first, others)) if *first == part.as_bytes() => rest = others,
            _ => return Asked::Nothing,
        }
    }
    // The slash of "/" cannot be left out.
    directory |= path.is_empty() && strip == 0;
    let begins = rest.first().is_some_and(|first| first == b".well-known");
    let mut below = rest.iter().skip(usize::from(begins));
    let hidden = below.any(|name| name.starts_with(b"."));
    let path = OsString::from_vec(rest.join(&b'/')).into();
    Asked::File(Named {
        path,
        directory,
        hidden,
    })
}

enum Segment {
    Name(Vec<u8>),
    Nothing,
    Refused,
}

fn segment(raw: &str) -> Segment {
    let Some(name) = decode(raw) else {
        return Segment::Nothing;
    };
    let mut parts = name.split(|b| matches!(b, b'/' | b'\\'));
    if name.contains(&0) || parts.any(|part| part == b"..") {
        return Segment::Refused;
    }
    let odd = |b: &u8| b.is_ascii_control() || matches!(b, b'/' | b'\\');
    if name.is_empty() || name == b"." || name.iter().any(odd) {
        return Segment::Nothing;
    }
    Segment::Name(name)
}

/// Decodes `%XX` once. Returns `None` where the two digits are missing.
fn decode(raw: &str) -> Option<Vec<u8>> {
    let mut bytes = raw.bytes();
    let mut decoded = Vec::with_capacity(raw.len());
    while let Some(byte) = bytes.next() {
        let digit = |b: Option<u8>| (b? as char).to_digit(16);
        decoded.push(match byte {
            b'%' => u8::try_from(digit(bytes.next())? * 16 + digit(bytes.next())?).ok()?,
            plain => plain,
        });
    }
    Some(decoded)
}

/// A coding in which a file may lie beside the plain one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// `.br` (RFC 7932).
    Brotli,
    /// `.gz`.
    Gzip,
}

impl Coding {
    /// The ending of its files' names.
    #[must_use]
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Brotli => ".br",
            Self::Gzip => ".gz",
        }
    }
}

/// Returns the codings that a client accepts (RFC 9110 §12.5.3) and prefers to none, the best one first.
#[must_use]
pub fn accepted(fields: &[Field<'_>]) -> Vec<Coding> {
    let lines = fields.iter().filter(|f| f.is_named("accept-encoding"));
    let lines: Vec<&str> = lines
        .filter_map(|f| std::str::from_utf8(f.value).ok())
        .collect();
    let quality = |names: &[&str]| {
        let items = lines.iter().flat_map(|line| line.split(','));
        let mut found = items.filter_map(|item| {
            let (name, q) = item.split_once(';').unwrap_or((item, ""));
            let is_named = names.iter().any(|n| name.trim().eq_ignore_ascii_case(n));
            is_named.then(|| weight(q))
        });
        found.next()
    };
    let any = quality(&["*"]);
    let plain = quality(&["identity"]).unwrap_or(0.0);
    let of = |coding, names: &[&str]| {
        let q = quality(names).or(any).unwrap_or(0.0);
        (q > 0.0 && q >= plain).then_some((coding, q))
    };
    let (brotli, gzip) = (
        of(Coding::Brotli, &["br"]),
        of(Coding::Gzip, &["gzip", "x-gzip"]),
    );
    let mut codings: Vec<_> = brotli.into_iter().chain(gzip).collect();
    codings.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    codings.into_iter().map(|(coding, _)| coding).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(path: &str, directory: bool) -> Asked {
        let hidden = path.split('/').any(|part| part.starts_with('.'));
        Asked::File(Named {
            path: path.into(),
            directory,
            hidden,
        })
    }

    #[test]
    fn a_path_names_one_file() {
        for (target, strip, prefix, wanted) in [
            ("/", 0, "/", file("", true)),
            ("/a/b.css?v=1", 0, "/", file("a/b.css", false)),
            ("/a/", 0, "/", file("a", true)),
            ("/blog", 5, "/", file("", false)),
            ("/blog/", 5, "/", file("", true)),
            ("/blog/a%20b", 5, "/", file("a b", false)),
            ("/assets/x", 0, "/assets", file("x", false)),
            ("/assets", 0, "/assets/", file("", false)),
            ("/assets/", 0, "/assets/", file("", true)),
            ("/assetsx", 0, "/assets", Asked::Nothing),
            ("/x", 0, "/assets", Asked::Nothing),
            ("/.env", 0, "/", file(".env", false)),
            ("/a/%2egit/x", 0, "/", file("a/.git/x", false)),
            ("/%252e%252e/x", 0, "/", file("%2e%2e/x", false)),
            ("/...", 0, "/", file("...", false)),
            ("*", 0, "/", Asked::Nothing),
        ] {
            assert_eq!(asked(target, strip, prefix), wanted, "{target}");
        }
    }

    #[test]
    fn ways_out_are_refused_and_other_oddities_no_files() {
        for target in [
            "/../x",
            "/a/..",
            "/%2e%2e/x",
            "/.%2E/x",
            "/a%2f..%2fx",
            "/..%5cx",
            "/a\\..\\x",
            "/a%00",
            "/a/%2e%2e%2fb",
        ] {
            assert_eq!(asked(target, 0, "/"), Asked::Refused, "{target}");
        }
        for target in [
            "//", "//a", "/a//", "/a//b", "/./a", "/a%2fb", "/a%5cb", "/a\\b", "/%", "/%4", "/%zz",
            "/%0a",
        ] {
            assert_eq!(asked(target, 0, "/"), Asked::Nothing, "{target}");
        }
    }

    #[test]
    fn the_best_coding_is_first() {
        use Coding::{Brotli, Gzip};
        for (value, wanted) in [
            ("gzip, deflate, br", vec![Brotli, Gzip]),
            ("br;q=0.5, GZIP", vec![Gzip, Brotli]),
            ("br;q=0, x-gzip;q=0.1", vec![Gzip]),
            ("*", vec![Brotli, Gzip]),
            ("*;q=0", vec![]),
            ("identity, gzip;q=0.5", vec![]),
            ("br;q=x", vec![]),
            ("", vec![]),
        ] {
            let field = Field::new("Accept-Encoding", value.as_bytes()).unwrap();
            assert_eq!(accepted(&[field]), wanted, "{value}");
        }
        assert_eq!(accepted(&[]), []);
    }

    proptest! {
        #[test]
        fn no_path_leaves_the_directory(target in "/([a./\\\\%]|%2e|%2F|%5C|%00|%25){0,12}") {
            if let Asked::File(named) = asked(&target, 0, "/") {
                for part in named.path.components() {
                    prop_assert!(matches!(part, std::path::Component::Normal(_)), "{target}");
                }
            }
        }
    }
}
