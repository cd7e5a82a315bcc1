//! [`Cgroup`]: a control group of one instance. See cgroups(7) and the kernel's `cgroup-v2.rst`.
//!
//! Where the daemon may make directories in its own cgroup2 group (as root; under systemd with `Delegate=yes`), each
//! instance runs in one. Nothing leaves it by forking, whatever session or environment it gives itself, and
//! `cgroup.kill` ends all of it at once. No controller is enabled: a group works without any.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use sha2::{Digest, Sha256};

/// The directory of one instance's group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cgroup(PathBuf);

impl Cgroup {
    /// Makes the group of an instance; `None` where there can be none. Blocks.
    pub(super) fn create(instance: &str) -> Option<Self> {
        let [name, _] = names(instance);
        let path = parent()?.join(name);
        match fs::create_dir(&path) {
            Ok(()) => Some(Self(path)),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Some(Self(path)),
            Err(e) => {
                log::warn!("no control group for {instance}: {}: {e}", path.display());
                None
            }
        }
    }

    /// The group that an instance had below this daemon, if it is still there.
    pub(super) fn left_by(instance: &str) -> Option<Self> {
        let parent = parent()?;
        let mut paths = names(instance).map(|name| parent.join(name)).into_iter();
        paths.find(|path| path.is_dir()).map(Self)
    }

    /// The group of an instance by one of its processes: a daemon that was started elsewhere made it elsewhere.
    pub(super) fn of_process(pid: u32, instance: &str) -> Option<Self> {
        let path = mount()?.directory(&group_of(&format!("/proc/{pid}/cgroup"))?)?;
        let is_own = path
            .file_name()
            .is_some_and(|n| names(instance).iter().any(|name| n == name.as_str()));
        (is_own && path.is_dir()).then_some(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// SIGKILL to all in it, forks in progress included.
    pub(super) fn kill(&self) {
        // The group may be gone: then all in it are, too.
        let _ = fs::write(self.0.join("cgroup.kill"), "1");
    }

    /// Whether anything in it lives. Zombies do not count.
    pub(super) fn is_populated(&self) -> bool {
        fs::read_to_string(self.0.join("cgroup.events"))
            .is_ok_and(|events| events.lines().any(|line| line == "populated 1"))
    }

    /// What lives in it, and in the groups that it has made in it.
    pub(super) fn members(&self) -> Vec<u32> {
        let text = fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default();
        let own = text.lines().filter_map(|line| line.parse().ok());
        own.chain(self.inner().iter().flat_map(Self::members))
            .collect()
    }

    /// Removes an empty group, and those in it.
    pub(super) fn remove(&self) {
        self.inner().iter().for_each(Self::remove);
        // It may be gone, or in use by a process that has just been started for the same instance.
        let _ = fs::remove_dir(&self.0);
    }

    fn inner(&self) -> Vec<Self> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        let groups = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        groups.map(|entry| Self(entry.path())).collect()
    }
}

/// Ends what lives in the groups of instances that are not among these, and removes the groups. Looks only at groups
/// that servers on this data directory have made. Call it before any group is made. Blocks.
pub fn sweep(instances: &[String]) {
    let (Some(parent), Some(server)) = (parent(), SERVER.get()) else {
        return;
    };
    let own = format!("procserver-{server}-");
    let known: HashSet<String> = instances.iter().flat_map(|i| names(i)).collect();
    for group in Cgroup(parent.to_owned()).inner() {
        let name = group.0.file_name().unwrap_or_default().to_string_lossy();
        if !name.starts_with(&own) || known.contains(name.as_ref()) {
            continue;
        }
        if group.is_populated() {
            log::warn!(
                "{} is of no instance that is known: what runs in it is ended",
                group.0.display()
            );
            group.kill();
        }
        group.remove();
        // What was killed a moment ago may keep it: the next start finds it again.
    }
}

/// Moves the calling process into a group.
pub(super) fn enter(group: &Path) -> io::Result<()> {
    fs::write(group.join("cgroup.procs"), "0")
}

/// Whether a process runs as another user than this one, so that it cannot leave its group.
pub(super) fn is_confined(pid: u32) -> bool {
    let owner = fs::metadata(format!("/proc/{pid}")).map(|m| m.uid());
    owner.is_ok_and(|uid| uid != 0 && uid != nix::unistd::geteuid().as_raw())
}

/// Tells the groups of one data directory from those of others.
static SERVER: OnceLock<String> = OnceLock::new();

/// The name of an instance's group, and the one that an older server gave it.
fn names(instance: &str) -> [String; 2] {
    let old = name(instance);
    let Some(server) = SERVER.get() else {
        return [old.clone(), old];
    };
    [
        old.replacen("procserver-", &format!("procserver-{server}-"), 1),
        old,
    ]
}

/// Recognisable for a person, and unique for the instance.
fn name(instance: &str) -> String {
    let hash = Sha256::digest(instance);
    let hash: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let last = instance.rsplit('/').next().unwrap_or_default();
    let last: String = last
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(40)
        .collect();
    format!("procserver-{last}-{hash}")
}

/// Finds out whether there can be groups, and says so in the log. Their names tell the groups of one data directory
/// from those of another. Blocks.
pub fn prepare(data_dir: &Path) {
    let real = fs::canonicalize(data_dir).unwrap_or_else(|_| data_dir.to_owned());
    let hash = Sha256::digest(real.as_os_str().as_encoded_bytes());
    let _first = SERVER.set(hash[..4].iter().map(|byte| format!("{byte:02x}")).collect());
    let _found = parent();
}

/// Where groups can be made: the daemon's own group, found and tried once.
fn parent() -> Option<&'static Path> {
    static PARENT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let found = PARENT.get_or_init(|| {
        let own = mount()?.directory(&group_of("/proc/self/cgroup")?)?;
        match try_out(&own) {
            Ok(()) => {
                log::info!("each process gets a control group in {}", own.display());
                Some(own)
            }
            Err(e) => {
                log::info!(
                    "no control groups in {} ({e}; systemd gives them with Delegate=yes): \
                     what processes start is found in /proc",
                    own.display()
                );
                None
            }
        }
    });
    found.as_deref()
}

