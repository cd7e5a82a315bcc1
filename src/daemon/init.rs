//! The first process of a container, or of any pid namespace.
//!
//! The kernel makes it the parent of whatever loses its own (pid_namespaces(7)), and it must wait for each of them, or
//! they stay as zombies for ever. The server itself must not wait for all: it would take the exit status of its own
//! children from the code that awaits it. So this process starts the server as a child, hands signals on to it, waits
//! for all that end, and ends with the server.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use nix::errno::Errno;
use nix::sys::signal::SigSet;
use nix::sys::wait::{WaitStatus, waitpid};
use rustix::process::{Pid, PidfdFlags, Signal};

use crate::process::spawn;

/// Runs the command line of this process in a child, if this is the first process, and says how that ended. Call it
/// before there is any other thread.
///
/// # Errors
/// When the child cannot be started.
pub fn run() -> std::io::Result<Option<ExitCode>> {
    if std::process::id() != 1 {
        return Ok(None);
    }
    // Inherited by the thread, so that all come to that; a child begins without (`std::process`).
    SigSet::all().thread_block()?;
    let mut words = std::env::args_os();
    let mut server = Command::new(spawn::executable());
    server.arg0(words.next().unwrap_or_default()).args(words);
    let server = server.spawn()?.id().cast_signed();
    let pidfd =
        Pid::from_raw(server).map(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()));
    if let Some(pidfd) = pidfd.transpose()? {
        std::thread::spawn(move || hand_on_signals(&pidfd));
    }
    Ok(Some(wait_for(server)))
}

fn hand_on_signals(server: &OwnedFd) {
    loop {
        let signal = SigSet::all().wait().ok();
        let signal = signal.and_then(|signal| Signal::from_named_raw(signal as i32));
        if let Some(signal) = signal.filter(|signal| *signal != Signal::CHILD) {
            // ESRCH: it has ended, and so does this process.
            let _ = rustix::process::pidfd_send_signal(server.as_fd(), signal);
        }
    }
}

/// Waits for all that end until the server does.
fn wait_for(server: i32) -> ExitCode {
    loop {
        match waitpid(None, None) {
            Ok(WaitStatus::Exited(pid, code)) if pid.as_raw() == server => {
                return u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from);
            }
            // As a shell says it.
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid.as_raw() == server => {
                return ExitCode::from(128 + signal as u8);
            }
            Ok(_) | Err(Errno::EINTR) => {}
            // Nobody is left, where whoever started this ignored SIGCHLD.
            Err(_) => return ExitCode::FAILURE,
        }
    }
}
