//! [`By`]: who has something done, as people read it (pure). It names a token or a key, and holds no secret.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Who has something done: `token ci`, `uid 0`, `push of ssh key laptop`, `webhook`, `the server`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct By(Arc<str>);

impl By {
    /// The holder of a token.
    #[must_use]
    pub fn token(name: &str) -> Self {
        Self(format!("token {name}").into())
    }

    /// The holder of a key, by ssh.
    #[must_use]
    pub fn ssh_key(name: &str) -> Self {
        Self(format!("ssh key {name}").into())
    }

    /// An account of this machine.
    #[must_use]
    pub fn account(uid: u32) -> Self {
        Self(format!("uid {uid}").into())
    }

    /// Who pushes with git.
    #[must_use]
    pub fn push_of(by: &Self) -> Self {
        Self(format!("push of {by}").into())
    }

    /// Who sends an archive.
    #[must_use]
    pub fn upload_of(by: &Self) -> Self {
        Self(format!("upload of {by}").into())
    }

    /// A git service.
    #[must_use]
    pub fn webhook() -> Self {
        Self("webhook".into())
    }

    /// Somebody who edits files.
    #[must_use]
    pub fn config_directory() -> Self {
        Self("config directory".into())
    }

    /// A backup that is restored.
    #[must_use]
    pub fn restore() -> Self {
        Self("restore".into())
    }

    /// The schedule of a job.
    #[must_use]
    pub fn cron() -> Self {
        Self("cron".into())
    }

    /// Nobody asked for it just now.
    #[must_use]
    pub fn server() -> Self {
        Self("the server".into())
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
