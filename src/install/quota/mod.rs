//! Keeps an application within `limits.disk` by a project quota, where the file system of the data directory has them: ext4
//! and XFS, mounted with `prjquota`. Whatever then writes below `DATA/apps/NAME`, a process, an install command, git, an
//! upload, gets EDQUOT (ENOSPC of XFS) at the limit. Elsewhere the limit is looked at ([`super::disk_usage`]), and
//! [`Unenforced`] says why.
//!
//! Each application that has had the limit has a project id of its own ([`projects`]), kept until its files are gone. All
//! directories of the application have the id and hand it on to what is made in them. Who renames or links something into
//! such a directory from another project gets EXDEV; so all of an application is of one project, and what comes from
//! elsewhere (uploads, backups) is made inside, or comes as a whole directory of applications, which has none.
//!
//! chattr(1) gives the id to a tree, once ([`confined`] says as whom), while processes of the application may be at work in
//! it. A directory is given before it is listed, and the kernel lets nothing of another project be renamed into it or within
//! it, so nothing is passed by; but the application may exchange a directory by whose path chattr goes on. So the tree is
//! looked at afterwards ([`whole`]), by descriptors and through no link: what a directory hands on shows in its statfs(2),
//! which tells size and free space of the project.
//!
//! Of ext4, who has CAP_SYS_RESOURCE may go beyond: the server itself, which writes logs and records, and applications that run
//! as root. Nothing else has it.
//!
//! The owner of a file may change its project (FS_IOC_FSSETXATTR) or keep a directory from handing it on
//! (FS_IOC_SETFLAGS). So where quotas are on, processes of applications cannot do either ([`fixed_project`]).

pub mod confined;
pub mod file_system;
pub mod projects;
mod tools;
mod whole;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::statvfs;

use self::file_system::FileSystem;
use self::projects::{Project, Projects};
use super::tree;
use crate::app_dirs::AppDirs;
use crate::process::fixed_project;
use crate::{durable, failpoint, regular};

/// `projects.json` is smaller: it has a line for each application.
const MAX_RECORD: u64 = 16 << 20;

/// How often a tree is given anew in which an application moves its directories meanwhile.
const ATTEMPTS: usize = 3;

/// Why `limits.disk` is not enforced, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unenforced {
    #[error("the data directory is on {0}, which has no project quotas: ext4 and XFS have them")]
    OtherKind(String),
    #[error(
        "project quotas are not on: add prjquota to the options of {} in /etc/fstab; then, while it is not mounted, type \
         \"tune2fs -O project,quota {}\"", .0.display(), .1.display()
    )]
    OffInExt4(PathBuf, PathBuf),
    #[error(
        "project quotas are not on: add prjquota to the options of {} in /etc/fstab and mount it anew (for / \
         rootflags=prjquota on the kernel's command line)", .0.display()
    )]
    OffInXfs(PathBuf),
    #[error("the file system of the data directory is not known: {0}")]
    Unknown(String),
    #[error("only a server that is root can set quotas")]
    NotRoot,
    #[error("{0} is not there: type \"apt-get install {1}\"")]
    NoTool(&'static str, &'static str),
    #[error("{0}: {1}")]
    Failed(&'static str, String),
    #[error(
        "{0} of its directories could not be counted: stop the application, then set limits.disk again"
    )]
    NotWhole(u64),
    #[error("all project ids are given")]
    NoId,
    #[error("{0}: {1}")]
    Record(PathBuf, String),
    #[error("the quota is not set yet")]
    NotYet,
}

/// Where quotas are set.
///
/// # Errors
/// [`Unenforced`]: why they cannot be. Blocks.
pub fn support(data_dir: &Path) -> Result<FileSystem, Unenforced> {
    let unknown = |e: io::Error| Unenforced::Unknown(e.to_string());
    // Often a file system of its own.
    let apps = data_dir.join("apps");
    let place = if apps.is_dir() { &apps } else { data_dir };
    let path = std::fs::canonicalize(place).map_err(unknown)?;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").map_err(unknown)?;
    let found = FileSystem::of(&path, &mounts);
    let found = found.ok_or_else(|| Unenforced::Unknown(path.display().to_string()))?;
    match found.kind.as_str() {
        _ if !found.has_projects() => return Err(Unenforced::OtherKind(found.kind)),
        "xfs" if !found.is_on => return Err(Unenforced::OffInXfs(found.point)),
        _ if !found.is_on => return Err(Unenforced::OffInExt4(found.point, found.source)),
        _ => {}
    }
    if !rustix::process::geteuid().is_root() {
        return Err(Unenforced::NotRoot);
    }
    tools::look_for()?;
    Ok(found)
}

