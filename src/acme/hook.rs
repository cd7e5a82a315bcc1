//! The program of the settings that sets and removes TXT records.

use std::cell::RefCell;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt as _;
use tokio::process::{ChildStderr, Command};

/// How long the program may take. It waits until the record can be seen, and name servers take minutes.
const LIMIT: Duration = Duration::from_secs(10 * 60);

/// The most that is told of what it says, in bytes.
const LONGEST: usize = 500;

/// How long what it said is waited for once it has ended: a process that it has left running may hold the pipe.
const REST: Duration = Duration::from_secs(1);

/// The variables of the server's environment that it gets, and those whose names begin with [`OWN`]: the others are not
/// its business.
const VARIABLES: [&str; 12] = [
    "PATH",
    "HOME",
    "LANG",
    "TZ",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

/// How the names of variables begin that are for it.
const OWN: &str = "DNS_HOOK_";

/// What is asked of the program.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ask {
    Present,
    Cleanup,
}

/// Why a record is not there.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    #[error("{program} (dns_hook) cannot be started: {error}")]
    Start { program: PathBuf, error: io::Error },
    #[error("{program} (dns_hook) failed ({status}): {said}")]
    Failed {
        program: PathBuf,
        status: ExitStatus,
        said: String,
    },
    #[error("{0} (dns_hook) was killed: it took more than ten minutes")]
    Slow(PathBuf),
}

/// Calls the program and waits until it ends. What it leaves running is not waited for.
pub(super) async fn call(
    program: &Path,
    ask: Ask,
    name: &str,
    value: &str,
) -> Result<(), HookError> {
    call_within(LIMIT, program, ask, name, value).await
}

async fn call_within(
    limit: Duration,
    program: &Path,
    ask: Ask,
    name: &str,
    value: &str,
) -> Result<(), HookError> {
    let verb = match ask {
        Ask::Present => "present",
        Ask::Cleanup => "cleanup",
    };
    let mut command = Command::new(program);
    command
        .args([verb, name, value])
        .env_clear()
        .envs(environment(std::env::vars_os()))
        .current_dir("/")
        .process_group(0)
        .kill_on_drop(true)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let start = |error| HookError::Start {
        program: program.to_owned(),
        error,
    };
    let mut child = command.spawn().map_err(start)?;
    let group = child.id().and_then(|pid| i32::try_from(pid).ok());
    let said = RefCell::new(Vec::new());
    let reading = read(child.stderr.take(), &said);
    let ended = async {
        // It must not wait for a reader, and the reader not for it.
        tokio::pin!(reading);
        let mut is_read = false;
        let status = loop {
            tokio::select! {
                status = child.wait() => break status,
                () = &mut reading, if !is_read => is_read = true,
            }
        };
        if !is_read {
            // What came until then is told.
            let _held = tokio::time::timeout(REST, &mut reading).await;
        }
        status
    };
    let Ok(status) = tokio::time::timeout(limit, ended).await else {
        // It is not reaped, so the group is still its own.
        if let Some(group) = group.and_then(Pid::from_raw) {
            // ESRCH: it has just ended.
            let _ = kill_process_group(group, Signal::KILL);
        }
        return Err(HookError::Slow(program.to_owned()));
    };
    let status = status.map_err(start)?;
    match status.success() {
        true => Ok(()),
        false => Err(HookError::Failed {
            program: program.to_owned(),
            status,
            said: shown(&said.borrow()),
        }),
    }
}

/// The variables of `all` that it gets.
fn environment(
    all: impl Iterator<Item = (OsString, OsString)>,
) -> impl Iterator<Item = (OsString, OsString)> {
    all.filter(|(name, _)| {
        let name = name.to_str().unwrap_or_default();
        VARIABLES.contains(&name) || name.starts_with(OWN)
    })
}

