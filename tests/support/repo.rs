//! Real git repositories, made from maps of files.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::setup::world_readable_directory;

/// A git repository in a directory of its own, gone when dropped.
pub(crate) struct Repo {
    directory: TempDir,
}

impl Repo {
    /// A repository with one commit of `files` on the branch `master`.
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        Self::on_branch("master", files)
    }

    /// A repository with one commit of `files` on `branch`, its only one and its HEAD.
    pub(crate) fn on_branch(branch: &str, files: &[(&str, &str)]) -> Self {
        let repo = Self {
            directory: world_readable_directory(),
        };
        repo.git(&["init", "--quiet", &format!("--initial-branch={branch}")]);
        repo.commit(files);
        repo
    }

    /// Its URL, as a document names it.
    pub(crate) fn url(&self) -> String {
        format!("file://{}", self.path().display())
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes `files`, commits them on the present branch and returns the full commit id.
    pub(crate) fn commit(&self, files: &[(&str, &str)]) -> String {
        for (name, content) in files {
            let path = self.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a file has a parent")).unwrap();
            std::fs::write(path, content).unwrap();
        }
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", "change"]);
        self.commit_id()
    }

    /// The full id of the present commit.
    pub(crate) fn commit_id(&self) -> String {
        self.git(&["rev-parse", "HEAD"])
    }

    /// Makes a branch here and goes on on it.
    pub(crate) fn branch(&self, name: &str) {
        self.git(&["checkout", "--quiet", "-b", name]);
    }

    /// Goes on on a branch that exists.
    pub(crate) fn checkout(&self, name: &str) {
        self.git(&["checkout", "--quiet", name]);
    }

    /// Tags the present commit.
    pub(crate) fn tag(&self, name: &str) {
        self.git(&["tag", "--annotate", "--message", "a tag", name]);
    }

    /// Runs git without what the developer's own configuration would add.
    fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args(["-c", "user.name=Test", "-c", "user.email=test@example.org"])
            .args(arguments)
            .current_dir(self.path())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .output()
            .expect("git is installed");
        assert!(
            output.status.success(),
            "git {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}
