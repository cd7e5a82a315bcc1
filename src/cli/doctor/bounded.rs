//! What may hang, for a few seconds at most: commands and look-ups.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// How long anything may take.
pub const LIMIT: Duration = Duration::from_secs(3);

/// The most that is read of a command, in bytes.
const LARGEST: u64 = 64 << 10;

/// What `work` returns; `None` if it takes longer than [`LIMIT`]: then its thread is left behind.
pub fn work<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, result) = mpsc::channel();
    std::thread::spawn(move || {
        // Nobody waits any more if it took too long.
        let _late = done.send(work());
    });
    result.recv_timeout(LIMIT).ok()
}

/// What a command prints if it ends well, without blanks around it; `None` where it is not there, fails or hangs.
#[must_use]
pub fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let mut child = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let stdout = child.stdout.take()?;
    let read = work(move || {
        let mut text = String::new();
        stdout.take(LARGEST).read_to_string(&mut text).map(|_| text)
    });
    if read.is_none() {
        // It hangs, and may have ended just now.
        let _ended = child.kill();
    }
    let has_succeeded = child.wait().is_ok_and(|status| status.success());
    let text = read?.ok().filter(|_| has_succeeded)?;
    Some(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_there_or_not_and_never_hangs() {
        assert_eq!(output("echo", &["hello"]).as_deref(), Some("hello"));
        assert_eq!(output("false", &[]), None);
        assert_eq!(output("/nowhere/program", &[]), None);
        assert_eq!(output("sleep", &["60"]), None);
    }
}