/// Reads to the end, and keeps the beginning.
async fn read(stderr: Option<ChildStderr>, said: &RefCell<Vec<u8>>) {
    let Some(mut stderr) = stderr else { return };
    let mut piece = [0; 4096];
    // An error is as good as the end.
    while let Ok(length) = stderr.read(&mut piece).await {
        if length == 0 {
            break;
        }
        let mut said = said.borrow_mut();
        let room = LONGEST - said.len();
        said.extend_from_slice(&piece[..length.min(room)]);
    }
}

/// As one line without control characters, for a log and a terminal.
fn shown(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let plain = text.replace(|c: char| c.is_control(), " ");
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// A hook that does this.
    fn hook(home: &tempfile::TempDir, script: &str) -> PathBuf {
        let path = home.path().join("hook");
        // By another process: a child that a test beside this one forks meanwhile would inherit the descriptor, and a
        // script that is open for writing cannot be executed (ETXTBSY).
        let written = std::process::Command::new("sh")
            .args([
                "-c",
                r#"printf '#!/bin/sh\n%s\n' "$1" > "$2" && chmod 755 "$2""#,
            ])
            .args(["sh".as_ref(), script.as_ref(), path.as_os_str()])
            .status();
        assert!(written.unwrap().success());
        path
    }

    async fn called(hook: &Path, limit: Duration) -> Result<(), HookError> {
        call_within(limit, hook, Ask::Present, "_acme-challenge.a.test", "v").await
    }

    #[tokio::test]
    async fn what_it_leaves_running_is_not_waited_for() {
        let home = tempfile::tempdir().unwrap();
        let pid = home.path().join("pid");
        let path = hook(&home, &format!("sleep 60 & echo $! > {}", pid.display()));
        let begun = Instant::now();
        called(&path, LIMIT).await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(30));
        let left = std::fs::read_to_string(pid)
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        let left = Pid::from_raw(left).unwrap();
        rustix::process::kill_process(left, Signal::KILL).unwrap();
    }

    #[tokio::test]
    async fn what_takes_too_long_is_killed_with_all_that_it_started() {
        let home = tempfile::tempdir().unwrap();
        let pid = home.path().join("pid");
        let path = hook(
            &home,
            &format!("sleep 60 & echo $! > {}; wait", pid.display()),
        );
        let slow = called(&path, Duration::from_secs(2)).await;
        assert!(matches!(slow, Err(HookError::Slow(_))), "{slow:?}");
        let left: u32 = std::fs::read_to_string(pid)
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        let is_gone = || {
            let stat = std::fs::read_to_string(format!("/proc/{left}/stat"));
            stat.map_or(true, |stat| stat.contains(") Z "))
        };
        let until = Instant::now() + Duration::from_secs(10);
        while !is_gone() {
            assert!(Instant::now() < until, "{left} runs");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn what_it_says_is_one_short_line_without_control_characters() {
        let home = tempfile::tempdir().unwrap();
        let path = hook(
            &home,
            r"printf 'no\033[2J\r\nzone\t\302\205x\n' >&2; exit 3",
        );
        let failed = called(&path, LIMIT).await.unwrap_err();
        let HookError::Failed { said, .. } = &failed else {
            panic!("{failed:?}");
        };
        assert_eq!(said, "no [2J zone x");
        let path = hook(&home, "yes | head -c 1000000 >&2; exit 3");
        let failed = called(&path, LIMIT).await.unwrap_err().to_string();
        assert!(failed.len() < 700, "{}", failed.len());
    }

    #[test]
    fn it_gets_what_is_its_business_of_the_environment() {
        let all = ["PATH", "HOME", "PROCSERVER_TOKEN", "DNS_HOOK_KEY", "SECRET"];
        let all = all.map(|name| (OsString::from(name), OsString::from("x")));
        let given: Vec<_> = environment(all.into_iter()).map(|(name, _)| name).collect();
        assert_eq!(given, ["PATH", "HOME", "DNS_HOOK_KEY"]);
    }
}
