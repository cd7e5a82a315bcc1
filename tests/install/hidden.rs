//! Servers on a machine that lacks a program, also where it has it.

use std::path::Path;
use std::process::Command;

use super::world::root;
use crate::support::machine::skip;
use crate::support::setup::Setup;

/// Directories that the server looks for programs in.
const PLACES: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];

/// A server that finds no `program`: in a mount namespace of its own, where something else is in its place. `None`: that
/// is not possible here, which is said.
pub(super) fn server_without(program: &str, test: &str) -> Option<Setup> {
    let is_there = |place: &str| Path::new(place).join(program).exists();
    if !PLACES.iter().any(|place| is_there(place)) {
        return Some(Setup::new());
    }
    let tried = || Command::new("unshare").args(["--mount", "true"]).status();
    if !root() || !tried().is_ok_and(|status| status.success()) {
        skip(
            test,
            &format!("{program} is installed here, and hiding it needs root"),
        );
        return None;
    }
    let hide: String = PLACES
        .iter()
        .filter(|place| is_there(place))
        .map(|place| format!("mount --bind /dev/null {place}/{program} && "))
        .collect();
    let script = format!("{hide} exec \"$0\" \"$@\"");
    Some(Setup::new().launched_by(&["unshare", "--mount", "sh", "-c", &script]))
}
