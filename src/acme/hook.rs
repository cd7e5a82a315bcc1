//! The program of the settings that sets and removes TXT records.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

/// How long the program may take. It waits until the record can be seen, and name servers take minutes.
const LIMIT: Duration = Duration::from_secs(10 * 60);

/// The most that is told of what it says, in bytes.
const LONGEST: u64 = 500;

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

/// Calls the program and waits until it ends.
pub(super) async fn call(
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
    command.args([verb, name, value]).kill_on_drop(true);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    match tokio::time::timeout(LIMIT, run(&mut command)).await {
        Err(_) => Err(HookError::Slow(program.to_owned())),
        Ok(Err(error)) => Err(HookError::Start {
            program: program.to_owned(),
            error,
        }),
        Ok(Ok((status, _))) if status.success() => Ok(()),
        Ok(Ok((status, said))) => Err(HookError::Failed {
            program: program.to_owned(),
            status,
            said,
        }),
    }
}

/// Runs a program to its end; the beginning of what it says on stderr comes with that.
async fn run(command: &mut Command) -> io::Result<(ExitStatus, String)> {
    let mut child = command.spawn()?;
    let stderr = child.stderr.take();
    let reading = async {
        let mut said = Vec::new();
        if let Some(mut stderr) = stderr {
            (&mut stderr).take(LONGEST).read_to_end(&mut said).await?;
            tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await?;
        }
        Ok::<_, io::Error>(said)
    };
    let (status, said) = tokio::join!(child.wait(), reading);
    let said = String::from_utf8_lossy(&said?).trim().to_owned();
    Ok((status?, said))
}
