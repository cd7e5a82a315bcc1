//! [`Plan`]: by what each limit of a process is enforced here, and the files that say so to the kernel.
//!
//! cgroup2 is asked first, then the first version, then setrlimit(2). See the kernel's `cgroup-v2.rst`, and
//! `memory.rst`, `pids.rst` and `sched-bwc.rst` of the first version.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::hierarchies::Controller;
use crate::document::limits::Limits;
use crate::process::lack::{Lack, Limited};

/// Microseconds in which a process may use its share of CPU time: the kernel's default.
const PERIOD: u64 = 100_000;

/// What hands out the limits of one process (pure).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Means {
    Second,
    First,
    /// setrlimit(2), or nothing.
    None,
}

/// The controllers that a process with `limits` needs, by what they are enforced (pure).
pub(super) fn plan(
    limits: &Limits,
    second: &[Controller],
    first: &BTreeMap<Controller, PathBuf>,
) -> Vec<(Controller, Means)> {
    let needed = Controller::ALL.into_iter().filter(|c| match c {
        Controller::Memory => limits.memory.is_some(),
        Controller::Cpu => limits.cpu.is_some(),
        Controller::Pids => limits.tasks.is_some(),
    });
    let means = |controller: Controller| match controller {
        c if second.contains(&c) => Means::Second,
        c if first.contains_key(&c) => Means::First,
        _ => Means::None,
    };
    needed.map(|c| (c, means(c))).collect()
}

/// A file of a control group and what is written to it. Where it is missing, the limit before it is all there is.
#[derive(Debug, PartialEq, Eq)]
struct Setting {
    file: &'static str,
    value: String,
    is_optional: bool,
}

fn setting(file: &'static str, value: impl ToString) -> Setting {
    Setting {
        file,
        value: value.to_string(),
        is_optional: false,
    }
}

fn optional(file: &'static str, value: impl ToString) -> Setting {
    Setting {
        is_optional: true,
        ..setting(file, value)
    }
}

/// What is written for a controller, in this order (pure). Memory is memory and swap together: an app that is over its
/// limit is ended, and does not slow the machine down from the swap.
fn settings(controller: Controller, means: Means, limits: &Limits) -> Vec<Setting> {
    let memory = limits.memory.unwrap_or_default();
    let quota = u64::from(limits.cpu.unwrap_or_default()) * PERIOD / 1000;
    let tasks = limits.tasks.unwrap_or_default();
    match (means, controller) {
        (Means::Second, Controller::Memory) => vec![
            setting("memory.max", memory),
            optional("memory.swap.max", 0),
            // Half a process serves nobody: the kernel ends all of it.
            optional("memory.oom.group", 1),
        ],
        (Means::Second, Controller::Cpu) => vec![setting("cpu.max", format!("{quota} {PERIOD}"))],
        (Means::First, Controller::Memory) => vec![
            // Above the other one at any time.
            optional("memory.memsw.limit_in_bytes", -1),
            setting("memory.limit_in_bytes", memory),
            optional("memory.memsw.limit_in_bytes", memory),
        ],
        (Means::First, Controller::Cpu) => vec![
            setting("cpu.cfs_period_us", PERIOD),
            setting("cpu.cfs_quota_us", quota),
        ],
        (Means::Second | Means::First, Controller::Pids) => vec![setting("pids.max", tasks)],
        (Means::None, _) => Vec::new(),
    }
}

/// Writes the limits that `controller` enforces to its group.
pub(super) fn apply(
    group: &Path,
    controller: Controller,
    means: Means,
    limits: &Limits,
) -> io::Result<()> {
    for Setting {
        file,
        value,
        is_optional,
    } in settings(controller, means, limits)
    {
        match fs::write(group.join(file), value) {
            Err(e) if is_optional && e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(io::Error::new(e.kind(), format!("{file}: {e}"))),
            Ok(()) => {}
        }
    }
    Ok(())
}

/// What the limit of a controller is called, without which a process runs.
pub(super) fn lack(controller: Controller, why: String) -> Lack {
    let limited = match controller {
        Controller::Memory => Limited::Memory,
        Controller::Cpu => Limited::Cpu,
        Controller::Pids => Limited::Tasks,
    };
    Lack::Limit(limited, why)
}

/// How many processes of a group the kernel has ended for want of memory, by the file that tells it (pure).
pub(super) fn oom_kills(text: &str) -> u64 {
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count.and_then(|n| n.trim().parse().ok()).unwrap_or(0)
}

/// The file that counts them.
pub(super) fn oom_file(means: Means) -> &'static str {
    match means {
        Means::First => "memory.oom_control",
        Means::Second | Means::None => "memory.events",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        memory: Some(512 << 20),
        cpu: Some(1500),
        tasks: Some(200),
        files: Some(4096),
    };

    fn first(controllers: &[Controller]) -> BTreeMap<Controller, PathBuf> {
        let at = |c: &Controller| (*c, Path::new("/sys/fs/cgroup").join(c.name()));
        controllers.iter().map(at).collect()
    }

    #[test]
    fn each_limit_is_enforced_by_the_newest_that_can() {
        use Controller::{Cpu, Memory, Pids};
        let all = Controller::ALL;
        let by = |second: &[_], old: &[_]| {
            let planned = plan(&LIMITS, second, &first(old));
            planned
                .into_iter()
                .map(|(_, means)| means)
                .collect::<Vec<_>>()
        };
        assert_eq!(by(&all, &[]), [Means::Second; 3]);
        assert_eq!(by(&all, &all), [Means::Second; 3]);
        assert_eq!(by(&[], &all), [Means::First; 3]);
        assert_eq!(
            by(&[Memory, Pids], &[Cpu]),
            [Means::Second, Means::First, Means::Second]
        );
        assert_eq!(by(&[], &[]), [Means::None; 3]);
        let files = Limits {
            files: Some(100),
            ..Limits::default()
        };
        assert_eq!(plan(&files, &all, &first(&[])), []);
    }

    #[test]
    fn cpu_is_a_share_of_each_period() {
        let written = |means| {
            let settings = settings(Controller::Cpu, means, &LIMITS);
            let written = settings.into_iter().map(|s| s.value);
            written.collect::<Vec<_>>()
        };
        assert_eq!(written(Means::Second), ["150000 100000"]);
        assert_eq!(written(Means::First), ["100000", "150000"]);
        let least = Limits {
            cpu: Some(10),
            ..Limits::default()
        };
        let least = settings(Controller::Cpu, Means::Second, &least);
        assert_eq!(least[0].value, "1000 100000");
    }

    #[test]
    fn ends_for_memory_are_counted_in_both_worlds() {
        let events = "low 0\nhigh 0\nmax 31\noom 2\noom_kill 3\noom_group_kill 1\n";
        assert_eq!(oom_kills(events), 3);
        let control = "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n";
        assert_eq!(oom_kills(control), 1);
        assert_eq!(oom_kills("oom_kill_disable 0\n"), 0);
    }
}
