//! The repository that is deployed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// Files in one directory.
const IN_ONE: usize = 100;

/// A git repository with an app and many other files.
pub(crate) struct Repository(PathBuf);

impl Repository {
    /// An app with this Procfile, and so many other files of 2 KiB on average.
    pub(crate) fn new(path: &Path, procfile: &str, files: usize) -> Self {
        let repository = Self(path.to_owned());
        std::fs::create_dir(path).expect("a new directory");
        repository.write("Procfile", procfile);
        for n in 0..files {
            let line = format!("{n}: a line of a file that does not change\n");
            let name = format!("d{}/f{n}.txt", n / IN_ONE);
            repository.write(&name, &line.repeat(n % 90 + 1));
        }
        repository.git(&["init", "--quiet", "--initial-branch=master"]);
        repository.change_a_line();
        repository
    }

    /// Puts in a copy of a file, with its mode. The next commit has it.
    #[allow(dead_code, reason = "not every bench has files to put in")]
    pub(crate) fn add(&self, name: &str, file: &Path) {
        std::fs::copy(file, self.0.join(name)).expect("a copy");
    }

    pub(crate) fn url(&self) -> String {
        format!("file://{}", self.0.display())
    }

    /// Commits a change of one line.
    pub(crate) fn change_a_line(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("now");
        self.write("VERSION", &format!("{}\n", now.as_nanos()));
        self.git(&["add", "--all"]);
        let author = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"];
        let commit = ["commit", "--quiet", "--message", "change"];
        self.git(&[&author[..], &commit[..]].concat());
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(path, text).expect("a file");
    }

    fn git(&self, arguments: &[&str]) {
        must(clean_git().args(arguments).current_dir(&self.0));
    }
}

/// git with nobody's configuration.
pub(crate) fn clean_git() -> Command {
    let mut git = Command::new("git");
    git.env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1");
    git
}

/// Runs a command, which must succeed.
pub(crate) fn must(command: &mut Command) {
    let status = command.status().expect("it starts");
    assert!(status.success(), "{command:?}: {status}");
}
