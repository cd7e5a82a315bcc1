//! What the machine itself says: processes in `/proc`, and whether a test has what it needs.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use procserver::app_dirs::AppDirs;
use procserver::document::name::AppName;
use procserver::process::shm::Shm;

/// Whether `pid` runs. A zombie does not: nobody but its parent can make it go away.
pub(crate) fn is_alive(pid: i32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    // The state follows the command, which is in parentheses and may contain any byte (proc(5)).
    let state = stat
        .rsplit(')')
        .next()
        .and_then(|s| s.split_whitespace().next());
    !matches!(state, None | Some("Z" | "X"))
}

/// All live processes that carry `directory` in their environment or arguments: the processes of one test's server.
pub(crate) fn processes_of(directory: &Path) -> Vec<i32> {
    let needle = directory.as_os_str().as_encoded_bytes();
    let names = |file: &str, pid: i32| {
        std::fs::read(format!("/proc/{pid}/{file}"))
            .is_ok_and(|bytes| bytes.windows(needle.len()).any(|w| w == needle))
    };
    std::fs::read_dir("/proc")
        .expect("/proc is mounted")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|&pid: &i32| is_alive(pid) && (names("environ", pid) || names("cmdline", pid)))
        .collect()
}

/// Sends `signal` to `pid`; that it is gone already is fine.
pub(crate) fn send_signal(pid: i32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid), signal);
}

/// Whether the tests run as root.
pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Says that a test is not run and why. Not with `eprintln!`: the test harness would swallow it.
pub(crate) fn skip(test: &str, reason: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {reason}");
}

/// Whether a program is there that only this test needs. In CI everything is.
pub(crate) fn has(program: &str, package: &str, test: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    is_there(&path, program, &format!("apt-get install {package}"), test)
}

/// As [`has`], of a program that Debian does not have.
pub(crate) fn has_by_pip(program: &str, test: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    is_there(&path, program, &format!("pip install {program}"), test)
}

/// As [`has`], where applications look for it.
pub(crate) fn apps_have(program: &str, package: &str, test: &str) -> bool {
    let command = format!("apt-get install {package}");
    is_there("/usr/local/bin:/usr/bin:/bin", program, &command, test)
}

fn is_there(path: impl AsRef<OsStr>, program: &str, command: &str, test: &str) -> bool {
    let is_there = std::env::split_paths(&path).any(|place| place.join(program).exists());
    if !is_there {
        let reason = format!("there is no {program} here: {command}");
        assert!(std::env::var_os("CI").is_none(), "{test}: {reason}");
        skip(test, &reason);
    }
    is_there
}

/// The most memory a process has had, in bytes.
pub(crate) fn peak_memory(pid: i32) -> u64 {
    status_bytes(pid, "VmHWM:")
}

/// The memory that a process has now, in bytes.
pub(crate) fn memory(pid: i32) -> u64 {
    status_bytes(pid, "VmRSS:")
}

/// A line of proc_pid_status(5) that counts kilobytes.
fn status_bytes(pid: i32, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let found = status.lines().find_map(|l| l.strip_prefix(line));
    let kilobytes = found.and_then(|text| text.trim().strip_suffix(" kB"));
    1024 * kilobytes
        .expect("such a line")
        .parse::<u64>()
        .expect("a number")
}

/// A small file system of its own, unmounted when this is dropped.
pub(crate) struct SmallDisk(pub(crate) PathBuf);

impl SmallDisk {
    pub(crate) fn mount(at: PathBuf, mebibytes: u64) -> Option<Self> {
        std::fs::create_dir_all(&at).unwrap();
        let options = format!("size={mebibytes}m,mode=0755");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "none"])
            .arg(&at)
            .output()
            .unwrap();
        mounted.status.success().then_some(Self(at))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).output();
    }
}

/// Removes what the apps of a data directory have had as `/dev/shm`: who removes the directory itself asks no server to.
pub(crate) fn remove_shared_memory(data_dir: &Path) {
    let Ok(apps) = std::fs::read_dir(data_dir.join("apps")) else {
        return;
    };
    let names = apps.filter_map(|app| AppName::parse(app.ok()?.file_name().to_str()?).ok());
    for name in names {
        let dirs = AppDirs::new(data_dir, data_dir, &name);
        if let Some(found) = Shm::of(&dirs).found() {
            let _gone = std::fs::remove_dir_all(found);
        }
    }
}
