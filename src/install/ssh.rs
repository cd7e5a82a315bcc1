//! How git runs ssh: with the app's own key and nobody's configuration. It asks no questions (pure).

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The files that ssh works with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ssh {
    pub key: PathBuf,
    /// The keys of servers that were met before.
    pub known_hosts: PathBuf,
}

/// No prompt, no agent, no other key, no password, no forwarding, whatever a server or a configuration says. ssh
/// remembers the key of a new server, and refuses a server whose key has changed (ssh_config(5)).
const OPTIONS: [&str; 11] = [
    "BatchMode=yes",
    "IdentitiesOnly=yes",
    "IdentityAgent=none",
    "PreferredAuthentications=publickey",
    "ClearAllForwardings=yes",
    "StrictHostKeyChecking=accept-new",
    "GlobalKnownHostsFile=/dev/null",
    "UpdateHostKeys=no",
    "ConnectTimeout=30",
    "ServerAliveInterval=30",
    "ServerAliveCountMax=4",
];

/// The variable that has the path of the app's private key.
pub const KEY: &str = "PROCSERVER_SSH_KEY";

/// The variable that has the path of the keys of servers.
pub const KNOWN_HOSTS: &str = "PROCSERVER_SSH_KNOWN_HOSTS";

impl Ssh {
    /// The value of `GIT_SSH_COMMAND`, which a shell reads.
    #[must_use]
    pub fn command(&self) -> String {
        let files = [
            format!("IdentityFile={}", value(&self.key)),
            format!("UserKnownHostsFile={}", value(&self.known_hosts)),
        ];
        with_options(files.iter().map(String::as_str))
    }

    /// As [`Self::command`], with files whose paths are in these variables of its environment. ssh closes every
    /// descriptor that it inherits, so they are the paths of those of the git that started it.
    #[must_use]
    pub fn lent_command() -> String {
        let mut command = with_options([]);
        for (option, variable) in [("IdentityFile", KEY), ("UserKnownHostsFile", KNOWN_HOSTS)] {
            let _ = write!(command, r#" -o {option}="${variable}""#);
        }
        command
    }

    /// The command that makes ssh forget the key of `host`.
    #[must_use]
    pub fn forget(&self, host: &str) -> String {
        let file = self.known_hosts.display().to_string();
        format!("ssh-keygen -f {} -R {}", quoted(&file), quoted(host))
    }
}

fn with_options<'a>(files: impl IntoIterator<Item = &'a str>) -> String {
    let mut command = String::from("ssh -F none");
    for option in OPTIONS.into_iter().chain(files) {
        command.push_str(" -o ");
        command.push_str(&quoted(option));
    }
    command
}

/// Quotes a path for ssh_config(5): it may have spaces, and `%` begins a token.
fn value(path: &Path) -> String {
    let mut text = String::from("\"");
    for character in path.display().to_string().chars() {
        match character {
            '%' => text.push_str("%%"),
            '"' | '\\' => text.extend(['\\', character]),
            other => text.push(other),
        }
    }
    text.push('"');
    text
}

/// Quotes a word for a shell.
pub(super) fn quoted(text: &str) -> String {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_=./:@".contains(&b);
    if !text.is_empty() && text.bytes().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ssh(directory: &str) -> Ssh {
        Ssh {
            key: Path::new(directory).join("key"),
            known_hosts: Path::new(directory).join("known_hosts"),
        }
    }

    #[test]
    fn nobody_is_asked_and_no_other_key_is_tried() {
        let command = ssh("/data").command();
        for part in [
            "ssh -F none ",
            " -o BatchMode=yes",
            " -o IdentitiesOnly=yes",
            " -o IdentityAgent=none",
            " -o StrictHostKeyChecking=accept-new",
            r#" -o 'IdentityFile="/data/key"'"#,
        ] {
            assert!(command.contains(part), "{part}: {command}");
        }
    }

    #[test]
    fn odd_paths_reach_ssh_as_they_are() {
        let command = ssh("/a b/50%/it's").command();
        assert!(command.contains(r#"'IdentityFile="/a b/50%%/it'\''s/key"'"#));
    }

    #[test]
    fn the_way_to_forget_a_host_can_be_pasted() {
        assert_eq!(
            ssh("/data").forget("[h]:22"),
            "ssh-keygen -f /data/known_hosts -R '[h]:22'"
        );
    }
}
