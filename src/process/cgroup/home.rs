//! [`Home`]: the groups below which this server makes those of its processes.
//!
//! In cgroup2 a group either has processes or hands controllers on to those below it (cgroups(7), "no internal
//! processes"), but for the root of all. So a server that can have controllers moves itself into a group beside those
//! of its apps, as systemd does it with `DelegateSubgroup=server` from version 254 on. An older systemd could not start
//! the next server, after a crash, in the group that hands on: so [`release`] comes before.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::hierarchies::{Controller, Groups, Hierarchies};
use super::names::Names;
use crate::{durable, regular};

/// As in `DelegateSubgroup=` of the unit: only systemd makes a group of this name, so that it tells what systemd can.
const LEAF: &str = "server";

/// Set by systemd on a group that it hands over (systemd.resource-control(5), `Delegate=`).
const DELEGATED: [&str; 2] = ["trusted.delegate", "user.delegate"];

/// In the data directory: where servers have made groups, as JSON.
const NOTE: &str = "control_groups.json";
const NOTE_LIMIT: u64 = 64 * 1024;
/// How many places are remembered: each new start of a container may be in another one.
const NOTED: usize = 32;

/// Where this server makes groups.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) names: Names,
    pub(super) hierarchies: Hierarchies,
    /// In cgroup2, if groups can be made there.
    pub(super) unified: Option<PathBuf>,
    /// What the groups below [`Self::unified`] can limit.
    pub(super) controllers: Vec<Controller>,
    /// In the hierarchies of the first version where groups can be made, but for [`Self::controllers`].
    pub(super) first: BTreeMap<Controller, PathBuf>,
    /// Where servers on this data directory have made groups before.
    earlier: Vec<PathBuf>,
}

static HOME: OnceLock<Home> = OnceLock::new();

/// The home of this server; where nobody has prepared one (tests), of no data directory. Blocks the first time.
pub(super) fn home() -> &'static Home {
    HOME.get_or_init(|| Home::find(Names::of_nobody()))
}

/// Finds out where there can be groups, moves the server out of the way, and says in the log what came of it. Their
/// names tell the groups of one data directory from those of another. Blocks.
pub fn prepare(data_dir: &Path) {
    let real = fs::canonicalize(data_dir).unwrap_or_else(|_| data_dir.to_owned());
    let home = HOME.get_or_init(|| {
        let mut home = Home::find(Names::of(&real));
        home.remember(data_dir);
        home
    });
    home.tell();
}

impl Home {
    fn find(names: Names) -> Self {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let hierarchies = Hierarchies::parse(&mounts);
        let own = groups_of(&hierarchies, "self");
        let mut home = Self {
            unified: None,
            controllers: Vec::new(),
            first: BTreeMap::new(),
            earlier: Vec::new(),
            names,
            hierarchies,
        };
        if let Some(own) = &own.unified {
            let parent = home.above_leaf(own).unwrap_or(own).to_owned();
            match try_out(&parent, &["cgroup.procs", "cgroup.kill"]) {
                Ok(()) => {
                    home.controllers = home.hand_on(&parent, own);
                    home.unified = Some(parent);
                }
                Err(e) => log::info!(
                    "no control groups in {} ({e}; systemd gives them with Delegate=yes): what processes start is found in /proc",
                    parent.display()
                ),
            }
        }
        for (controller, own) in own.first {
            let parent = home.above_leaf(&own).unwrap_or(&own).to_owned();
            let is_needed = !home.controllers.contains(&controller);
            if is_needed && try_out(&parent, &["cgroup.procs"]).is_ok() {
                home.first.insert(controller, parent);
            }
        }
        home
    }

