//! [`Cgroup`]: the control groups of one instance. See cgroups(7) and the kernel's `cgroup-v2.rst`.
//!
//! Where the daemon may make directories in its own cgroup2 group (as root; under systemd with `Delegate=yes`), each
//! instance runs in one. Nothing leaves it by forking, whatever session or environment it gives itself, and
//! `cgroup.kill` ends all of it at once. It works without any controller; where there are some, they enforce the limits
//! of the document (`bounds`), and else those of hierarchies of the first version, in which an instance has groups only
//! if it needs them. [`home`] is where all these are made.

mod bounds;
mod hierarchies;
mod home;
mod names;
mod sweep;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::document::limits::Limits;

use super::lack::Lack;
use bounds::Means;
use hierarchies::{Controller, Hierarchies};
use home::{Home, enable, home, make, pids};
pub use home::{prepare, release};
pub use sweep::sweep;

/// The groups of one instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cgroup {
    /// In cgroup2: what is looked at, and killed.
    unified: Option<PathBuf>,
    /// In hierarchies of the first version, which do no more than limit it.
    first: BTreeMap<Controller, PathBuf>,
}

/// How often a group is made anew whose parent was removed meanwhile, being empty.
const TRIES: u32 = 5;

impl Cgroup {
    /// Makes the groups of an instance with these limits, and says which limits nothing enforces; `None` where there can
    /// be no group. Blocks.
    pub(super) fn create(
        instance: &str,
        limits: &Limits,
        nice: Option<i32>,
    ) -> (Option<Self>, Vec<Lack>) {
        let home = home();
        let path = home.names.path(instance);
        let mut group = Self::default();
        if let Some(parent) = &home.unified {
            match make_below(parent, &path, &home.handed_on(limits)) {
                Ok(directory) => group.unified = Some(directory),
                Err(e) => log::warn!("no control group for {instance}: {e}"),
            }
        }
        for (controller, means) in bounds::plan(limits, &home.controllers, &home.first) {
            if let (Means::First, Some(parent)) = (means, home.first.get(&controller)) {
                match make_below(parent, &path, &[]) {
                    Ok(directory) => drop(group.first.insert(controller, directory)),
                    Err(e) => log::warn!("no control group for {instance}: {e}"),
                }
            }
        }
        let lacks = group.limit(limits);
        if let (Some(unified), Some(nice)) = (&group.unified, nice) {
            // Between groups it is their weight that counts. Where no group is weighed, there is no such file.
            let _ = fs::write(unified.join("cpu.weight.nice"), nice.to_string());
        }
        (Some(group).filter(|group| !group.is_nowhere()), lacks)
    }

    /// Lets the kernel enforce the limits on what is in these groups, and says what it cannot. Blocks.
    pub(super) fn limit(&self, limits: &Limits) -> Vec<Lack> {
        let home = home();
        let mut lacks = Vec::new();
        for (controller, means) in bounds::plan(limits, &home.controllers, &home.first) {
            let directory = match means {
                Means::Second => self.unified.as_ref(),
                Means::First => self.first.get(&controller),
                Means::None => None,
            };
            let applied = match directory {
                Some(directory) => {
                    bounds::apply(directory, controller, means, limits).map_err(|e| e.to_string())
                }
                None => Err(format!(
                    "no control group with the {} controller can be made here; as a service of systemd, Delegate=yes gives some",
                    controller.name()
                )),
            };
            if let Err(why) = applied {
                lacks.push(bounds::lack(controller, why));
            }
        }
        lacks
    }

    /// As [`Self::limit`], for an instance that outlived the server which started it: systemd before version 254 cannot
    /// start a server beside groups that are limited, so that they were freed for its start ([`release`]).
    pub(super) fn limit_again(&self, limits: &Limits) -> Vec<Lack> {
        let handed_on = home().handed_on(limits);
        // Those above it, the highest first.
        let above: Vec<_> = self
            .unified
            .iter()
            .flat_map(|u| u.ancestors())
            .skip(1)
            .take(2)
            .collect();
        for group in above.into_iter().rev().filter(|_| !handed_on.is_empty()) {
            // What this does not do is told by the limits then.
            let _ = enable(group, &handed_on);
        }
        self.limit(limits)
    }

