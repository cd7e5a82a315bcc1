//! Where an application's files are (pure: it only joins paths).

use std::path::{Path, PathBuf};

use crate::document::name::AppName;

/// The directories of one application.
///
/// ```text
/// DATA/apps/NAME/   repo.git · modules/ · ssh/ · releases/N/ · venvs/N/ · deployments/N.json · storage/ · tmp/ ·
///                   home/ · logs/ · state.json · runs.json · user.json · hook.json · first_deploy · code.bundle
/// DATA/known_hosts  the ssh keys of git servers, for all apps
/// DATA/user_ids.json  the ids that users of apps have had
/// DATA/projects.json  the project ids of apps with a quota
/// RUNTIME/apps/NAME/INSTANCE/   identity.json · stdout · stderr
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppDirs {
    name: AppName,
    data_dir: PathBuf,
    root: PathBuf,
    runtime: PathBuf,
    known_hosts: PathBuf,
    user_ids: PathBuf,
}

impl AppDirs {
    /// The directories of `name` below the server's data and runtime directories.
    #[must_use]
    pub fn new(data_dir: &Path, runtime_dir: &Path, name: &AppName) -> Self {
        Self {
            name: name.clone(),
            data_dir: data_dir.to_owned(),
            root: data_dir.join("apps").join(name.as_str()),
            runtime: runtime_dir.join("apps").join(name.as_str()),
            known_hosts: data_dir.join("known_hosts"),
            user_ids: data_dir.join("user_ids.json"),
        }
    }

    /// The app's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// The server's data directory.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The parent of the directories of all apps.
    #[must_use]
    pub fn apps(&self) -> &Path {
        self.root.parent().unwrap_or(&self.data_dir)
    }

    /// Which project ids the file system has for apps, one file for all.
    #[must_use]
    pub fn projects(&self) -> PathBuf {
        self.data_dir.join("projects.json")
    }

    /// Holds everything of this app that outlives a reboot.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The bare mirror of the app's repository.
    #[must_use]
    pub fn mirror(&self) -> PathBuf {
        self.root.join("repo.git")
    }

    /// The mirrors of the repository's submodules.
    #[must_use]
    pub fn modules(&self) -> PathBuf {
        self.root.join("modules")
    }

    /// The directory of the app's ssh key, closed to everybody but the daemon's user.
    #[must_use]
    pub fn ssh(&self) -> PathBuf {
        self.root.join("ssh")
    }

    /// The host keys of git servers, one file for all apps: they use the same servers.
    #[must_use]
    pub fn known_hosts(&self) -> &Path {
        &self.known_hosts
    }

    /// The parent of all releases.
    #[must_use]
    pub fn releases(&self) -> PathBuf {
        self.root.join("releases")
    }

    /// The checkout of release `id`.
    #[must_use]
    pub fn release(&self, id: u64) -> PathBuf {
        self.releases().join(id.to_string())
    }

    /// The parent of all Python environments.
    #[must_use]
    pub fn venvs(&self) -> PathBuf {
        self.root.join("venvs")
    }

    /// The Python environment that release `id` has made; later ones may use it too.
    #[must_use]
    pub fn venv(&self, id: u64) -> PathBuf {
        self.venvs().join(id.to_string())
    }

    /// The record of release `id`: commit, time, the document it was made with.
    #[must_use]
    pub fn release_record(&self, id: u64) -> PathBuf {
        self.releases().join(format!("{id}.json"))
    }

    /// The records of deployments, `N.json` each.
    #[must_use]
    pub fn deployments(&self) -> PathBuf {
        self.root.join("deployments")
    }

    /// `$STORAGE_DIR`: the app's own files, kept across releases.
    #[must_use]
    pub fn storage(&self) -> PathBuf {
        self.root.join("storage")
    }

    /// `$TMPDIR` of the app.
    #[must_use]
    pub fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// `$HOME` of install commands and processes: caches of package managers, kept across releases.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.root.join("home")
    }

    /// There until the app's first release is made.
    #[must_use]
    pub fn first_deploy(&self) -> PathBuf {
        self.root.join("first_deploy")
    }

    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// What the App actor remembers over a restart of the daemon.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.root.join("state.json")
    }

    /// The processes that run once, and the last of them that ended.
    #[must_use]
    pub fn runs(&self) -> PathBuf {
        self.root.join("runs.json")
    }

    /// Names the user that was made for the app alone; not there where it has none.
    #[must_use]
    pub fn user_record(&self) -> PathBuf {
        self.root.join("user.json")
    }

    /// The secret of the app's webhook, and what was delivered lately; not there until somebody asks for it.
    #[must_use]
    pub fn hook(&self) -> PathBuf {
        self.root.join("hook.json")
    }

    /// The code of an app that is pushed to, as a restore has left it; gone once the mirror has it.
    #[must_use]
    pub fn code(&self) -> PathBuf {
        self.root.join("code.bundle")
    }

    /// Which ids users of single apps have had, one file for all apps.
    #[must_use]
    pub fn user_ids(&self) -> &Path {
        &self.user_ids
    }

    /// One directory per running process: its FIFOs and its identity record; gone after a reboot.
    #[must_use]
    pub fn runtime(&self) -> &Path {
        &self.runtime
    }
}
