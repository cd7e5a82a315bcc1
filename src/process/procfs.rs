//! What `/proc` says of processes: see proc(5). Every process may end at any moment, so nothing here is an error.
//!
//! Read by hand, not by the crate `procfs`: a stop reads `stat` of every process of the machine, and the crate takes
//! 1.1 to 1.2 times as long for that, 1.6 times for `environ` and `limits`, and more than twice for `status`.

use std::fs;
use std::io::Read;

use crate::exit_status::ExitStatus;

/// Upper bound of what is read of one environment. It starts with what execve(2) was given.
const ENVIRON_LIMIT: u64 = 2 * 1024 * 1024;

/// Fields of `/proc/PID/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    /// One letter, e.g. `Z` for a zombie.
    pub(super) state: char,
    /// Field 4.
    pub(super) parent: u32,
    /// Field 5.
    pub(super) group: u32,
    /// Field 6.
    pub(super) session: u32,
    /// Fields 14 and 15: user and system time, in clock ticks.
    pub(super) ticks: u64,
    /// Field 22: start, in clock ticks since boot.
    pub(super) start_time: u64,
    /// Field 24: resident set, in pages.
    pub(super) resident_pages: u64,
}

impl Stat {
    /// Reads the one line of the file.
    pub(super) fn parse(line: &str) -> Option<Self> {
        // Field 2, the name in parentheses, is any text of the process' choice: the last `)` ends it.
        let (_, rest) = line.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            state: fields.first()?.chars().next()?,
            parent: u32::try_from(field(4)?).ok()?,
            group: u32::try_from(field(5)?).ok()?,
            session: u32::try_from(field(6)?).ok()?,
            ticks: field(14)?.saturating_add(field(15)?),
            start_time: field(22)?,
            resident_pages: field(24)?,
        })
    }

    /// Whether it can still do anything: a zombie only waits for its parent.
    pub(super) fn is_alive(&self) -> bool {
        !matches!(self.state, 'Z' | 'X')
    }
}

/// The state of one process; `None` when there is none.
pub(super) fn stat(pid: u32) -> Option<Stat> {
    let line = fs::read(format!("/proc/{pid}/stat")).ok()?;
    Stat::parse(&String::from_utf8_lossy(&line))
}

/// The line `Uid:` of proc_pid_status(5). The name of the process is a line of its own before it, with newlines
/// escaped.
fn users(status: &str) -> Vec<u32> {
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    let ids = ids.unwrap_or_default().split_ascii_whitespace();
    ids.filter_map(|id| id.parse().ok()).collect()
}

fn single_user(status: &str) -> Option<u32> {
    let ids = users(status);
    let first = *ids.first()?;
    ids.iter().all(|id| *id == first).then_some(first)
}

/// Whether one of the user ids is this one and none is root's, who may be acting for the user just now.
fn is_partly_of(status: &str, uid: u32) -> bool {
    let ids = users(status);
    ids.contains(&uid) && !ids.contains(&0)
}

/// Clock ticks since boot, as [`Stat::start_time`] counts them; 0 when that cannot be read.
pub(super) fn now() -> u64 {
    let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
    // Hundredths of a second, which are what USER_HZ is on every architecture that Debian has.
    let digits = uptime
        .split(' ')
        .next()
        .unwrap_or_default()
        .replace('.', "");
    digits.parse().unwrap_or_default()
}

/// Whether a process is a shell that was given a command, as [`super::exec`] starts it.
pub(super) fn is_shell(pid: u32) -> bool {
    let mut start = [0; 13];
    let read = fs::File::open(format!("/proc/{pid}/cmdline"))
        .and_then(|file| file.take(13).read(&mut start))
        .unwrap_or_default();
    let line = &start[..read];
    [&b"/bin/sh\0-c\0"[..], b"/bin/bash\0-c\0"]
        .iter()
        .any(|shell| line.starts_with(shell))
}

/// Whether a process catches, ignores or blocks a signal. True where we may not look.
pub(super) fn minds(pid: u32, signal: i32) -> bool {
    let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else {
        return true;
    };
    minds_by(&status, signal)
}

/// See signal masks in proc_pid_status(5).
fn minds_by(status: &str, signal: i32) -> bool {
    let has = |line: &str| {
        let mask = ["SigBlk:", "SigIgn:", "SigCgt:"]
            .iter()
            .find_map(|name| line.strip_prefix(name))?;
        let mask = u64::from_str_radix(mask.trim(), 16).ok()?;
        let bit = u32::try_from(signal - 1).ok()?;
        Some(mask.checked_shr(bit).unwrap_or_default() & 1 == 1)
    };
    status.lines().filter_map(has).any(|has| has)
}

/// How a zombie ended that is a child of `parent`: field 52 of its stat. `None` where we may not look.
pub(super) fn exit_status(zombie: u32, parent: u32) -> Option<ExitStatus> {
    // Without the right to know, it reads as 0. To open the environment of its parent takes the same right.
    fs::File::open(format!("/proc/{parent}/environ")).ok()?;
    let line = fs::read(format!("/proc/{zombie}/stat")).ok()?;
    let line = String::from_utf8_lossy(&line).into_owned();
    let (_, rest) = line.rsplit_once(')')?;
    let status: i32 = rest.split_ascii_whitespace().nth(52 - 3)?.parse().ok()?;
    Some(match status & 0x7f {
        0 => ExitStatus::Code(status >> 8 & 0xff),
        signal => ExitStatus::Signal(signal),
    })
}

