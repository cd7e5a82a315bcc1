//! The markers in the environment of a deploy's commands. The next daemon finds by them what a killed one left
//! running.

use crate::app_dirs::AppDirs;
use crate::process::stop::{self, Marked};
use crate::process::users::Users;

/// Install commands and the release phase: one of them runs at a time.
pub(super) fn install(dirs: &AppDirs) -> String {
    format!("{}#install", dirs.releases().display())
}

/// git: one of it runs at a time.
pub(super) fn fetch(dirs: &AppDirs) -> String {
    format!("{}#fetch", dirs.releases().display())
}

/// git that is not part of a deploy: somebody pushes or clones. `slot` is below [`SLOTS`], and in one of them one runs at
/// a time.
pub(super) fn pushed(dirs: &AppDirs, slot: usize) -> String {
    format!("{}#git-{slot}", dirs.releases().display())
}

/// How many [`pushed`] there are.
pub(super) const SLOTS: usize = 6;

#[must_use]
pub fn all(dirs: &AppDirs) -> Vec<String> {
    let pushed = (0..SLOTS).map(|slot| pushed(dirs, slot));
    of_deploy(dirs).into_iter().chain(pushed).collect()
}

fn of_deploy(dirs: &AppDirs) -> [String; 2] {
    [install(dirs), fetch(dirs)]
}

/// As [`kill_remains`], also of git for whoever pushed or cloned. Blocks.
pub fn kill_all_remains(dirs: &AppDirs) {
    for instance in all(dirs) {
        stop::kill_remains(&instance, &Users::of_app(dirs));
    }
}

/// Kills the commands of a deploy whose daemon was killed, and all that they started. The next deploy removes the
/// locks of a killed git. apt-get has no marker and runs to its end: half an installation is worse. Blocks.
pub fn kill_remains(dirs: &AppDirs) {
    for instance in of_deploy(dirs) {
        stop::kill_remains(&instance, &Users::of_app(dirs));
    }
}

/// Whether [`kill_all_remains`] would kill anything. Blocks.
#[must_use]
pub fn has_remains(dirs: &AppDirs, marked: &Marked) -> bool {
    let users = Users::of_app(dirs);
    all(dirs).iter().any(|i| marked.has(i, &users))
}