/// Makes a group, and looks whether processes could be moved into it and killed there.
fn try_out(own: &Path) -> io::Result<()> {
    let probe = own.join(format!("procserver-probe-{}", std::process::id()));
    fs::create_dir(&probe)?;
    let writable = [
        own.join("cgroup.procs"),
        probe.join("cgroup.procs"),
        probe.join("cgroup.kill"),
    ];
    let tried = writable
        .iter()
        .try_for_each(|file| rustix::fs::access(file, rustix::fs::Access::WRITE_OK));
    fs::remove_dir(&probe)?;
    Ok(tried?)
}

/// Where cgroup2 is mounted.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    point: PathBuf,
    /// The group that is the root of what is seen there.
    root: PathBuf,
}

impl Mount {
    /// The directory of a group that cgroups(7) names so in `/proc/PID/cgroup`.
    fn directory(&self, group: &Path) -> Option<PathBuf> {
        Some(self.point.join(group.strip_prefix(&self.root).ok()?))
    }
}

fn mount() -> Option<&'static Mount> {
    static MOUNT: OnceLock<Option<Mount>> = OnceLock::new();
    MOUNT
        .get_or_init(|| parse_mounts(&fs::read_to_string("/proc/self/mountinfo").ok()?))
        .as_ref()
}

/// proc_pid_mountinfo(5): the fourth field is the root, the fifth the mount point; the type follows a lone dash.
fn parse_mounts(text: &str) -> Option<Mount> {
    text.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut fields = left.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        (right.split(' ').next()? == "cgroup2").then(|| Mount {
            point: point.into(),
            root: root.into(),
        })
    })
}

/// The cgroup2 line of a `/proc/PID/cgroup`, see cgroups(7).
fn group_of(file: &str) -> Option<PathBuf> {
    let text = fs::read_to_string(file).ok()?;
    text.lines()
        .find_map(|line| Some(line.strip_prefix("0::")?.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_is_found_among_others() {
        let text = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
                    40 31 0:37 / /sys/fs/cgroup/systemd rw shared:9 - cgroup cgroup rw,name=systemd\n\
                    41 31 0:38 /lxc /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw\n";
        let expected = Mount {
            point: "/sys/fs/cgroup/unified".into(),
            root: "/lxc".into(),
        };
        assert_eq!(parse_mounts(text), Some(expected));
        assert_eq!(parse_mounts("garbage\n\n1 2 3 - cgroup2\n"), None);
    }

    #[test]
    fn names_are_file_names_and_differ() {
        let of = |text| name(text);
        assert_ne!(of("/run/a/web.1-4"), of("/run/b/web.1-4"));
        assert!(of("/run/a/web.1-4").starts_with("procserver-web-1-4-"));
        assert!(!of("/x/\n../\u{e4}").contains(['/', '.', '\n']));
        assert!(of(&"x".repeat(9999)).len() < 100);
    }
}