    /// The groups that an instance had below this or an earlier server's, if they are still there.
    pub(super) fn left_by(instance: &str) -> Option<Self> {
        let home = home();
        let mut names = vec![home.names.path(instance)];
        names.extend(home.names.old(instance).map(PathBuf::from));
        let find = |parent: &PathBuf| {
            let mut paths = names.iter().map(|name| parent.join(name));
            paths.find(|path| path.is_dir())
        };
        let mut left = Self::default();
        for found in home.all().filter_map(find) {
            match found.join("cgroup.kill").exists() {
                true => drop(left.unified.get_or_insert(found)),
                false => left.note_first(found),
            }
        }
        Some(left).filter(|left| !left.is_nowhere())
    }

    /// The groups of an instance by one of its processes: a daemon that was started elsewhere made them elsewhere.
    pub(super) fn of_process(pid: u32, instance: &str) -> Option<Self> {
        let home = home();
        let groups = home.groups_of(&pid.to_string());
        let is_own = |path: &PathBuf| home.names.is_of(path, instance) && path.is_dir();
        let found = Self {
            unified: groups.unified.filter(|path| is_own(path)),
            first: groups
                .first
                .into_iter()
                .filter(|(_, path)| is_own(path))
                .collect(),
        };
        Some(found).filter(|found| !found.is_nowhere())
    }

    /// These, and those of `other` in hierarchies where these are nowhere.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.unified = self.unified.or(other.unified);
        for (controller, path) in other.first {
            self.first.entry(controller).or_insert(path);
        }
        self
    }

    /// All directories, which a process enters one by one.
    pub(super) fn directories(&self) -> Vec<PathBuf> {
        let all = self.unified.iter().chain(self.first.values());
        all.cloned().collect()
    }

    /// Whether it tells who is in it: what leaves its session as well.
    pub(super) fn tracks(&self) -> bool {
        self.unified.is_some()
    }

    fn is_nowhere(&self) -> bool {
        self.unified.is_none() && self.first.is_empty()
    }

    fn note_first(&mut self, path: PathBuf) {
        let has = |c: &Controller| match c {
            Controller::Memory => path.join("memory.oom_control").exists(),
            Controller::Cpu => path.join("cpu.cfs_quota_us").exists(),
            Controller::Pids => path.join("pids.max").exists(),
        };
        for controller in Controller::ALL.into_iter().filter(has) {
            self.first.entry(controller).or_insert(path.clone());
        }
    }

    /// SIGKILL to all in it, forks in progress included.
    pub(super) fn kill(&self) {
        if let Some(unified) = &self.unified {
            // The group may be gone: then all in it are, too.
            let _ = fs::write(unified.join("cgroup.kill"), "1");
        }
    }

    /// Whether anything in it lives. Zombies do not count.
    pub(super) fn is_populated(&self) -> bool {
        let events = |unified: &PathBuf| fs::read_to_string(unified.join("cgroup.events")).ok();
        let events = self.unified.as_ref().and_then(events);
        events.is_some_and(|events| events.lines().any(|line| line == "populated 1"))
    }

    /// What lives in it, and in the groups that it has made in it.
    pub(super) fn members(&self) -> Vec<u32> {
        self.unified.as_deref().map(members).unwrap_or_default()
    }

    /// Whether memory is counted in it.
    pub(super) fn counts_memory(&self) -> bool {
        let by_second = self.unified.is_some() && home().controllers.contains(&Controller::Memory);
        by_second || self.first.contains_key(&Controller::Memory)
    }

    /// How many of its processes the kernel has ended so far because memory ran out: that of its limit, or, in cgroup2,
    /// that of the machine. Blocks.
    pub(super) fn oom_kills(&self) -> u64 {
        let first = self.first.get(&Controller::Memory);
        let first = first.map(|path| path.join(bounds::oom_file(Means::First)));
        let second = self.unified.as_ref();
        let second = second.map(|path| path.join(bounds::oom_file(Means::Second)));
        let read = |file: PathBuf| fs::read_to_string(file).ok();
        let counted = first.into_iter().chain(second).filter_map(read);
        counted.map(|text| bounds::oom_kills(&text)).sum()
    }

    /// Removes empty groups, those in them, and those above that are empty then.
    pub(super) fn remove(&self) {
        let top = home().names.top();
        for path in self.directories() {
            // It may be gone, or in use by a process that has just been started for the same instance.
            remove(&path);
            let mut above = path.ancestors().skip(1).take(2);
            if let (Some(app), Some(all)) = (above.next(), above.next())
                && all.file_name().is_some_and(|name| name == top.as_str())
            {
                let _ = fs::remove_dir(app).and_then(|()| fs::remove_dir(all));
            }
        }
    }
}

