//! Python's byte code, `__pycache__/NAME.TAG.pyc` (PEP 3147, PEP 552): decides when that of an earlier release can
//! stand for that of a new one (pure).
//!
//! Byte code records the time and the size of its source, and Python ignores it where these differ. It also holds the
//! path of its source, which each import corrects (`_imp._fix_co_filename`). So each installation of the same package
//! makes byte code with other bytes.

use std::ffi::CStr;

use memchr::memmem;

/// The directory of byte code, beside the sources.
pub(super) const DIRECTORY: &CStr = c"__pycache__";

/// Magic number, flags, and time and size or hash of the source.
const HEADER: usize = 16;

/// The source, as byte code records it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Source {
    /// Time of its last change in seconds; Python keeps 32 bits.
    pub(super) time: i64,
    /// Its size in bytes; Python keeps 32 bits.
    pub(super) size: i64,
}

/// The beginning of the names of a source's byte code: `a.` for `a.py`. `None`: it is no source.
pub(super) fn stem(name: &CStr) -> Option<&[u8]> {
    let name = name.to_bytes();
    name.ends_with(b".py").then(|| &name[..name.len() - 2])
}

/// Whether a file is byte code, and of the source with this stem.
pub(super) fn is_of(name: &CStr, stem: &[u8]) -> bool {
    let rest = name.to_bytes().strip_prefix(stem);
    rest.is_some_and(|rest| rest.ends_with(b".pyc"))
}

/// Whether Python ignores this byte code when its source has another time.
pub(super) fn minds_time(code: &[u8]) -> bool {
    code.get(4..8) == Some(&[0; 4])
}

/// Whether `old` is valid for `source`, which both releases have, and equals `new` but for the time and the path of
/// the source. `roots`: the directory of all releases, whose names are numbers, and that of the new one. `old` may be
/// of any release, because it may be a link already.
pub(super) fn does_for(old: &[u8], new: &[u8], source: Source, roots: (&[u8], &[u8])) -> bool {
    if old.len() < HEADER || new.len() < HEADER || old[..8] != new[..8] {
        return false;
    }
    let is_current = match minds_time(old) {
        true => {
            let word = |number: i64| number.to_le_bytes()[..4].to_owned();
            old[8..12] == word(source.time) && old[12..16] == word(source.size)
        }
        false => old[8..HEADER] == new[8..HEADER],
    };
    is_current && is_same_but_root(&old[HEADER..], &new[HEADER..], roots)
}

fn is_same_but_root(old: &[u8], new: &[u8], (releases, root): (&[u8], &[u8])) -> bool {
    let (mut seen, mut also_seen) = (0, 0);
    for at in memmem::find_iter(old, releases) {
        let digits = old[at + releases.len()..].iter();
        let number = digits.take_while(|byte| byte.is_ascii_digit()).count();
        let end = at + releases.len() + number + 1;
        let also_at = also_seen + (at - seen);
        let is_there = number > 0
            && old.get(end - 1) == Some(&b'/')
            && new
                .get(also_at..)
                .is_some_and(|rest| rest.starts_with(root));
        let longer = root.len().wrapping_sub(end - at);
        if !is_there || !is_same_before(&old[seen..at], &new[also_seen..also_at], longer) {
            return false;
        }
        (seen, also_seen) = (end, also_at + root.len());
    }
    new.get(also_seen..) == Some(&old[seen..])
}