/// Closes the ways out of a project to all that is started from now on, where quotas are on. Blocks.
pub fn prepare(data_dir: &Path) {
    match support(data_dir) {
        Ok(found) => {
            fixed_project::require();
            log::info!(
                "limits.disk is enforced by project quotas of {}",
                found.point.display()
            );
        }
        Err(why) => log::info!("limits.disk is not enforced: {why}"),
    }
}

/// What is known of an application.
#[derive(Debug, Default)]
struct Entry {
    /// What `limits.disk` says now.
    wanted: Mutex<Option<u64>>,
    /// What was done, for which limit. Held while something is done.
    applied: Mutex<Option<(u64, Result<(), Unenforced>)>>,
}

/// By the applications' directories.
static ALL: Mutex<Option<HashMap<PathBuf, Arc<Entry>>>> = Mutex::new(None);

/// `projects.json` has one writer at a time.
static RECORD: Mutex<()> = Mutex::new(());

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn entry(dirs: &AppDirs) -> Arc<Entry> {
    let mut all = locked(&ALL);
    let all = all.get_or_insert_default();
    Arc::clone(all.entry(dirs.root().to_owned()).or_default())
}

/// Says what `limits.disk` is from now on; [`follow`] does it.
pub fn want(dirs: &AppDirs, limit: Option<u64>) {
    *locked(&entry(dirs).wanted) = limit;
}

/// Sets or lifts the quota, as it is wanted now. Where it cannot be, [`state`] says why. Blocks.
pub fn follow(dirs: &AppDirs) {
    let entry = entry(dirs);
    let mut applied = locked(&entry.applied);
    let wanted = *locked(&entry.wanted);
    let result = match wanted {
        Some(limit) if is_kept(dirs, limit, applied.as_ref()) => return,
        Some(limit) => set(dirs, limit),
        None => lift(dirs),
    };
    if let Err(why) = &result
        && applied.as_ref().is_none_or(|(_, before)| before != &result)
    {
        log::warn!("{}: its limits.disk is not enforced: {why}", dirs.name());
    }
    *applied = wanted.map(|limit| (limit, result));
}

/// Whether it was set before, and the directory is still that one.
fn is_kept(dirs: &AppDirs, limit: u64, applied: Option<&(u64, Result<(), Unenforced>)>) -> bool {
    matches!(applied, Some((before, Ok(()))) if *before == limit) && shows(dirs, limit)
}

fn set(dirs: &AppDirs, limit: u64) -> Result<(), Unenforced> {
    let system = support(dirs.data_dir())?;
    // Before the application has a file: then it is a matter of one directory.
    let made = dirs.root().parent().map_or(Ok(()), std::fs::create_dir_all);
    let made = made.and_then(|()| tree::directory(dirs.root(), 0o711, None));
    made.map_err(|e| Unenforced::Record(dirs.root().to_owned(), e.to_string()))?;
    let project = change(dirs, |projects| projects.ensure(dirs.name()))?.ok_or(Unenforced::NoId)?;
    failpoint::reach("before a project is given");
    if project.is_whole {
        tools::limit(project.id, Some(limit), &system.point)?;
        if shows(dirs, limit) {
            return Ok(());
        }
        // Somebody has removed the directory, or put another in its place.
        change(dirs, |projects| projects.note(dirs.name(), false))?;
    }
    give(dirs, project, limit, &system)?;
    let is_seen = !exceeds_the_disk(dirs, limit);
    change(dirs, |projects| projects.note(dirs.name(), is_seen))
}

/// The tree first: it may have more than the limit already.
fn give(
    dirs: &AppDirs,
    project: Project,
    limit: u64,
    system: &FileSystem,
) -> Result<(), Unenforced> {
    let mut others = 0;
    tools::limit(project.id, None, &system.point)?;
    for _ in 0..ATTEMPTS {
        tools::assign(project.id, dirs.root())?;
        tools::limit(project.id, Some(limit), &system.point)?;
        if exceeds_the_disk(dirs, limit) {
            return Ok(());
        }
        others = whole::others(dirs.root(), total(limit))
            .map_err(|e| Unenforced::Record(dirs.root().to_owned(), e.to_string()))?;
        if others == 0 {
            return Ok(());
        }
    }
    Err(Unenforced::NotWhole(others))
}

