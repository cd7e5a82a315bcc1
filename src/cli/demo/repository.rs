//! The demo's app: a git repository made with the real git.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Output, Stdio};

use anyhow::{Context, bail};
use tokio::process::Command;

/// The app of a demo on this machine, whose web process is this program.
pub const LOCAL: &[(&str, &str)] = &[(
    "Procfile",
    "web: \"$DEMO_BIN\" demo-web
worker: n=0; while :; do n=$((n+1)); echo \"tick $n\"; sleep 10; done
",
)];

/// The app of a demo on a swarm, where this program is not.
pub const SWARM: &[(&str, &str)] = &[
    (
        "Procfile",
        "web: exec python3 web.py
worker: n=0; while :; do n=$((n+1)); echo \"tick $n\"; sleep 10; done
",
    ),
    (GREETING, "It works.\n"),
    ("web.py", include_str!("web.py")),
];

/// The file with what the app on a swarm says first.
pub const GREETING: &str = "greeting";

/// Makes the repository in `scratch`, with these files, and says where it is.
///
/// # Errors
/// A git that is missing or fails.
pub async fn make(scratch: &Path, files: &[(&str, &str)]) -> anyhow::Result<String> {
    let directory = scratch.join("repo");
    fs::create_dir(&directory)?;
    for (name, text) in files {
        fs::write(directory.join(name), text)?;
    }
    git(
        &directory,
        &["-c", "init.defaultBranch=master", "init", "--quiet"],
    )
    .await?;
    commit(&directory, "A Procfile").await?;
    directory.into_os_string().into_string().map_err(|path| {
        anyhow::anyhow!(
            "{} is not UTF-8: set TMPDIR to another directory",
            path.display()
        )
    })
}

/// Commits another text of a file.
///
/// # Errors
/// As [`make`].
pub async fn change(repository: &str, name: &str, text: &str) -> anyhow::Result<()> {
    let directory = Path::new(repository);
    fs::write(directory.join(name), text)?;
    commit(directory, &format!("Another {name}")).await
}

async fn commit(directory: &Path, message: &str) -> anyhow::Result<()> {
    git(directory, &["add", "--all"]).await?;
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
        message,
    ];
    git(directory, &[&author[..], &commit[..]].concat()).await
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
    fn the_repository_has_a_commit_for_each_state_of_its_files() {
        let scratch = tempfile::tempdir().unwrap();
        let repository = actix_rt::System::new().block_on(async {
            let made = make(scratch.path(), LOCAL).await.expect("git is installed");
            change(&made, "Procfile", "web: true\n").await.unwrap();
            made
        });
        let count = std::process::Command::new("git")
            .args(["-C", &repository, "rev-list", "--count", "HEAD"])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&count.stdout), "2\n");
        let listed = std::process::Command::new("git")
            .args(["-C", &repository, "ls-tree", "--name-only", "HEAD"])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&listed.stdout), "Procfile\n");
    }
}
