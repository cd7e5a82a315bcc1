//! [`Mounts`]: an app's own view of the disk, in a mount namespace of its own (mount_namespaces(7)).
//!
//! Of the server's directories it has only its own places: the rest is absent, not only closed. `/tmp` and `/var/tmp` are
//! its `$TMPDIR`, a directory on disk: all processes of the app share it, it costs no memory, and goes with the app. So are
//! other directories that all may write to; `/dev/shm` is one in memory that only root comes to otherwise. `/proc` has
//! the processes of its user only. What the machine mounts later is seen; what is mounted here is seen nowhere else.
//!
//! A command of root's gets none of this: it could unmount it.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, setns, unshare};
use rustix::fs::{CWD, Mode, OFlags, StatVfsMountFlags, openat, statvfs};
use rustix::mount::{
    MountFlags, MountPropagationFlags, mount, mount_bind, mount_bind_recursive, mount_change,
    mount_remount,
};
use serde::{Deserialize, Serialize};

use super::lack::Lack;
use super::shm::{self, Shm};
use crate::account::Account;
use crate::app_dirs::AppDirs;

/// Where programs write what others need not see.
const TEMPORARY: [&str; 6] = [
    "/tmp",
    "/var/tmp",
    "/run/lock",
    "/var/lock",
    "/var/crash",
    shm::PLACE,
];

/// It holds a few empty directories.
const EMPTY: &std::ffi::CStr = c"mode=0755,size=64k,nr_inodes=128";

/// Message queues of POSIX (mq_overview(7)), where they are mounted.
const QUEUES: &str = "/dev/mqueue";

/// Kernels before 5.8 do not know the word. They know a number, but would hide processes on the whole machine.
const OWN_PROCESSES: &std::ffi::CStr = c"hidepid=invisible";

/// What an app sees of the disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mounts {
    /// Directories and files of the server that are not there.
    pub hidden: Vec<PathBuf>,
    /// The app's own directories in them, which are.
    pub shown: Vec<PathBuf>,
    /// What `/tmp` is.
    pub tmp: PathBuf,
    /// What `/dev/shm` is, which is made where it is not there; `None`: as `/tmp`.
    pub shm: Option<Shm>,
}

/// Why there is no view of its own.
#[derive(Debug, thiserror::Error)]
pub(super) enum MountsError {
    #[error("{0}: {1}")]
    Refused(String, #[source] io::Error),
    /// The process is in a namespace that is half made.
    #[error("{0}, and setns: {1}")]
    Stuck(String, #[source] io::Error),
}

impl MountsError {
    fn of<E: Into<io::Error>>(what: impl std::fmt::Display) -> impl FnOnce(E) -> Self {
        move |e| Self::Refused(what.to_string(), e.into())
    }
}

impl Mounts {
    /// The view of all that runs for an app as `account`. `server` is what belongs to the server. `None`: it runs as
    /// root, or as whoever the server is.
    #[must_use]
    pub fn of_app(account: Option<&Account>, server: &[&Path], dirs: &AppDirs) -> Option<Self> {
        let account = account?;
        (!account.is_root()).then(|| Self {
            hidden: server.iter().map(|path| path.to_path_buf()).collect(),
            // One mount for all that is on disk: builds make hard links from HOME to the checkout, which cross none.
            shown: vec![dirs.root().to_owned(), dirs.runtime().to_owned()],
            tmp: dirs.tmp(),
            shm: Some(Shm::of(dirs)),
        })
    }

    /// With one more directory.
    #[must_use]
    pub fn showing(mut self, directory: Option<PathBuf>) -> Self {
        self.shown.extend(directory);
        self
    }

    /// Gives the calling process, which must have one thread and be root, and all that it starts this view. On
    /// [`MountsError::Refused`] it has the view that it had.
    pub(super) fn apply(&self) -> Result<(), MountsError> {
        let before =
            File::open("/proc/self/ns/mnt").map_err(MountsError::of("/proc/self/ns/mnt"))?;
        unshare(CloneFlags::CLONE_NEWNS).map_err(MountsError::of("unshare"))?;
        self.change().or_else(|error| {
            let back = setns(&before, CloneFlags::CLONE_NEWNS);
            back.map_err(|e| MountsError::Stuck(error.to_string(), e.into()))?;
            Err(error)
        })
    }

    fn change(&self) -> Result<(), MountsError> {
        let own = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
        mount_change("/", own).map_err(MountsError::of("/"))?;
        let hidden = outermost(
            self.hidden
                .iter()
                .filter_map(|path| existing(path))
                .collect(),
        );
        let shown: Vec<_> = self
            .shown
            .iter()
            .filter_map(|path| existing(path))
            .collect();
        let places = temporary(&hidden);
        let shared = existing(Path::new(shm::PLACE));
        // By descriptors: their paths are about to lead elsewhere.
        let open = |path: &PathBuf| open(path).map_err(MountsError::of(path.display()));
        let sources: Vec<OwnedFd> = shown.iter().map(open).collect::<Result<_, _>>()?;
        let tmp = open(&self.tmp)?;
        // On disk where somebody else has made what is to hold it.
        let shm = self.shm.as_ref().and_then(|shm| shm.make().ok());
        for path in &hidden {
            hide(path).map_err(MountsError::of(path.display()))?;
        }
        for (path, source) in shown.iter().zip(&sources) {
            show(source, path).map_err(MountsError::of(path.display()))?;
        }
        for path in hidden.iter().filter(|path| path.is_dir()) {
            let flags = MountFlags::BIND | MountFlags::RDONLY | quiet();
            mount_remount(path, flags, c"").map_err(MountsError::of(path.display()))?;
        }
        for place in places {
            let source = shm.as_ref().filter(|_| shared.as_ref() == Some(&place));
            put(source.unwrap_or(&tmp), &place).map_err(MountsError::of(place.display()))?;
        }
        Ok(())
    }
}

/// Gives the calling process, after [`Mounts::apply`], a `/proc` in which each user sees its own processes.
pub(super) fn hide_processes() -> Result<(), MountsError> {
    mount("proc", "/proc", "proc", quiet(), OWN_PROCESSES).map_err(MountsError::of("/proc"))
}

/// Gives the calling process, after [`Mounts::apply`], shared memory, semaphores and queues of its own: they have no
/// directory that could be another, and outlive who has made them. So two processes of an app share them neither.
pub(super) fn leave_ipc() -> Result<(), MountsError> {
    unshare(CloneFlags::CLONE_NEWIPC).map_err(MountsError::of("unshare"))?;
    match existing(Path::new(QUEUES)) {
        // It still shows those of the machine.
        Some(place) => {
            mount("mqueue", place, "mqueue", quiet(), c"").map_err(MountsError::of(QUEUES))
        }
        None => Ok(()),
    }
}

/// Tries what an app's sandbox has, for good, and says what there is not.
#[must_use]
pub fn try_here() -> Vec<Lack> {
    let some = Mounts {
        hidden: vec!["/run".into()],
        shown: vec![],
        tmp: "/var".into(),
        shm: None,
    };
    match some.apply() {
        Ok(()) => {
            let processes = hide_processes().map_err(|e| Lack::Processes(e.to_string()));
            let ipc = leave_ipc().map_err(|e| Lack::Ipc(e.to_string()));
            [processes.err(), ipc.err()].into_iter().flatten().collect()
        }
        Err(e) => vec![Lack::Mounts(e.to_string())],
    }
}

fn quiet() -> MountFlags {
    MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC
}

/// Puts something empty over a directory or a file.
fn hide(path: &Path) -> io::Result<()> {
    match fs::metadata(path)?.is_dir() {
        true => mount("none", path, "tmpfs", quiet(), EMPTY)?,
        false => mount_bind("/dev/null", path)?,
    }
    Ok(())
}

/// With what is mounted in it.
fn show(source: &OwnedFd, path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)?;
    Ok(mount_bind_recursive(path_of(source), path)?)
}

/// Puts a directory in the place of another, without setuid and devices, and with what its own mount forbids.
fn put(source: &OwnedFd, place: &Path) -> io::Result<()> {
    mount_bind(path_of(source), place)?;
    let has = statvfs(place)?.f_flag;
    let kept = [
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::RDONLY, MountFlags::RDONLY),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ];
    let kept = kept.into_iter().filter(|(of, _)| has.contains(*of));
    let kept = kept.fold(MountFlags::empty(), |all, (_, flag)| all | flag);
    let flags = MountFlags::BIND | MountFlags::NOSUID | MountFlags::NODEV | kept;
    Ok(mount_remount(place, flags, c"")?)
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(CWD, path, flags, Mode::empty())?)
}