    /// The group above that of the server itself, if it is in one that was made for it alone.
    fn above_leaf<'a>(&self, own: &'a Path) -> Option<&'a Path> {
        let parent = own.parent()?;
        let name = own.file_name()?;
        let is_leaf = name == self.names.leaf().as_str() || name == LEAF && is_delegated(parent);
        is_leaf.then_some(parent)
    }

    /// Lets the groups below `parent` limit what they can; which that are. `own` has this server.
    fn hand_on(&self, parent: &Path, own: &Path) -> Vec<Controller> {
        let there = fs::read_to_string(parent.join("cgroup.controllers")).unwrap_or_default();
        let there = Controller::among(&there);
        if there.is_empty() {
            return there;
        }
        let mut enabled = enable(parent, &there);
        if matches!(&enabled, Err(e) if e.kind() == io::ErrorKind::ResourceBusy) {
            enabled = self
                .move_out(parent, own)
                .and_then(|()| enable(parent, &there));
        }
        match enabled {
            Ok(()) => there,
            Err(e) => {
                log::info!(
                    "no limits by the control groups in {}: {e}",
                    parent.display()
                );
                Vec::new()
            }
        }
    }

    /// Moves what is in `parent` into a group of its own. Other processes than this one are moved only where the group
    /// was handed over: what an earlier server has left (apt-get).
    fn move_out(&self, parent: &Path, own: &Path) -> io::Result<()> {
        let is_delegated = is_delegated(parent);
        let members = pids(parent);
        if own != parent || (!is_delegated && members != [std::process::id()]) {
            return Err(io::Error::other("other processes are in it"));
        }
        let leaf = parent.join(self.names.leaf());
        make(&leaf)?;
        // A process may fork meanwhile.
        for _ in 0..100 {
            let members = pids(parent);
            if members.is_empty() {
                break;
            }
            for pid in members {
                // It may have ended.
                let _ = fs::write(leaf.join("cgroup.procs"), pid.to_string());
            }
        }
        Ok(())
    }

    /// Reads where earlier servers have made groups, and notes where this one does.
    fn remember(&mut self, data_dir: &Path) {
        let note = data_dir.join(NOTE);
        let noted = regular::read(&note, NOTE_LIMIT).ok();
        let noted: Vec<PathBuf> = noted
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default();
        let own: Vec<PathBuf> = self.own().cloned().collect();
        let earlier = noted.iter().filter(|path| !own.contains(path));
        // After a reboot or in another container they are gone.
        self.earlier = earlier.filter(|path| path.is_dir()).cloned().collect();
        let all = own.iter().chain(&self.earlier).take(NOTED);
        let all: Vec<_> = all.cloned().collect();
        if all != noted {
            let text = serde_json::to_vec(&all).unwrap_or_default();
            if let Err(e) = durable::replace(&note, &text, 0o600) {
                log::warn!("{}: {e}", note.display());
            }
        }
    }

    /// The groups below which this server makes others.
    fn own(&self) -> impl Iterator<Item = &PathBuf> {
        self.unified.iter().chain(self.first.values())
    }

    /// These, and those of earlier servers.
    pub(super) fn all(&self) -> impl Iterator<Item = &PathBuf> {
        self.own().chain(&self.earlier)
    }

    fn tell(&self) {
        if let Some(unified) = &self.unified {
            log::info!(
                "each process gets a control group in {}",
                unified.join(self.names.top()).display()
            );
        }
        let limited = Controller::ALL.into_iter().filter_map(|controller| {
            let by = match self.controllers.contains(&controller) {
                true => "cgroup2",
                false => self.first.get(&controller).map(|_| "cgroup v1")?,
            };
            Some(format!("{} by {by}", controller.name()))
        });
        let limited: Vec<_> = limited.collect();
        if limited.is_empty() {
            log::info!("limits of memory, CPU and tasks cannot be enforced by control groups");
        } else {
            log::info!("limits: {}", limited.join(", "));
        }
    }

    /// The groups of a process, by its number or `self`.
    pub(super) fn groups_of(&self, process: &str) -> Groups {
        groups_of(&self.hierarchies, process)
    }
}

/// Takes the controllers back from all groups of the service that this process is of, so that a systemd which knows no
/// `DelegateSubgroup=` can start a process in its group again. What runs in the groups goes on, without limits until the
/// server takes it over. Does nothing where systemd has made the server's own group. Blocks.
///
/// # Errors
/// As `write(2)`.
pub fn release() -> io::Result<()> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let own = groups_of(&Hierarchies::parse(&mounts), "self").unified;
    // What systemd starts after the server has ended is in `.control`.
    let unit = own.as_deref().and_then(Path::parent);
    match unit.filter(|unit| is_delegated(unit) && !unit.join(LEAF).is_dir()) {
        Some(unit) => take_back(unit),
        None => Ok(()),
    }
}

/// From the lowest groups first: none takes back what one below hands on.
fn take_back(group: &Path) -> io::Result<()> {
    let file = group.join("cgroup.subtree_control");
    let handed_on = fs::read_to_string(&file)?;
    if handed_on.trim().is_empty() {
        return Ok(());
    }
    super::inner(group).iter().try_for_each(|g| take_back(g))?;
    let words = handed_on.split_whitespace().map(|word| format!("-{word}"));
    let words: Vec<_> = words.collect();
    fs::write(&file, words.join(" "))
}

fn groups_of(hierarchies: &Hierarchies, process: &str) -> Groups {
    let text = fs::read_to_string(format!("/proc/{process}/cgroup")).unwrap_or_default();
    hierarchies.groups(&text)
}

/// Hands these on to the groups below.
pub(super) fn enable(group: &Path, controllers: &[Controller]) -> io::Result<()> {
    let words = controllers.iter().map(|c| format!("+{}", c.name()));
    let words: Vec<_> = words.collect();
    fs::write(group.join("cgroup.subtree_control"), words.join(" "))
}

/// What is in a group, the groups below aside.
pub(super) fn pids(group: &Path) -> Vec<u32> {
    let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// Makes a group, if it is not there.
pub(super) fn make(group: &Path) -> io::Result<()> {
    match fs::create_dir(group) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
        _ => Ok(()),
    }
}

fn is_delegated(group: &Path) -> bool {
    DELEGATED.iter().any(|name| {
        let mut value = [0; 8];
        let length = rustix::fs::getxattr(group, *name, &mut value[..]);
        length.is_ok_and(|length| &value[..length] == b"1")
    })
}

/// Makes a group, and looks whether processes could be moved into it.
fn try_out(parent: &Path, files: &[&str]) -> io::Result<()> {
    let probe = parent.join(format!("procserver-probe-{}", std::process::id()));
    fs::create_dir(&probe)?;
    let own = parent.join("cgroup.procs");
    let writable = files.iter().map(|file| probe.join(file));
    let tried = std::iter::once(own)
        .chain(writable)
        .try_for_each(|file| rustix::fs::access(file, rustix::fs::Access::WRITE_OK));
    fs::remove_dir(&probe)?;
    Ok(tried?)
}
