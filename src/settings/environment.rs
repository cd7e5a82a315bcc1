//! [`Environment`]: what the machine is, which decides defaults.

use std::path::PathBuf;

use nix::unistd::{User, geteuid};

/// What the defaults depend on. It is looked up once, so that the rest is pure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// Whether this process is root.
    pub root: bool,
    /// `$XDG_CONFIG_HOME`, else `~/.config`.
    pub config_home: Option<PathBuf>,
    /// `$XDG_DATA_HOME`, else `~/.local/share`.
    pub data_home: Option<PathBuf>,
    /// `$XDG_RUNTIME_DIR`.
    pub runtime_dir: Option<PathBuf>,
    /// The user of applications that have none of their own: `www-data` (or `nobody` where there is none) if the server
    /// is root, else the server's own.
    pub default_user: String,
    pub cores: usize,
}

impl Environment {
    /// Looks at the machine. Blocks: passwd may be on a network.
    #[must_use]
    pub fn detect() -> Self {
        let absolute = |name: &str| {
            std::env::var_os(name)
                .map(PathBuf::from)
                // The XDG base directory specification: relative paths are to be ignored.
                .filter(|path| path.is_absolute())
        };
        let home = absolute("HOME");
        let below_home = |tail: &str| home.as_ref().map(|home| home.join(tail));
        let root = geteuid().is_root();
        Self {
            root,
            config_home: absolute("XDG_CONFIG_HOME").or_else(|| below_home(".config")),
            data_home: absolute("XDG_DATA_HOME").or_else(|| below_home(".local/share")),
            runtime_dir: absolute("XDG_RUNTIME_DIR"),
            default_user: default_user(root),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }

    /// A machine of two cores, as root and as a user with a login session.
    #[cfg(test)]
    pub(super) fn example(root: bool) -> Self {
        Self {
            root,
            config_home: Some("/home/u/.config".into()),
            data_home: Some("/home/u/.local/share".into()),
            runtime_dir: Some("/run/user/1000".into()),
            default_user: if root { "www-data" } else { "u" }.into(),
            cores: 2,
        }
    }
}

fn default_user(root: bool) -> String {
    if root {
        let preferred = "www-data";
        let exists = matches!(User::from_name(preferred), Ok(Some(_)));
        return if exists { preferred } else { "nobody" }.into();
    }
    match User::from_uid(geteuid()) {
        Ok(Some(user)) => user.name,
        // A container may run under an id that passwd does not have; nothing is switched then.
        _ => geteuid().to_string(),
    }
}
