//! What the machine has: disks, control groups, descriptors, the clock.

use std::io;
use std::path::{Path, PathBuf};

use super::bounded;
use super::report::Finding;
use crate::daemon::{DaemonError, state_version};
use crate::install::quota::file_system::FileSystem;
use crate::install::quota::{self, Unenforced};
use crate::process::cgroup::{self, Version};
use crate::settings::Settings;

/// With less no deploy begins (`install/disk_space`); bytes, or one part in 20 of a small disk.
const LITTLE: u64 = 256 << 20;
const PART: u64 = 20;

/// What the unit asks for, and with how few a server turns clients away early.
const WANTED: u64 = 65_536;
const FEW: u64 = 4096;

#[must_use]
pub fn checks() -> Vec<Finding> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    vec![
        cgroups(&mounts, controllers),
        descriptors(limit),
        clock(synchronised()),
    ]
}

/// The disks of the data and of the runtime directory, one if they are the same.
#[must_use]
pub fn disks(settings: &Settings) -> Vec<Finding> {
    let places = [
        ("disk of the data directory", &settings.data_dir),
        ("disk of the runtime directory", &settings.runtime_dir),
    ];
    let mut seen = Vec::new();
    let mut found = Vec::new();
    for (check, path) in places {
        let path = existing(path);
        let Ok(disk) = rustix::fs::statvfs(&path) else {
            let why = format!("{} cannot be looked at", path.display());
            found.push(Finding::unseen(
                check,
                why,
                "run \"sudo procserver doctor\"",
            ));
            continue;
        };
        if seen.contains(&disk.f_fsid) && disk.f_fsid != 0 {
            continue;
        }
        seen.push(disk.f_fsid);
        found.push(room(check, &Room::of(path, &disk)));
    }
    found
}

/// The disk of a directory of another program, where that is one of this machine.
#[must_use]
pub fn disk(check: &str, path: &Path) -> Option<Finding> {
    let found = path.exists().then(|| rustix::fs::statvfs(path))?.ok()?;
    Some(room(check, &Room::of(path.to_owned(), &found)))
}

/// Whether this program can read what is in the data directory.
#[must_use]
pub fn state(settings: &Settings) -> Finding {
    state_finding(&settings.data_dir)
}

fn state_finding(data_dir: &Path) -> Finding {
    const CHECK: &str = "state of the server";
    let path = data_dir.join("version");
    match state_version::check(data_dir) {
        Ok(()) if !data_dir.exists() => Finding::good(CHECK, "none yet"),
        Ok(()) => Finding::good(CHECK, "this version reads it"),
        Err(error @ DaemonError::NewerState { .. }) => Finding::poor(
            CHECK,
            error.to_string(),
            "install that version, or take the backup of before (\"procserver restore --help\")",
        ),
        Err(_)
            if std::fs::File::open(&path)
                .is_err_and(|e| e.kind() == io::ErrorKind::PermissionDenied) =>
        {
            let why = format!("{} cannot be read", path.display());
            Finding::unseen(CHECK, why, "run \"sudo procserver doctor\"")
        }
        Err(error) => Finding::poor(
            CHECK,
            error.to_string(),
            format!(
                "it is damaged, so no server starts: if the last one was not newer than {}, remove {}",
                env!("CARGO_PKG_VERSION"),
                path.display()
            ),
        ),
    }
}

/// Whether `limits.disk` is enforced, or only looked at.
#[must_use]
pub fn quotas(settings: &Settings) -> Finding {
    quota_finding(quota::support(&existing(&settings.data_dir)))
}

fn quota_finding(support: Result<FileSystem, Unenforced>) -> Finding {
    const CHECK: &str = "limits.disk";
    match support {
        Ok(found) => Finding::good(
            CHECK,
            format!("enforced, by project quotas of {}", found.point.display()),
        ),
        Err(why @ (Unenforced::NoTool(..) | Unenforced::Unknown(_))) => Finding::warning(
            CHECK,
            "applications are warned of, and can write on",
            why.to_string(),
        ),
        Err(Unenforced::NotRoot) => {
            Finding::unseen(CHECK, Unenforced::NotRoot.to_string(), "be root")
        }
        // Few need it, and all else works.
        Err(why) => Finding::good(
            CHECK,
            format!("applications are warned of, and can write on: {why}"),
        ),
    }
}