/// What statfs(2) says is the size of a file system of so many bytes, in its blocks.
fn total(limit: u64) -> impl Fn(u64, u64) -> bool {
    move |blocks, size| size > 0 && (blocks == limit.div_ceil(1024) * 1024 / size)
}

/// Whether the kernel says that the directory of the application is of this size. One that may have more than there is says
/// what all others say.
fn shows(dirs: &AppDirs, limit: u64) -> bool {
    let is_so = total(limit);
    let own = statvfs(dirs.root()).is_ok_and(|found| is_so(found.f_blocks, found.f_frsize));
    own || exceeds_the_disk(dirs, limit) && dirs.root().is_dir()
}

/// Whether the limit is more than the file system has. Blocks.
pub(super) fn exceeds_the_disk(dirs: &AppDirs, limit: u64) -> bool {
    statvfs(dirs.apps()).is_ok_and(|all| all.f_blocks * all.f_frsize <= limit)
}

fn lift(dirs: &AppDirs) -> Result<(), Unenforced> {
    let Some(project) = read(dirs)?.and_then(|projects| projects.of(dirs.name())) else {
        return Ok(());
    };
    tools::limit(project.id, None, &support(dirs.data_dir())?.point)
}

/// Lifts the quota of an application that is removed. With `is_gone` none of its files is left, and the id becomes free.
/// Blocks.
pub fn clear(dirs: &AppDirs, is_gone: bool) {
    want(dirs, None);
    follow(dirs);
    if !is_gone {
        return;
    }
    let is_known =
        read(dirs).is_ok_and(|found| found.is_some_and(|all| all.of(dirs.name()).is_some()));
    if is_known && let Err(why) = change(dirs, |projects| projects.forget(dirs.name())) {
        log::warn!("{}: its project id is not free yet: {why}", dirs.name());
    }
    locked(&ALL).get_or_insert_default().remove(dirs.root());
}

/// Whether the limit is enforced.
///
/// # Errors
/// Why not. Blocks.
pub fn state(dirs: &AppDirs, limit: u64) -> Result<(), Unenforced> {
    let entry = entry(dirs);
    // What takes long is not waited for.
    let Ok(applied) = entry.applied.try_lock() else {
        return Err(Unenforced::NotYet);
    };
    match &*applied {
        Some((set, Ok(()))) if *set == limit && shows(dirs, limit) => Ok(()),
        Some((set, Err(why))) if *set == limit => Err(why.clone()),
        _ => Err(support(dirs.data_dir()).err().unwrap_or(Unenforced::NotYet)),
    }
}

/// Bytes that the application may still write, where its limit is enforced; `None`: the limit is not enforced. Blocks.
#[must_use]
pub fn left(dirs: &AppDirs, limit: u64) -> Option<u64> {
    state(dirs, limit).ok()?;
    let found = statvfs(dirs.root()).ok()?;
    Some(found.f_bfree * found.f_frsize)
}

fn read(dirs: &AppDirs) -> Result<Option<Projects>, Unenforced> {
    let path = dirs.projects();
    let failed = |e: io::Error| Unenforced::Record(path.clone(), e.to_string());
    match regular::read(&path, MAX_RECORD) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|e| failed(e.into())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(failed(e)),
    }
}

/// Changes `projects.json`. An id is there before a file has it.
fn change<T>(dirs: &AppDirs, change: impl FnOnce(&mut Projects) -> T) -> Result<T, Unenforced> {
    let _turn = locked(&RECORD);
    let before = read(dirs)?;
    let mut projects = before
        .clone()
        .unwrap_or_else(|| Projects::new(dirs.data_dir()));
    let result = change(&mut projects);
    if before.as_ref() != Some(&projects) {
        let path = dirs.projects();
        let stored = serde_json::to_vec(&projects).map_err(io::Error::from);
        let stored = stored.and_then(|bytes| durable::replace(&path, &bytes, 0o600));
        stored.map_err(|e| Unenforced::Record(path, e.to_string()))?;
    }
    Ok(result)
}
