//! Running the program under test to its end, bounded by a deadline.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::wait::within;

/// How long a command may take: a verb that deploys waits for the deployment.
const LIMIT: Duration = Duration::from_secs(60);

/// The program under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_procserver");

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Finished {
    /// Its exit code; `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The program under test, without what the developer's own environment would tell it.
pub(crate) fn procserver() -> Command {
    launched(&[])
}

/// As [`procserver`], started by the words of a launcher that becomes it.
pub(crate) fn launched(launcher: &[String]) -> Command {
    launched_from(Path::new(BINARY), launcher)
}

/// As [`launched`], of a copy of the program.
pub(crate) fn launched_from(binary: &Path, launcher: &[String]) -> Command {
    let mut command = match launcher.split_first() {
        Some((first, more)) => {
            let mut command = Command::new(first);
            command.args(more).arg(binary);
            command
        }
        None => Command::new(binary),
    };
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"PROCSERVER_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// Runs `command` to its end. Its output goes to files: unlike a pipe, a file is never full and never waited for.
#[track_caller]
pub(crate) fn finish(command: &mut Command) -> Finished {
    let directory = tempfile::tempdir().unwrap();
    let [out, err] = ["stdout", "stderr"].map(|name| directory.path().join(name));
    let mut child = command
        .stdout(File::create(&out).unwrap())
        .stderr(File::create(&err).unwrap())
        .spawn()
        .unwrap();
    let ended = within(LIMIT, || child.try_wait().unwrap());
    if ended.is_none() {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let read = |path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
    let (stdout, stderr) = (read(&out), read(&err));
    let Some(status) = ended else {
        panic!("not ended within {LIMIT:?}: {command:?}\n{stdout}\n{stderr}");
    };
    Finished {
        code: status.code(),
        stdout,
        stderr,
    }
}

impl Finished {
    /// What it printed, if it exited with 0; else fails, showing everything.
    #[track_caller]
    pub(crate) fn success(self) -> String {
        assert_eq!(self.code, Some(0), "{}\n{}", self.stdout, self.stderr);
        self.stdout
    }
}