/// `path`, or the nearest directory above it that is there.
fn existing(path: &Path) -> PathBuf {
    let found = path.ancestors().find(|path| path.exists());
    found.unwrap_or(Path::new("/")).to_owned()
}

/// A disk; bytes. A file system without counts has zeros.
struct Room {
    path: PathBuf,
    free: u64,
    total: u64,
    free_inodes: u64,
    inodes: u64,
}

impl Room {
    fn of(path: PathBuf, disk: &rustix::fs::StatVfs) -> Self {
        Self {
            path,
            free: disk.f_bavail * disk.f_frsize,
            total: disk.f_blocks * disk.f_frsize,
            free_inodes: disk.f_favail,
            inodes: disk.f_files,
        }
    }
}

fn room(check: &str, room: &Room) -> Finding {
    let path = room.path.display();
    let (free, total) = (room.free >> 20, room.total >> 20);
    let said = format!("{path}: {free} of {total} MiB are free");
    let todo =
        format!("\"du -xsh {path}/*\" says what takes it; lower keep_releases, or a larger disk");
    if room.total > 0 && room.free < LITTLE.min(room.total / PART) {
        return Finding::poor(check, format!("{said}, too few for a deploy"), todo);
    }
    if room.inodes > 0 && room.free_inodes < room.inodes / 100 {
        let said = format!(
            "{path}: {} of {} inodes are free",
            room.free_inodes, room.inodes
        );
        return Finding::poor(check, said, todo);
    }
    if room.free < room.total / 10 {
        return Finding::warning(check, said, todo);
    }
    Finding::good(check, said)
}

fn controllers(mount: &str) -> String {
    std::fs::read_to_string(Path::new(mount).join("cgroup.controllers")).unwrap_or_default()
}

/// `mounts`: as proc_pid_mountinfo(5); `controllers`: of a mount of cgroup2.
fn cgroups(mounts: &str, controllers: impl Fn(&str) -> String) -> Finding {
    const CHECK: &str = "control groups";
    let found = cgroup::offered(mounts, controllers);
    let by = |version: Version| {
        let of_it = found.limits.iter().filter(|(_, by)| *by == Some(version));
        of_it.map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    };
    let lacks = found.limits.iter().filter(|(_, by)| by.is_none());
    let lacks: Vec<_> = lacks.map(|(name, _)| *name).collect();
    let (second, first) = (by(Version::Second), by(Version::First));
    let said = match (found.is_tracked, second.as_str(), first.as_str()) {
        (false, _, "") => {
            let said =
                "none: what processes start is found in /proc, and limits are those of a process";
            return Finding::warning(CHECK, said, "mount -t cgroup2 none /sys/fs/cgroup");
        }
        (false, _, first) => format!("version 1 with {first}"),
        (true, "", "") => "cgroup2 without controllers".to_owned(),
        (true, "", first) => format!("cgroup2, and version 1 with {first}"),
        (true, second, "") => format!("cgroup2 with {second}"),
        (true, second, first) => format!("cgroup2 with {second}, and version 1 with {first}"),
    };
    if lacks.is_empty() {
        return Finding::good(CHECK, said);
    }
    Finding::warning(
        CHECK,
        format!("{said}: nothing enforces limits of {}", lacks.join(", ")),
        "start Linux with systemd.unified_cgroup_hierarchy=1, or let the container have the controllers",
    )
}

fn descriptors(limit: Option<u64>) -> Finding {
    const CHECK: &str = "file descriptors";
    match limit {
        Some(limit) if limit < FEW => Finding::warning(
            CHECK,
            format!(
                "a process that is started here may open {limit}, so a server has few connections"
            ),
            format!(
                "LimitNOFILE={WANTED} in the unit (ours has it), or ulimit -n {WANTED} as root"
            ),
        ),
        Some(limit) => Finding::good(CHECK, format!("a process may open {limit}")),
        None => Finding::good(CHECK, "no limit"),
    }
}

/// Whether something keeps the clock right; `None` if nobody can tell.
fn synchronised() -> Option<bool> {
    match bounded::output(
        "timedatectl",
        &["show", "--property=NTPSynchronized", "--value"],
    ) {
        Some(said) if said == "yes" => Some(true),
        Some(said) if said == "no" => Some(false),
        _ => Path::new("/run/systemd/timesync/synchronized")
            .exists()
            .then_some(true),
    }
}