fn path_of(file: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// Without links, which would lead into what is hidden; `None`: there is no such thing.
fn existing(path: &Path) -> Option<PathBuf> {
    fs::canonicalize(path).ok()
}

/// Those of them that do not lie in another.
fn outermost(mut paths: Vec<PathBuf>) -> Vec<PathBuf> {
    paths.sort();
    paths.dedup();
    let all = paths.clone();
    paths.retain(|path| {
        !all.iter()
            .any(|other| other != path && path.starts_with(other))
    });
    paths
}

/// The directories for temporary files that become the app's own: those in which the server has none of its own, and
/// which are in none of the server's.
fn temporary(server: &[PathBuf]) -> Vec<PathBuf> {
    let places = TEMPORARY
        .iter()
        .filter_map(|place| existing(Path::new(place)));
    let mut places = outermost(places.collect());
    let is_apart = |place: &Path, own: &Path| !own.starts_with(place) && !place.starts_with(own);
    places.retain(|place| server.iter().all(|own| is_apart(place, own)));
    places
}

/// Says in the log what apps have of the machine's directories for temporary files. Blocks.
pub fn prepare(server: &[&Path]) {
    let server: Vec<_> = server.iter().filter_map(|path| existing(path)).collect();
    let own = temporary(&server);
    for place in TEMPORARY
        .iter()
        .filter_map(|place| existing(Path::new(place)))
    {
        if !own.contains(&place) {
            log::info!(
                "apps share {} with the machine, since directories of the server are in it",
                place.display()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(names: &[&str]) -> Vec<PathBuf> {
        names.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn what_lies_in_something_hidden_is_hidden_with_it() {
        let all = paths(&["/var/lib/us/config", "/run/us", "/var/lib/us", "/run/us"]);
        assert_eq!(outermost(all), paths(&["/run/us", "/var/lib/us"]));
        assert_eq!(
            outermost(paths(&["/a/bc", "/a/b"])),
            paths(&["/a/b", "/a/bc"])
        );
    }

    #[test]
    fn a_directory_that_holds_one_of_the_servers_stays_the_machines() {
        assert!(temporary(&paths(&["/var/lib/us"])).contains(&"/tmp".into()));
        assert!(!temporary(&paths(&["/tmp/x/data"])).contains(&"/tmp".into()));
        assert_eq!(temporary(&paths(&["/"])), paths(&[]));
    }
}
