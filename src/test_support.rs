//! What unit tests of several folders share.

use std::io::Write as _;

/// Whether the tests run as root. Where they do not, `test` says on stderr that it is skipped; not by `eprintln!`, which
/// the test harness would swallow.
pub(crate) fn is_root(test: &str) -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        skip(test, "it needs root");
    }
    is_root
}

/// Says that a test is not run and why.
pub(crate) fn skip(test: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {why}");
}
