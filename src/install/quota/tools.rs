//! The programs that set project ids and quotas: there is no safe interface to FS_IOC_FSSETXATTR and quotactl(2).

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use super::Unenforced;
use super::confined::{self, PATH};
use crate::process::spawn;

/// Each program, and its package.
const TOOLS: [(&str, &str); 2] = [("setquota", "quota"), ("chattr", "e2fsprogs")];

/// Blocks.
///
/// # Errors
/// [`Unenforced::NoTool`].
pub(super) fn look_for() -> Result<(), Unenforced> {
    let is_there = |name: &str| {
        PATH.split(':')
            .any(|place| Path::new(place).join(name).exists())
    };
    let missing = TOOLS.iter().find(|(name, _)| !is_there(name));
    missing.map_or(Ok(()), |(name, package)| {
        Err(Unenforced::NoTool(name, package))
    })
}

/// Gives all that is in `directory`, and what will be made in it, to the project. Blocks, for a few seconds where there are
/// a million files.
///
/// # Errors
/// [`Unenforced::Failed`].
pub(super) fn assign(id: u32, directory: &Path) -> Result<(), Unenforced> {
    // With +P, which is of directories, chattr leaves the files of ext4 as they are. After it nothing is made any more that
    // has another project, so the second time it finds all that have.
    chattr(directory, &[&id.to_string(), "+P"])?;
    chattr(directory, &[&id.to_string()])
}

/// Fails only where it was not started: FIFOs, sockets and links have no project, and what is exchanged before its eyes is
/// looked for afterwards.
fn chattr(directory: &Path, what: &[&str]) -> Result<(), Unenforced> {
    let mut command = Command::new(spawn::executable());
    command.arg(confined::VERB).arg(directory).args(what);
    let said = run("chattr", command)?;
    match said.starts_with(confined::REFUSED) {
        true => Err(Unenforced::Failed("chattr", said)),
        false => Ok(()),
    }
}

/// Lets the project have so many bytes; `None`: as many as there are. Blocks.
///
/// # Errors
/// [`Unenforced::Failed`].
pub(super) fn limit(id: u32, bytes: Option<u64>, point: &Path) -> Result<(), Unenforced> {
    let mut command = Command::new("setquota");
    command.arg("-P").args(limits(id, bytes)).arg(point);
    let said = run("setquota", command)?;
    match said.is_empty() {
        true => Ok(()),
        false => Err(Unenforced::Failed("setquota", said)),
    }
}

/// Who, soft and hard limit of space in KiB, soft and hard limit of files; 0 is none.
fn limits(id: u32, bytes: Option<u64>) -> [String; 5] {
    let kibibytes = bytes.map_or(0, |bytes| bytes.div_ceil(1024).max(1));
    [u64::from(id), 0, kibibytes, 0, 0].map(|number| number.to_string())
}

/// Runs it to its end; empty where it succeeded, else what it said.
fn run(program: &'static str, mut command: Command) -> Result<String, Unenforced> {
    let ended = command
        .env_clear()
        .env("PATH", PATH)
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .map_err(|e: io::Error| Unenforced::Failed(program, e.to_string()))?;
    if ended.status.success() {
        return Ok(String::new());
    }
    const LONGEST: usize = 300;
    let said = String::from_utf8_lossy(&ended.stderr);
    let said: String = said
        .trim()
        .replace('\n', "; ")
        .chars()
        .take(LONGEST)
        .collect();
    Ok(match said.is_empty() {
        true => ended.status.to_string(),
        false => said,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_in_kibibytes_and_none_is_zero() {
        assert_eq!(limits(7, Some(2049)), ["7", "0", "3", "0", "0"]);
        assert_eq!(limits(7, Some(0)), ["7", "0", "1", "0", "0"]);
        assert_eq!(limits(7, None), ["7", "0", "0", "0", "0"]);
    }
}
