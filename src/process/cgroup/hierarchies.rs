//! [`Hierarchies`]: where control groups are mounted, and in which of them a process is (pure).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What bounds the use of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Controller {
    Memory,
    Cpu,
    Pids,
}

impl Controller {
    pub(super) const ALL: [Self; 3] = [Self::Memory, Self::Cpu, Self::Pids];

    /// The kernel's name for it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Pids => "pids",
        }
    }

    /// Those of a list with blanks, as in `cgroup.controllers`.
    pub(super) fn among(text: &str) -> Vec<Self> {
        let is_there = |c: &Self| text.split_whitespace().any(|word| word == c.name());
        Self::ALL.into_iter().filter(is_there).collect()
    }
}

/// A mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    point: PathBuf,
    /// The group that is the root of what is seen there.
    root: PathBuf,
}

impl Mount {
    pub(super) fn point(&self) -> &Path {
        &self.point
    }

    /// The directory of a group that cgroups(7) names so in `/proc/PID/cgroup`.
    pub(super) fn directory(&self, group: &Path) -> Option<PathBuf> {
        Some(self.point.join(group.strip_prefix(&self.root).ok()?))
    }
}

/// The hierarchies of a machine: one of cgroup2, and those of the first version that have our controllers. systemd's
/// hybrid layout has both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hierarchies {
    pub(super) unified: Option<Mount>,
    pub(super) first: BTreeMap<Controller, Mount>,
}

impl Hierarchies {
    /// By `/proc/self/mountinfo`, see proc_pid_mountinfo(5): the fourth field is the root, the fifth the mount point; the
    /// type follows a lone dash, and the last field has the controllers of a hierarchy of the first version.
    pub(super) fn parse(text: &str) -> Self {
        let mut found = Self::default();
        for line in text.lines() {
            let Some((kind, mount, options)) = parse_line(line) else {
                continue;
            };
            match kind {
                "cgroup2" => {
                    found.unified.get_or_insert(mount);
                }
                "cgroup" => {
                    let has = |c: &Controller| options.split(',').any(|word| word == c.name());
                    for controller in Controller::ALL.into_iter().filter(has) {
                        found.first.entry(controller).or_insert(mount.clone());
                    }
                }
                _ => {}
            }
        }
        found
    }

    /// The directories of the groups that a process is in, by its `/proc/PID/cgroup`.
    pub(super) fn groups(&self, text: &str) -> Groups {
        let mut groups = Groups::default();
        for line in text.lines() {
            let mut fields = line.splitn(3, ':');
            let (Some(number), Some(controllers), Some(group)) =
                (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            let group = Path::new(group);
            if number == "0" && controllers.is_empty() {
                groups.unified = self.unified.as_ref().and_then(|m| m.directory(group));
                continue;
            }
            for (controller, mount) in &self.first {
                if controllers.split(',').any(|word| word == controller.name())
                    && let Some(directory) = mount.directory(group)
                {
                    groups.first.insert(*controller, directory);
                }
            }
        }
        groups
    }
}

/// A directory in each hierarchy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Groups {
    pub(super) unified: Option<PathBuf>,
    pub(super) first: BTreeMap<Controller, PathBuf>,
}

fn parse_line(line: &str) -> Option<(&str, Mount, &str)> {
    let (left, right) = line.split_once(" - ")?;
    let mut fields = left.split(' ').skip(3);
    let (root, point) = (fields.next()?, fields.next()?);
    let mut fields = right.split(' ');
    let kind = fields.next()?;
    let mount = Mount {
        point: point.into(),
        root: root.into(),
    };
    Some((kind, mount, fields.nth(1).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// systemd's hybrid layout, seen from a container.
    const HYBRID: &str = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
        40 31 0:37 / /sys/fs/cgroup/systemd rw shared:9 - cgroup cgroup rw,xattr,name=systemd\n\
        42 31 0:39 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
        43 31 0:40 /lxc /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n\
        41 31 0:38 /lxc /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw\n";
    const UNIFIED: &str =
        "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn each_hierarchy_is_found_with_its_controllers() {
        let found = Hierarchies::parse(HYBRID);
        let own =
            "9:name=systemd:/x\n4:cpu,cpuacct:/system.slice/a:b\n3:memory:/lxc/app\n0::/lxc/one\n";
        let groups = found.groups(own);
        let unified = Path::new("/sys/fs/cgroup/unified/one");
        assert_eq!(groups.unified.as_deref(), Some(unified));
        let cpu = Path::new("/sys/fs/cgroup/cpu,cpuacct/system.slice/a:b");
        let memory = Path::new("/sys/fs/cgroup/memory/app");
        assert_eq!(groups.first[&Controller::Cpu], cpu);
        assert_eq!(groups.first[&Controller::Memory], memory);
        assert!(!groups.first.contains_key(&Controller::Pids));
        assert_eq!(groups.first.len(), 2);
    }

    #[test]
    fn where_there_is_one_hierarchy_it_is_that_one() {
        let found = Hierarchies::parse(UNIFIED);
        assert!(found.first.is_empty());
        let groups = found.groups("0::/system.slice/procserver.service\n");
        let own = Path::new("/sys/fs/cgroup/system.slice/procserver.service");
        assert_eq!(groups.unified.as_deref(), Some(own));
    }

    #[test]
    fn what_is_not_seen_here_has_no_directory_and_garbage_is_left_out() {
        let found = Hierarchies::parse(HYBRID);
        assert_eq!(found.groups("0::/elsewhere\n").unified, None);
        assert_eq!(found.groups("0\n:\n1:memory\n"), Groups::default());
        assert_eq!(
            Hierarchies::parse("garbage\n\n1 2 3 - cgroup2\n"),
            Hierarchies::default()
        );
    }

    #[test]
    fn controllers_are_whole_words() {
        let all = "cpuset cpu io memory hugetlb pids rdma misc\n";
        assert_eq!(Controller::among(all), Controller::ALL);
        assert_eq!(Controller::among("cpuset hugetlb\n"), []);
    }
}