/// Whether the bytes before a path are the same but for the path's length, which has one byte or four (strings of
/// marshal).
fn is_same_before(old: &[u8], new: &[u8], longer: usize) -> bool {
    if longer == 0 {
        return old == new;
    }
    let of_one = || -> Option<bool> {
        let ((old, start), (new, same_start)) = (old.split_last()?, new.split_last()?);
        let length = usize::from(*old).wrapping_add(longer);
        Some(length == usize::from(*new) && start == same_start)
    };
    let of_four = || -> Option<bool> {
        let ((start, old), (same_start, new)) = (old.split_last_chunk()?, new.split_last_chunk()?);
        let length = |bytes: &[u8; 4]| u32::from_le_bytes(*bytes) as usize;
        Some(length(old).wrapping_add(longer) == length(new) && start == same_start)
    };
    of_one().unwrap_or(false) || of_four().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOTS: (&[u8], &[u8]) = (b"/apps/a/releases/", b"/apps/a/releases/2/");

    fn code(flags: u32, time: u32, path: &str) -> Vec<u8> {
        let mut bytes = b"\xa7\x0d\x0d\x0a".to_vec();
        for word in [flags, time, 7] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(b"\xe3 code z");
        bytes.push(u8::try_from(path.len()).unwrap());
        bytes.extend(path.as_bytes());
        bytes.extend(b"r more");
        bytes
    }

    fn source(time: i64) -> Source {
        Source { time, size: 7 }
    }

    #[test]
    fn time_and_path_of_the_source_make_no_difference() {
        let old = code(0, 100, "/apps/a/releases/1/m.py");
        let new = code(0, 200, "/apps/a/releases/2/m.py");
        assert!(does_for(&old, &new, source(100), ROOTS));
        // The earlier one was out of date already.
        assert!(!does_for(&old, &new, source(200), ROOTS));
        let other = Source { time: 100, size: 8 };
        assert!(!does_for(&old, &new, other, ROOTS));
    }

    #[test]
    fn everything_else_does() {
        let old = code(0, 100, "/apps/a/releases/1/m.py");
        for path in [
            "/apps/a/releases/2/n.py",
            "/apps/a/releases/1/m.py",
            "/apps/b/releases/2/m.py",
            "/apps/a/releases/2/mm.py",
        ] {
            assert!(
                !does_for(&old, &code(0, 100, path), source(100), ROOTS),
                "{path}"
            );
        }
        let new = code(0, 100, "/apps/a/releases/2/m.py");
        for at in (0..8).chain(HEADER..new.len()) {
            let mut changed = new.clone();
            changed[at] ^= 1;
            assert!(!does_for(&old, &changed, source(100), ROOTS), "{at}");
        }
        for length in 0..new.len() {
            assert!(!does_for(&old, &new[..length], source(100), ROOTS));
            assert!(!does_for(&old[..length], &new, source(100), ROOTS));
        }
    }

    #[test]
    fn a_release_whose_number_has_one_digit_more_has_longer_paths() {
        let roots: (&[u8], &[u8]) = (b"/apps/a/releases/", b"/apps/a/releases/10/");
        let old = code(0, 100, "/apps/a/releases/9/m.py");
        let new = code(0, 200, "/apps/a/releases/10/m.py");
        assert!(does_for(&old, &new, source(100), roots));
        assert!(does_for(
            &new,
            &old,
            source(200),
            (roots.0, b"/apps/a/releases/9/")
        ));
        // It was shared already: it is of the first of many releases.
        let first = code(0, 100, "/apps/a/releases/1/m.py");
        assert!(does_for(&first, &new, source(100), roots));
        let longer = |code: &[u8]| {
            let at = memmem::find(code, b"z").unwrap();
            let (start, rest) = code.split_at(at + 1);
            [start, &[rest[0], 0, 0, 0], &rest[1..]].concat()
        };
        assert!(does_for(&longer(&old), &longer(&new), source(100), roots));
        assert!(!does_for(&longer(&old), &new, source(100), roots));
    }

    #[test]
    fn a_hash_of_the_source_stays() {
        let old = code(1, 100, "/apps/a/releases/1/m.py");
        let new = code(1, 100, "/apps/a/releases/2/m.py");
        assert!(does_for(&old, &new, source(5), ROOTS));
        assert!(!does_for(
            &old,
            &code(1, 101, "/apps/a/releases/2/m.py"),
            source(5),
            ROOTS
        ));
        assert!(!minds_time(&old) && !minds_time(b"") && minds_time(&code(0, 1, "")));
    }

    #[test]
    fn byte_code_is_known_by_its_name() {
        assert_eq!(stem(c"a.b.py"), Some(&b"a.b."[..]));
        assert_eq!(stem(c"a.pyc"), None);
        assert!(is_of(c"a.cpython-311.opt-1.pyc", b"a."));
        assert!(!is_of(c"ab.cpython-311.pyc", b"a.") && !is_of(c"a.py", b"a."));
    }
}