/// All process ids of this moment.
pub(super) fn pids() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Whether the environment of `pid` holds `variable` (`NAME=value`). False where we may not look.
pub(super) fn has_variable(pid: u32, variable: &str) -> bool {
    environ(pid)
        .split(|byte| *byte == 0)
        .any(|entry| entry == variable.as_bytes())
}

/// What the environment of `pid` has for `name`. `None` where we may not look.
pub(super) fn variable(pid: u32, name: &str) -> Option<String> {
    environ(pid).split(|byte| *byte == 0).find_map(|entry| {
        let value = entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(String::from_utf8_lossy(value).into_owned())
    })
}

fn environ(pid: u32) -> Vec<u8> {
    let mut environ = Vec::new();
    let read = fs::File::open(format!("/proc/{pid}/environ"))
        .and_then(|file| file.take(ENVIRON_LIMIT).read_to_end(&mut environ));
    if read.is_err() {
        environ.clear();
    }
    environ
}

/// The inodes of the sockets that a process holds: its descriptors are links to `socket:[INODE]`. None where we may not
/// look.
pub(super) fn sockets(pid: u32) -> impl Iterator<Item = u64> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten();
    entries.filter_map(|entry| {
        let link = fs::read_link(entry.path()).ok()?;
        let text = link.to_str()?.strip_prefix("socket:[")?;
        text.strip_suffix(']')?.parse().ok()
    })
}

/// The user that a process runs as. `None` where its real, effective, saved and file system user ids are not one, as of
/// a program with the set-user-ID bit that somebody runs.
pub(super) fn uid(pid: u32) -> Option<u32> {
    single_user(&status(pid)?)
}

/// Whether a process runs as this user, or can become it, and is not root's.
pub(super) fn may_act_as(pid: u32, uid: u32) -> bool {
    status(pid).is_some_and(|status| is_partly_of(&status, uid))
}

fn status(pid: u32) -> Option<String> {
    let status = fs::read(format!("/proc/{pid}/status")).ok()?;
    Some(String::from_utf8_lossy(&status).into_owned())
}

/// The user of a process, or ours where it is gone: nothing else of it will be found then.
pub(super) fn uid_or_own(pid: u32) -> u32 {
    uid(pid).unwrap_or_else(|| nix::unistd::geteuid().as_raw())
}

/// The id of this boot: with it, a pid and its start time are unique for ever.
pub(crate) fn boot_id() -> std::io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?
        .trim()
        .to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_does_not_shift_the_fields() {
        let line = "77 (a) R 1 (b) S 1 77 70 0 -1 4194560 1 2 3 4 50 7 0 0 20 0 1 0 9876 1000 33 18446744073709551615";
        let stat = Stat::parse(line).expect("parses");
        assert_eq!(
            stat,
            Stat {
                state: 'S',
                parent: 1,
                group: 77,
                session: 70,
                ticks: 57,
                start_time: 9876,
                resident_pages: 33,
            }
        );
    }

    #[test]
    fn who_is_of_two_users_is_of_none() {
        let status = |uids: &str| {
            format!("Name:\ta\\nUid:\t7 7 7 7\nState:\tS\nUid:\t{uids}\nGid:\t1\t1\t1\t1\n")
        };
        assert_eq!(single_user(&status("33\t33\t33\t33")), Some(33));
        assert_eq!(single_user(&status("33\t0\t0\t0")), None);
        assert_eq!(single_user("Name:\tx\n"), None);
        // But it is partly of both, unless one is root.
        for uids in ["33\t33\t33\t33", "9\t9\t33\t9", "33\t9\t9\t9"] {
            assert!(is_partly_of(&status(uids), 33), "{uids}");
        }
        for uids in ["9\t9\t9\t9", "0\t33\t0\t33", "333\t3\t3\t3"] {
            assert!(!is_partly_of(&status(uids), 33), "{uids}");
        }
    }

    #[test]
    fn a_truncated_line_is_nothing() {
        assert_eq!(Stat::parse("77 (sh) S 1 77"), None);
        assert_eq!(Stat::parse(""), None);
    }

    #[test]
    fn a_shell_without_a_trap_minds_no_signal() {
        let status = "Name:\tsh\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001000\nSigCgt:\t0000000000010002\n";
        assert!(!minds_by(status, 15));
        assert!(minds_by(status, 13) && minds_by(status, 2) && minds_by(status, 17));
        assert!(minds(u32::MAX, 15));
    }

    #[test]
    fn now_is_after_the_start_of_this_process() {
        let own = stat(std::process::id()).expect("stat");
        assert!(now() >= own.start_time);
    }

    #[test]
    fn this_process_is_found() {
        let own = std::process::id();
        assert!(pids().any(|pid| pid == own));
        assert!(stat(own).is_some_and(|stat| stat.is_alive() && stat.start_time > 0));
        assert_eq!(stat(u32::MAX), None);
    }
}
