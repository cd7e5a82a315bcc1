//! Sentences about failures of a deploy: what failed, where, and what to do next.

use std::io;
use std::time::Duration;

use rustix::process::Signal;

use super::install_log::elapsed;
use super::record::{Failure, Step};
use crate::document::limits::INSTALL;
use crate::document::size;
use crate::exit_status::ExitStatus;

impl Failure {
    /// A failure of `step` without a command.
    #[must_use]
    pub fn new(step: Step, reason: impl Into<String>) -> Self {
        Self {
            step,
            reason: reason.into(),
            exit_code: None,
            signal: None,
            log_tail: Vec::new(),
            hint: None,
        }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With the last lines of output.
    #[must_use]
    pub fn tail(mut self, tail: Vec<String>) -> Self {
        self.log_tail = tail;
        self
    }

    /// Puts the application's name in place of `NAME` in the hint.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        let named = |hint: String, verb| {
            let verb = format!("procserver {verb} ");
            hint.replace(&format!("{verb}NAME"), &format!("{verb}{name}"))
        };
        let hint = self
            .hint
            .map(|hint| hint.replace("/git/NAME.git", &format!("/git/{name}.git")));
        self.hint = hint.map(|hint| ["logs", "key", "set"].into_iter().fold(hint, named));
        self
    }

    /// With the way a command ended.
    #[must_use]
    pub fn status(mut self, status: ExitStatus) -> Self {
        match status {
            ExitStatus::Code(code) => self.exit_code = Some(code),
            ExitStatus::Signal(signal) => self.signal = Some(signal),
            ExitStatus::Unknown => {}
        }
        self
    }
}

/// How the reason begins where the disk is full.
pub(super) const FULL: &str = "the disk is full: ";

/// Hint for a full disk.
const DISK_HINT: &str =
    "make room (df -h shows where), or lower `keep_releases`, then deploy again";

/// `command` did not exit with 0.
#[must_use]
pub fn exited(step: Step, command: &str, status: ExitStatus, tail: Vec<String>) -> Failure {
    let command = shortened(command);
    if disk_is_full(&tail) {
        return Failure::new(step, format!("{FULL}`{command}` ended with {status}"))
            .hint(DISK_HINT)
            .status(status)
            .tail(tail);
    }
    let signal = match status {
        ExitStatus::Signal(signal) => Some(signal),
        _ => None,
    };
    if command.starts_with("git")
        && let Some(limit) = limit(signal, &tail)
    {
        return Failure::new(
            step,
            format!("the repository {limit}: `{command}` ended with {status}"),
        )
        .hint("look for huge files in it, or very many; large files belong into Git LFS")
        .status(status)
        .tail(tail);
    }
    Failure::new(step, format!("`{command}` ended with {status}"))
        .hint(hint(status, &tail))
        .status(status)
        .tail(tail)
}

/// `failed` is of a command that the kernel ended, or a part of it, because memory ran out: its own `limit` of bytes, or
/// the machine's.
#[must_use]
pub fn out_of_memory(failed: Failure, command: &str, limit: Option<u64>) -> Failure {
    let command = shortened(command);
    let Some(limit) = limit else {
        let reason = format!("the machine ran out of memory, and the kernel ended `{command}`");
        return Failure { reason, ..failed }
            .hint("run fewer processes, or give the machine more memory or swap");
    };
    let name = match failed.step {
        Step::Release => "release",
        _ => INSTALL,
    };
    let reason = format!(
        "out of memory: the kernel ended `{command}`, or a part of it, at its limit of {}",
        size::shown(limit)
    );
    Failure { reason, ..failed }.hint(format!(
        "give it more: procserver set NAME limits.{name}.memory={}",
        size::shown(limit.saturating_mul(2))
    ))
}

/// `what` did not end within `limit`.
#[must_use]
pub fn timed_out(step: Step, what: &str, limit: Duration, tail: Vec<String>) -> Failure {
    let reason = format!(
        "the step took more than {} and was ended during `{}`",
        elapsed(limit),
        shortened(what)
    );
    Failure::new(step, reason)
        .hint(format!(
            "if it needs longer, raise `step_timeouts.{}` in procserver.toml",
            match step {
                Step::Checkout => "fetch",
                other => other.name(),
            }
        ))
        .tail(tail)
}

/// A program of the machine cannot be started.
#[must_use]
pub fn not_started(step: Step, program: &str, error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::NotFound {
        return Failure::new(step, format!("{program} is not installed on this machine"))
            .hint(format!("install it, e.g. apt-get install {program}"));
    }
    Failure::new(step, format!("{program} could not be started: {error}"))
}

