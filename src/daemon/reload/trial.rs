//! Tries the program that is installed: as a child, with the arguments of this server, it reads what a server reads.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use super::program;
use crate::priority;

/// What is added to the server's own arguments.
pub(crate) const FLAG: &str = "--trial";

/// What a server that could serve begins with ([`crate::daemon::try_out`]).
const SAYS: &str = "procserver ";

/// It reads a few thousand files at most.
const LIMIT: Duration = Duration::from_secs(30);

/// Bytes of what it says that are read.
const MOST: u64 = 64 * 1024;

/// What the running server holds, which a trial leaves alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Held {
    /// TCP ports that it listens on.
    pub(crate) ports: Vec<u16>,
    pub(crate) data_dir: PathBuf,
}

/// The variable with [`Held`], for the trial.
const HELD: &str = "PROCSERVER_HELD";

impl Held {
    /// What the server that makes this trial holds. `None`: it does not say so, and has its ports all the same.
    pub(crate) fn told() -> Option<Self> {
        let told = std::env::var(HELD).ok()?;
        serde_json::from_str(&told).ok()
    }
}

/// Returns the program, which could serve.
///
/// # Errors
/// Why it could not, as it says itself.
pub(super) async fn try_out(held: &Held) -> Result<PathBuf, String> {
    let found = tokio::task::spawn_blocking(program::installed).await;
    let program = found.map_err(|e| e.to_string()).flatten()?;
    let named = |why: String| format!("{}: {why}", program.display());
    let tried = tokio::time::timeout(LIMIT, run(&program, held)).await;
    let tried = tried.unwrap_or_else(|_| Err(format!("it says nothing for {LIMIT:?}")));
    let said = tried.map_err(named)?;
    log::info!("reload: {} could serve: {}", program.display(), said.trim());
    Ok(program)
}

async fn run(program: &Path, held: &Held) -> Result<String, String> {
    let held = serde_json::to_string(held).map_err(|e| e.to_string())?;
    let mut child = Command::new(program)
        .args(std::env::args_os().skip(1))
        .arg(FLAG)
        .env(HELD, held)
        // It is no service: nobody may take what it does for this server's.
        .env_remove("NOTIFY_SOCKET")
        .env_remove("WATCHDOG_USEC")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| e.to_string())?;
    priority::put_back(child.id());
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (stdout, stderr) = futures::future::join(read(stdout), read(stderr)).await;
    let status = child.wait().await.map_err(|e| e.to_string())?;
    match status.success() {
        true if stdout.starts_with(SAYS) => Ok(stdout),
        // Many a program takes any argument and ends well.
        true => Err("it is no procserver: it does not say that it could serve".to_owned()),
        false => Err(reason(&stderr).unwrap_or_else(|| format!("it ended with {status}"))),
    }
}

async fn read(from: Option<impl tokio::io::AsyncRead + Unpin>) -> String {
    let mut text = Vec::new();
    if let Some(from) = from {
        // What is missing is not told.
        let _cut = from.take(MOST).read_to_end(&mut text).await;
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// The last error that it told, else its last line.
fn reason(stderr: &str) -> Option<String> {
    let lines = || {
        stderr
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
    };
    let error = lines().rev().find_map(|line| line.strip_prefix("error: "));
    error.or_else(|| lines().next_back()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_what_the_program_calls_an_error() {
        assert_eq!(reason("error: a: b\nUsage: x\n").as_deref(), Some("a: b"));
        assert_eq!(reason("thread panicked\nat x\n").as_deref(), Some("at x"));
        assert_eq!(reason("\n"), None);
    }
}
