//! The signals that the server takes, and those that it inherits ignored or blocked.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::DaemonError;

/// The signals that end the server.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn listen() -> Result<Self, DaemonError> {
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

pub(super) fn hangup() -> Result<Signal, DaemonError> {
    listen(SignalKind::hangup())
}

fn listen(kind: SignalKind) -> Result<Signal, DaemonError> {
    signal(kind).map_err(|e| DaemonError::Start(e.to_string()))
}

/// Unblocks all signals, before there is any other thread: a mask is inherited, and with SIGTERM blocked the server
/// could not be stopped.
pub(super) fn unblock() {
    // It fails only for arguments that cannot be here.
    let _ = nix::sys::signal::SigSet::empty().thread_set_mask();
}

/// Sees to it that no command inherits an ignored signal (nohup(1) ignores SIGHUP, a shell's `&` SIGINT): what is
/// handled is set to its default by execve(2), what is ignored stays so. The handlers do nothing, as before. SIGCHLD is
/// among them: while that is ignored the kernel tells nobody how a child ended (waitpid(2)). So is SIGXFSZ, which would
/// end the server where files may not grow further (`ulimit -f`): write(2) fails then, as on a full disk. Needs the
/// runtime.
pub(super) fn default_for_children() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let child = SignalKind::child().as_raw_value();
    let too_large = nix::sys::signal::Signal::SIGXFSZ as i32;
    for number in ignored(&status).chain([child, too_large]) {
        // SIGKILL and such cannot be handled, but neither be ignored; SIGPIPE the standard library resets.
        let _ = signal(SignalKind::from_raw(number));
    }
}

/// The numbers of the ignored signals: bit n-1 of `SigIgn` in proc_pid_status(5) stands for signal n.
fn ignored(status: &str) -> impl Iterator<Item = i32> + use<> {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    let mask = mask.unwrap_or(0);
    (1..=64).filter(move |number| mask >> (number - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_of_ignored_signals_is_read() {
        let of = |status: &str| ignored(status).collect::<Vec<_>>();
        assert_eq!(
            of("SigBlk:\t0000000000000001\nSigIgn:\t8000000000001003\n"),
            vec![1, 2, 13, 64]
        );
        for nothing in ["SigIgn:\tgarbage\n", ""] {
            assert_eq!(of(nothing), Vec::<i32>::new());
        }
    }
}
