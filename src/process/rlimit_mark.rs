//! [`RlimitMark`]: a mark on all that an instance starts, which no program removes by accident.
//!
//! A process may clear its environment, leave its session and outlive its parents: then nothing of where it came from
//! is left but its resource limits, which every fork(2) and execve(2) hands on. So each instance runs under a limit of
//! its own, of a resource that none of them uses up: the hard RLIMIT_RTTIME, microseconds that a real-time process
//! computes without a pause, is a number of 146,000 years or more that only this instance has. Who is not root cannot
//! raise it again, and `/proc/PID/limits` can be read of any process, unlike its environment.

use std::fs;
use std::io;

use rustix::process::{Resource, Rlimit};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// As it begins in proc_pid_limits(5).
const LINE: &str = "Max realtime timeout";

/// The mark of one instance: its hard RLIMIT_RTTIME, microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct RlimitMark(u64);

impl RlimitMark {
    /// The mark of an instance, the same for every daemon.
    pub(super) fn of(instance: &str) -> Self {
        let hash = Sha256::digest(instance);
        let mut number = [0; 8];
        number.copy_from_slice(&hash[..8]);
        // Bit 62 makes it long, bit 63 would make it "unlimited" for some.
        Self(u64::from_le_bytes(number) >> 2 | 1 << 62)
    }

    /// Marks the calling process and all that it starts. A limit that is set already stays: whoever started the daemon
    /// set it, or another server of which this one is an app.
    pub(super) fn put_on(self) -> io::Result<()> {
        let present = rustix::process::getrlimit(Resource::Rttime);
        if present.maximum.is_some() {
            return Ok(());
        }
        let limit = Rlimit {
            current: Some(self.0),
            maximum: Some(self.0),
        };
        Ok(rustix::process::setrlimit(Resource::Rttime, limit)?)
    }

    /// Whether a process has it.
    pub(super) fn is_on(self, pid: u32) -> bool {
        Self::worn_by(pid) == Some(self)
    }

    /// Whether a process is marked as one of `instance`, or could not be marked because this server has such a limit
    /// itself, which all that it starts inherit.
    pub(super) fn marks(pid: u32, instance: &str) -> bool {
        let worn = Self::worn_by(pid);
        let inherited = Self::worn_by(std::process::id());
        worn.is_some() && (worn == Some(Self::of(instance)) || worn == inherited)
    }

    /// The limit of a process, whether it is a mark or not. `None` where we may not look.
    pub(super) fn worn_by(pid: u32) -> Option<Self> {
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
        hard_limit(&limits).map(Self)
    }
}

/// The second number is the hard limit.
fn hard_limit(limits: &str) -> Option<u64> {
    let numbers = limits.lines().find_map(|line| line.strip_prefix(LINE))?;
    numbers.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instance_has_another_that_is_no_limit_in_practice() {
        let (one, other) = (
            RlimitMark::of("/run/a/web.1-4"),
            RlimitMark::of("/run/b/web.1-4"),
        );
        assert_ne!(one, other);
        assert_eq!(one, RlimitMark::of("/run/a/web.1-4"));
        let years = 365 * 24 * 3600 * 1_000_000;
        assert!(
            [one, other]
                .iter()
                .all(|b| b.0 / years > 146_000 && b.0 < 1 << 63)
        );
    }

    #[test]
    fn the_hard_limit_is_read_as_the_kernel_writes_it() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max realtime priority     0                    0                    \n\
                      Max realtime timeout      77                   4611686018427387905  us        \n";
        assert_eq!(hard_limit(limits), Some((1 << 62) + 1));
        assert_eq!(
            hard_limit("Max realtime timeout      unlimited            unlimited            us\n"),
            None
        );
        assert_eq!(hard_limit(""), None);
        assert!(!RlimitMark::of("/nobody").is_on(std::process::id()));
        assert!(!RlimitMark::of("/nobody").is_on(u32::MAX));
    }
}
