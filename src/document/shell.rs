//! [`Shell`]: which shell runs the commands of an application (pure, but for [`Shell::is_there`]).

use std::os::unix::fs::PermissionsExt;

use serde::{Deserialize, Serialize};

/// Which shell runs the commands of an application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shell {
    /// What Debian's own scripts are written for.
    #[default]
    Sh,
    /// Debian has it too, unless somebody removed it.
    Bash,
}

impl Shell {
    /// The shell of this path.
    ///
    /// # Errors
    /// What is allowed.
    pub fn parse(path: &str) -> Result<Self, &'static str> {
        match path {
            "/bin/sh" => Ok(Self::Sh),
            "/bin/bash" => Ok(Self::Bash),
            _ => Err("must be \"/bin/sh\" or \"/bin/bash\""),
        }
    }

    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Sh => "/bin/sh",
            Self::Bash => "/bin/bash",
        }
    }

    /// Whether this machine has it. Blocks.
    #[must_use]
    pub fn is_there(self) -> bool {
        std::fs::metadata(self.path())
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    }
}
