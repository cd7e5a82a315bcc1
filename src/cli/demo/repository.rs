//! The demo's app: a git repository made with the real git.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Output, Stdio};

use anyhow::{Context, bail};
use tokio::process::Command;

const PROCFILE: &str = "web: \"$DEMO_BIN\" demo-web
worker: n=0; while :; do n=$((n+1)); echo \"tick $n\"; sleep 10; done
";

/// Makes the repository in `scratch` and says where it is.
///
/// # Errors
/// A git that is missing or fails.
pub async fn make(scratch: &Path) -> anyhow::Result<String> {
    let directory = scratch.join("repo");
    fs::create_dir(&directory)?;
    fs::write(directory.join("Procfile"), PROCFILE)?;
    git(
        &directory,
        &["-c", "init.defaultBranch=master", "init", "--quiet"],
    )
    .await?;
    git(&directory, &["add", "--all"]).await?;
    let author = [
        "-c",
        "user.name=procserver demo",
        "-c",
        "user.email=demo@localhost",
    ];
    let commit = [
        "-c",
        "commit.gpgSign=false",
        "commit",
        "--quiet",
        "--message",
        "A Procfile",
    ];
    git(&directory, &[&author[..], &commit[..]].concat()).await?;
    directory.into_os_string().into_string().map_err(|path| {
        anyhow::anyhow!(
            "{} is not UTF-8: set TMPDIR to another directory",
            path.display()
        )
    })
}

/// Runs git without anyone's own configuration: hooks, templates or signing of theirs have no place here.
#[expect(
    clippy::disallowed_methods,
    reason = "git on a repository of the demo's own making prints little"
)]
async fn git(directory: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new("git");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("GIT_") {
            command.env_remove(name);
        }
    }
    let run = command
        .args(arguments)
        .current_dir(directory)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await;
    match run {
        Ok(Output { status, .. }) if status.success() => Ok(()),
        Ok(Output { status, stderr, .. }) => {
            bail!(
                "git {arguments:?}: {status}: {}",
                String::from_utf8_lossy(&stderr).trim()
            )
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("there is no git on this machine: install the package git (apt-get install git)")
        }
        Err(error) => Err(error).context("cannot run git"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_has_one_commit_with_a_procfile() {
        let scratch = tempfile::tempdir().unwrap();
        let repository = actix_rt::System::new()
            .block_on(make(scratch.path()))
            .expect("git is installed");
        let listed = std::process::Command::new("git")
            .args(["-C", &repository, "ls-tree", "--name-only", "HEAD"])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&listed.stdout), "Procfile\n");
    }
}
