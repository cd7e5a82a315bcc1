//! Control groups as the machine has them, in all hierarchies.

use std::path::{Path, PathBuf};

use super::server::Server;

/// The directory of the group of a process in the hierarchy of `controller`; "" is cgroup2.
pub(crate) fn group_of(pid: i32, controller: &str) -> Option<PathBuf> {
    let membership = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let group = membership.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, group) = (fields.next()?, fields.next()?);
        let is_it = controllers.split(',').any(|word| word == controller);
        is_it.then(|| group.trim_start_matches('/').to_owned())
    })?;
    let mount = mount_point(controller)?;
    Some(mount.join(group))
}

/// Where the hierarchy of `controller` is mounted.
pub(crate) fn mount_point(controller: &str) -> Option<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (point, kind, options) = (fields.next()?, fields.next()?, fields.next()?);
        let is_it = match controller {
            "" => kind == "cgroup2",
            name => kind == "cgroup" && options.split(',').any(|word| word == name),
        };
        is_it.then(|| point.into())
    })
}

/// All groups of the processes of a server, in all hierarchies.
pub(crate) fn groups_of(server: &Server) -> Vec<PathBuf> {
    let top = format!("procserver-apps-{}", mark_of(server.directory()));
    let mut found = Vec::new();
    for controller in ["", "memory", "cpu", "pids"] {
        if let Some(mount) = mount_point(controller) {
            collect(&mount, &top, false, &mut found);
        }
    }
    found
}

fn collect(at: &Path, top: &str, is_below: bool, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(at).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let is_below = is_below || entry.file_name() == top;
            if is_below {
                found.push(entry.path());
            }
            collect(&entry.path(), top, is_below, found);
        }
    }
}

/// What tells the groups of one data directory from those of others.
pub(crate) fn mark_of(data_dir: &Path) -> String {
    let real = std::fs::canonicalize(data_dir).unwrap();
    hash(&real.display().to_string(), 4)
}

/// The first bytes of the SHA-256 of `text`, in hex.
pub(crate) fn hash(text: &str, length: usize) -> String {
    use sha2::{Digest, Sha256};
    let hash = Sha256::digest(text);
    let digits = hash[..length].iter();
    digits.map(|byte| format!("{byte:02x}")).collect()
}
