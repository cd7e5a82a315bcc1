//! The names of users of single apps, and how they are told from all others (pure).

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::document::name::AppName;

/// What useradd(8) takes.
const LONGEST: usize = 32;
const PREFIX: &str = "ps-";

/// The names that an app's user may have, the best first: `ps-NAME` where that is short enough, and one with a hash of
/// the app's directory, which another server on this machine does not have.
pub(super) fn candidates(name: &AppName, root: &Path) -> Vec<String> {
    let plain = format!("{PREFIX}{name}");
    let hash = &hash(root)[..8];
    let room = LONGEST - PREFIX.len() - 1 - hash.len();
    // A name of an app is ASCII.
    let begin = &name.as_str()[..name.as_str().len().min(room)];
    let hashed = format!("{PREFIX}{}-{hash}", begin.trim_end_matches('-'));
    let is_short = plain.len() <= LONGEST;
    is_short
        .then_some(plain)
        .into_iter()
        .chain([hashed])
        .collect()
}

/// The comment of the user in passwd: who sees the account knows whose it is. Users cannot change it (chfn(1) lets only
/// root do so).
pub(super) fn comment(name: &AppName, root: &Path) -> String {
    format!("procserver app {name} ({})", hash(root))
}

/// Whether this comment is of the app in this directory.
pub(super) fn is_of(comment: &str, name: &AppName, root: &Path) -> bool {
    comment == self::comment(name, root)
}

/// passwd takes neither every path nor a long one.
fn hash(root: &Path) -> String {
    let hash = Sha256::digest(root.as_os_str().as_bytes());
    hash[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn root(name: &str) -> &Path {
        Path::new(name)
    }

    #[test]
    fn a_short_name_stays_readable_and_two_servers_have_two() {
        let name = AppName::parse("hello").unwrap();
        let one = candidates(&name, root("/var/lib/one/apps/hello"));
        let two = candidates(&name, root("/var/lib/two/apps/hello"));
        assert_eq!((one[0].as_str(), one.len()), ("ps-hello", 2));
        assert_eq!(one[0], two[0]);
        assert_ne!(one[1], two[1]);
        assert!(one[1].starts_with("ps-hello-"), "{one:?}");
    }

    #[test]
    fn the_comment_is_of_one_app_in_one_place() {
        let (hello, hell) = (
            AppName::parse("hello").unwrap(),
            AppName::parse("hell").unwrap(),
        );
        let comment = comment(&hello, root("/a"));
        assert!(is_of(&comment, &hello, root("/a")) && !is_of(&comment, &hello, root("/b")));
        assert!(!is_of(&comment, &hell, root("/a")) && !is_of("", &hello, root("/a")));
    }

    proptest! {
        #[test]
        fn every_app_has_a_name_that_useradd_takes(name in "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?") {
            let Ok(name) = AppName::parse(&name) else { return Ok(()) };
            let names = candidates(&name, root("/var/lib/procserver/apps/x"));
            prop_assert!(!names.is_empty());
            for name in &names {
                prop_assert!(name.len() <= 32 && name.starts_with("ps-") && !name.ends_with('-'), "{name}");
                prop_assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
            }
            let comment = comment(&name, root("/x"));
            prop_assert!(!comment.contains([':', ',', '\n']));
        }
    }
}