impl Home {
    /// What groups are handed from above where one with these limits is made. CPU time only where it is limited: else
    /// all groups would share it alike, whatever the priorities of their processes.
    fn handed_on(&self, limits: &Limits) -> Vec<Controller> {
        let mut wanted = self.controllers.clone();
        wanted.retain(|c| *c != Controller::Cpu || limits.cpu.is_some());
        wanted
    }
}

/// Makes `path` below `parent`, and hands the controllers on to it.
fn make_below(parent: &Path, path: &Path, controllers: &[Controller]) -> io::Result<PathBuf> {
    let directory = parent.join(path);
    let told =
        |group: &Path, e: &io::Error| io::Error::new(e.kind(), format!("{}: {e}", group.display()));
    for attempt in 1.. {
        let mut made = Ok(());
        let above: Vec<_> = directory.ancestors().take(3).collect();
        for group in above.into_iter().rev() {
            made = make(group).map_err(|e| told(group, &e));
            if made.is_ok() && group != directory && !controllers.is_empty() {
                made = enable(group, controllers).map_err(|e| told(group, &e));
            }
            if made.is_err() {
                break;
            }
        }
        match made {
            Err(e) if e.kind() == io::ErrorKind::NotFound && attempt < TRIES => {}
            made => return made.map(|()| directory),
        }
    }
    unreachable!("it returns at the last try")
}

fn members(group: &Path) -> Vec<u32> {
    let inner = inner(group);
    let inner = inner.iter().flat_map(|group| members(group));
    pids(group).into_iter().chain(inner).collect()
}

fn remove(group: &Path) {
    inner(group).iter().for_each(|group| remove(group));
    let _ = fs::remove_dir(group);
}

fn inner(group: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(group).into_iter().flatten().flatten();
    let groups = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    groups.map(|entry| entry.path()).collect()
}

/// What enforces a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    Second,
    First,
}

/// What a machine offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offered {
    /// Whether there is cgroup2: what a process starts is found and ended by it.
    pub is_tracked: bool,
    /// Each controller that limits need, and by what it is there.
    pub limits: Vec<(&'static str, Option<Version>)>,
}

/// What a machine offers by its mounts, as in proc_pid_mountinfo(5); `controllers`: those of a mount of cgroup2 (pure).
/// Whether groups may be made is another question.
#[must_use]
pub fn offered(mounts: &str, controllers: impl Fn(&str) -> String) -> Offered {
    let there = Hierarchies::parse(mounts);
    let root = there
        .unified
        .as_ref()
        .map(|mount| mount.point().to_string_lossy());
    let second = root.map(|root| Controller::among(&controllers(&root)));
    let second = second.unwrap_or_default();
    let by = |controller: Controller| match controller {
        c if second.contains(&c) => Some(Version::Second),
        c if there.first.contains_key(&c) => Some(Version::First),
        _ => None,
    };
    Offered {
        is_tracked: there.unified.is_some(),
        limits: Controller::ALL.map(|c| (c.name(), by(c))).to_vec(),
    }
}

/// How many processes the kernel has ended for want of memory in the group of this server's that `pid` is in. Where all
/// of an instance is not ended together (in the first version), those beside the ended one may live on. Blocks.
pub(super) fn oom_kills_beside(pid: u32) -> u64 {
    let home = home();
    let top = home.names.top();
    let groups = home.groups_of(&pid.to_string());
    let is_own = |path: &PathBuf| {
        let above = path.ancestors().nth(2).and_then(Path::file_name);
        above.is_some_and(|name| name == top.as_str())
    };
    let own = Cgroup {
        unified: groups.unified.filter(is_own),
        first: groups
            .first
            .into_iter()
            .filter(|(_, path)| is_own(path))
            .collect(),
    };
    own.oom_kills()
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