/// `what` failed with an error of the operating system.
#[must_use]
pub fn io(step: Step, what: &str, error: &io::Error) -> Failure {
    if matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    ) {
        return Failure::new(step, format!("{FULL}{what}: {error}")).hint(DISK_HINT);
    }
    Failure::new(step, format!("{what}: {error}"))
}

/// Whether a command's last lines blame the disk.
#[must_use]
pub fn disk_is_full(tail: &[String]) -> bool {
    const SIGNS: [&str; 3] = ["No space left on device", "ENOSPC", "Disk quota exceeded"];
    tail.iter()
        .any(|line| SIGNS.iter().any(|sign| line.contains(sign)))
}

/// The limit that git has reached ([`super::git_user`]).
#[must_use]
pub fn limit(signal: Option<i32>, tail: &[String]) -> Option<&'static str> {
    const MEMORY: [&str; 3] = ["ut of memory", "annot allocate memory", "malloc failed"];
    let says = |sign: &str| tail.iter().any(|line| line.contains(sign));
    if MEMORY.into_iter().any(says) {
        return Some("needs more than the 1 GiB of memory that git may have");
    }
    let is_large = signal == Some(Signal::XFSZ.as_raw()) || says("File too large");
    is_large.then_some("has more in one file than the 8 GiB that git may write")
}

fn hint(status: ExitStatus, tail: &[String]) -> String {
    let refused = tail.iter().map(|line| line.to_ascii_lowercase());
    let is_refused = refused
        .into_iter()
        .any(|line| line.contains("read-only file system") || line.contains("permission denied"));
    let text = match status {
        ExitStatus::Code(127) => "command not found: add its package to `packages`",
        ExitStatus::Code(126) => "not executable: run chmod +x on it and commit that",
        ExitStatus::Code(137) | ExitStatus::Signal(9) => {
            "it was killed, perhaps because memory ran out (dmesg shows that)"
        }
        _ if is_refused => {
            "it runs as the app's user and may write only to its checkout, $HOME, $TMPDIR and $STORAGE_DIR"
        }
        _ if tail.is_empty() => {
            "it printed nothing: let it tell what it does (sh -x, --verbose), then redeploy"
        }
        _ => "its last lines say why; all it printed is in the log: procserver logs NAME --install",
    };
    text.to_owned()
}

/// Commands can be long scripts.
fn shortened(command: &str) -> String {
    const WIDTH: usize = 120;
    let line = command.lines().next().unwrap_or_default();
    let mut text: String = line.chars().take(WIDTH).collect();
    if text.len() < command.len() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_command_names_the_cure() {
        let failure = exited(
            Step::Install,
            "bundle install",
            ExitStatus::Code(127),
            vec!["x".into()],
        );
        assert_eq!(failure.reason, "`bundle install` ended with exit code 127");
        assert_eq!(failure.exit_code, Some(127));
        assert_eq!(failure.log_tail, ["x"]);
        assert!(failure.hint.is_some_and(|h| h.contains("`packages`")));
    }

    #[test]
    fn the_log_is_pointed_to_only_where_something_is_in_it() {
        let hint = |tail: &[&str]| {
            let tail = tail.iter().map(ToString::to_string).collect();
            let failure = exited(Step::Install, "make", ExitStatus::Code(2), tail);
            failure.hint.unwrap()
        };
        assert!(hint(&["x"]).contains("procserver logs NAME --install"));
        assert!(hint(&[]).starts_with("it printed nothing:"));
    }

    #[test]
    fn a_signal_is_told_as_one() {
        let failure = exited(Step::Install, "make", ExitStatus::Signal(9), vec![]);
        assert_eq!((failure.exit_code, failure.signal), (None, Some(9)));
    }

    #[test]
    fn a_full_disk_is_said_to_be_full() {
        let tail = vec!["cp: error writing 'x': No space left on device".to_owned()];
        let failure = exited(Step::Checkout, "git read-tree", ExitStatus::Code(128), tail);
        assert!(failure.reason.starts_with("the disk is full"));
        let error = io::Error::from_raw_os_error(nix::errno::Errno::ENOSPC as i32);
        assert!(
            io(Step::Install, "x", &error)
                .reason
                .starts_with("the disk is full")
        );
    }

    #[test]
    fn long_commands_are_shortened() {
        let failure = exited(Step::Install, &"ä".repeat(500), ExitStatus::Code(1), vec![]);
        assert!(failure.reason.chars().count() < 160);
    }
}