fn clock(is_synchronised: Option<bool>) -> Finding {
    const CHECK: &str = "clock";
    let now = jiff::Timestamp::now();
    match is_synchronised {
        Some(true) => Finding::good(CHECK, "it is kept by NTP"),
        Some(false) => Finding::warning(
            CHECK,
            format!(
                "no NTP keeps it (it says {now:.0}): certificates and cron go wrong with a wrong one"
            ),
            "type \"apt-get install systemd-timesyncd\", and \"timedatectl set-ntp true\"",
        ),
        None => Finding::unseen(
            CHECK,
            format!("nothing here tells whether NTP keeps it (it says {now:.0})"),
            "in a container the machine outside keeps it; else \"apt-get install systemd-timesyncd\"",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Level;
    use super::*;

    fn with(free: u64, inodes: (u64, u64)) -> Level {
        let (free_inodes, inodes) = inodes;
        let disk = Room {
            path: "/d".into(),
            free,
            total: 100 << 30,
            free_inodes,
            inodes,
        };
        room("disk", &disk).level
    }

    #[test]
    fn a_full_disk_is_missing_and_a_nearly_full_one_a_warning() {
        assert_eq!(with(50 << 30, (9, 10)), Level::Ok);
        assert_eq!(with(5 << 30, (9, 10)), Level::Warning);
        assert_eq!(with(1 << 20, (9, 10)), Level::Missing);
        assert_eq!(with(50 << 30, (1, 1000)), Level::Missing);
        assert_eq!(with(50 << 30, (0, 0)), Level::Ok);
    }

    #[test]
    fn control_groups_of_both_versions_are_told() {
        let second = "40 31 0:37 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let first = "41 31 0:38 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        let none = |_: &str| String::new();
        let all = |_: &str| "cpuset cpu io memory pids".to_owned();
        assert_eq!(cgroups(second, all).level, Level::Ok);
        assert_eq!(cgroups(second, none).level, Level::Warning);
        let old = cgroups(first, none);
        assert!(
            old.found
                .starts_with("version 1 with memory: nothing enforces limits of cpu, pids"),
            "{old:?}"
        );
        let rest = "42 31 0:39 / /sys/fs/cgroup/x rw - cgroup cgroup rw,cpu,pids\n";
        let hybrid = format!("{second}{first}{rest}");
        assert_eq!(cgroups(&hybrid, none).level, Level::Ok);
        assert_eq!(cgroups("", none).level, Level::Warning);
    }

    #[test]
    fn few_descriptors_and_a_clock_that_nobody_keeps_are_warnings() {
        assert_eq!(descriptors(Some(1024)).level, Level::Warning);
        assert_eq!(descriptors(Some(1 << 20)).level, Level::Ok);
        assert_eq!(clock(Some(false)).level, Level::Warning);
        assert_eq!(clock(None).level, Level::Unseen);
    }

    #[test]
    fn a_state_that_no_server_of_this_version_reads_is_told_by_name() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(state_finding(home.path()).level, Level::Ok);
        assert_eq!(state_finding(&home.path().join("none")).found, "none yet");
        let version = home.path().join("version");
        std::fs::write(&version, r#"{"state":99,"procserver":"9.1.0"}"#).unwrap();
        let newer = state_finding(home.path());
        assert_eq!(newer.level, Level::Missing);
        assert!(newer.found.contains("9.1.0"), "{newer:?}");
        std::fs::write(&version, "x").unwrap();
        let damaged = state_finding(home.path());
        assert!(damaged.line().contains("it is damaged"), "{damaged:?}");
    }

    #[test]
    fn a_quota_that_only_lacks_a_program_is_a_warning_that_names_its_package() {
        let lacking = quota_finding(Err(Unenforced::NoTool("setquota", "quota")));
        assert_eq!(lacking.level, Level::Warning);
        assert!(
            lacking.line().contains("apt-get install quota"),
            "{lacking:?}"
        );
        let off = quota_finding(Err(Unenforced::OffInXfs("/srv".into())));
        assert_eq!(off.level, Level::Ok);
        assert!(off.found.contains("prjquota"), "{off:?}");
        assert_eq!(quota_finding(Err(Unenforced::NotRoot)).level, Level::Unseen);
    }

    #[test]
    fn the_disk_of_a_directory_that_is_not_made_yet_is_that_above_it() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(existing(&home.path().join("a/b")), home.path());
    }
}
