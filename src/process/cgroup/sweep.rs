//! Ends what lives in groups of no known instance.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::home::home;
use super::{Cgroup, inner};

/// Ends what lives in the groups of instances that are not among these, and removes the groups, also of an earlier server
/// that ran in another group. Looks only at groups that servers on this data directory have made. Call it before any
/// group is made. Blocks.
pub fn sweep(instances: &[String]) {
    let (home, names) = (home(), &home().names);
    let known: HashSet<PathBuf> = instances
        .iter()
        .flat_map(|instance| {
            let old = names.old(instance).map(PathBuf::from);
            std::iter::once(names.path(instance)).chain(old)
        })
        .collect();
    for parent in home.all() {
        for group in inner(parent) {
            let name = group.file_name().unwrap_or_default().to_string_lossy();
            if names.is_old(&name) {
                end_unless(&known, parent, group.clone());
            }
        }
        let top = parent.join(names.top());
        for app in inner(&top) {
            for group in inner(&app) {
                end_unless(&known, parent, group);
            }
            // Those of living instances keep it.
            let _ = fs::remove_dir(&app);
        }
        let _ = fs::remove_dir(&top);
    }
}

fn end_unless(known: &HashSet<PathBuf>, parent: &Path, group: PathBuf) {
    if group
        .strip_prefix(parent)
        .is_ok_and(|name| known.contains(name))
    {
        return;
    }
    let told = group.display().to_string();
    let group = Cgroup {
        unified: Some(group),
        ..Cgroup::default()
    };
    if group.is_populated() {
        log::warn!("{told} is of no instance that is known: what runs in it is ended");
        group.kill();
    }
    // What was killed a moment ago may keep it: the next start finds it again.
    group.remove();
}
