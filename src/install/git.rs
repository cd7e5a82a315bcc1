//! How the real git is run: with nothing of the daemon's environment or of anybody's configuration, asking nobody
//! anything, and with messages that can be told apart.

use std::collections::BTreeMap;
use std::path::Path;

use super::command::Program;
use super::failure;
use super::record::{Failure, Step};
use super::remote::Remote;
use crate::process::exit::ExitStatus;

/// PATH of programs that run as the daemon's own user.
pub const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How this machine reaches the network; nothing else of the daemon's environment is passed on.
const NETWORK: [&str; 12] = [
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GIT_SSL_CAINFO",
    "SSH_AUTH_SOCK",
];

/// The environment of a system program: PATH, the C locale (messages are read by us), the way to the network.
#[must_use]
pub fn system_environment() -> BTreeMap<String, String> {
    let mut environment: BTreeMap<String, String> = NETWORK
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)))
        .collect();
    environment.insert("PATH".into(), SYSTEM_PATH.into());
    environment.insert("LC_ALL".into(), "C.UTF-8".into());
    environment
}

/// The only configuration that git sees ("protected" in the sense of git-config(1), so that `safe.directory` counts).
/// `local`: the paths under which a repository on this machine may be opened.
#[must_use]
pub fn configuration(local: &[String]) -> String {
    let mut text = String::from(
        "# Written by procserver before each deploy.\n\
         [init]\n\tdefaultBranch = master\n\
         [core]\n\thooksPath = /dev/null\n\
         [gc]\n\tautoDetach = false\n\
         [maintenance]\n\tautoDetach = false\n\
         [advice]\n\tdetachedHead = false\n\
         [http]\n\tlowSpeedLimit = 1\n\tlowSpeedTime = 120\n\
         [protocol]\n\tallow = never\n",
    );
    for protocol in ["https", "http", "ssh", "git"] {
        text.push_str(&format!("[protocol \"{protocol}\"]\n\tallow = always\n"));
    }
    if !local.is_empty() {
        // A repository of another user is refused otherwise. Here somebody named it who may configure the server.
        text.push_str("[protocol \"file\"]\n\tallow = always\n[safe]\n");
    }
    for path in local {
        let path = path.trim_end_matches('/');
        for directory in [
            path.to_owned(),
            format!("{path}/.git"),
            format!("{path}.git"),
        ] {
            text.push_str(&format!("\tdirectory = {}\n", quoted(&directory)));
        }
    }
    text
}

/// A value as git-config(1) reads it back.
fn quoted(value: &str) -> String {
    let mut text = String::from("\"");
    for character in value.chars() {
        match character {
            '"' | '\\' => text.extend(['\\', character]),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
    text.push('"');
    text
}

/// git with `arguments`, on `remote`, with the configuration file at `configuration`.
#[must_use]
pub fn program(configuration: &Path, remote: &Remote, arguments: &[&str]) -> Program {
    let mut environment = system_environment();
    let fixed = [
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_ATTR_NOSYSTEM", "1"),
        (
            "GIT_SSH_COMMAND",
            "ssh -oBatchMode=yes -oStrictHostKeyChecking=accept-new -oConnectTimeout=30 -oServerAliveInterval=30",
        ),
    ];
    environment.extend(fixed.map(|(name, value)| (name.into(), value.into())));
    environment.insert(
        "GIT_CONFIG_GLOBAL".into(),
        configuration.display().to_string(),
    );
    if let Some(credentials) = remote.credentials() {
        let helper = r#"!printf 'username=%s\npassword=%s\n' "$PROCSERVER_GIT_USER" "$PROCSERVER_GIT_PASSWORD" #"#;
        environment.insert("GIT_CONFIG_COUNT".into(), "1".into());
        environment.insert(
            "GIT_CONFIG_KEY_0".into(),
            format!("credential.{}.helper", credentials.scope),
        );
        environment.insert("GIT_CONFIG_VALUE_0".into(), helper.into());
        environment.insert("PROCSERVER_GIT_USER".into(), credentials.user.clone());
        environment.insert(
            "PROCSERVER_GIT_PASSWORD".into(),
            credentials.password.clone(),
        );
    }
    Program {
        name: "git",
        arguments: arguments.iter().map(|a| (*a).to_owned()).collect(),
        environment,
        directory: None,
        quiet: false,
    }
}

/// What a remote's refusal is about: words in git's output, the reason, the hint.
struct Sign {
    words: &'static [&'static str],
    reason: &'static str,
    hint: &'static str,
}

/// In order: a server that wants a password for what is not there says several of these.
const SIGNS: [Sign; 7] = [
    Sign {
        words: &[
            "Could not resolve host",
            "Name or service not known",
            "Temporary failure in name resolution",
            "unable to look up",
        ],
        reason: "the host's name is not known",
        hint: "check the spelling of `repo.url`, and this machine's DNS",
    },
    Sign {
        words: &[
            "Host key verification failed",
            "REMOTE HOST IDENTIFICATION HAS CHANGED",
        ],
        reason: "the host's ssh key is not the one known for it",
        hint: "if the host was set up anew, remove its old key: ssh-keygen -R HOST",
    },
    Sign {
        words: &[
            "Connection refused",
            "Failed to connect",
            "Couldn't connect",
            "Could not connect",
            "unreachable",
            "No route to host",
            "Connection timed out",
            "Connection reset",
            "Operation too slow",
            "timed out",
        ],
        reason: "the host cannot be reached",
        hint: "check `repo.url`, the network and firewalls on the way, then redeploy",
    },
    Sign {
        words: &["certificate", "SSL"],
        reason: "the host's certificate cannot be trusted",
        hint: "check the host's certificate, this machine's clock and its package ca-certificates",
    },
    Sign {
        words: &[
            "could not read Username",
            "could not read Password",
            "Authentication failed",
            "Permission denied (",
            "terminal prompts disabled",
            "error: 401",
            "error: 403",
            "HTTP Basic: Access denied",
        ],
        reason: "the repository needs credentials that it accepts (or does not exist)",
        hint: "check `repo.url`; for a private one put a token into it (https://TOKEN@host/…), or use ssh with a key of the server's user",
    },
    Sign {
        words: &[
            "Repository not found",
            "does not appear to be a git repository",
            "could not be found",
            "' not found",
            "repository does not exist",
            "no such path",
            "repository not exported",
            "error: 404",
        ],
        reason: "there is no such repository",
        hint: "check `repo.url`, and whether this server may read the repository",
    },
    Sign {
        words: &["not allowed"],
        reason: "this kind of URL is not allowed",
        hint: "use https, http, ssh or git",
    },
];

/// Why the remote did not give us anything, when its side is to blame; `None`: ours may be (a damaged mirror).
#[must_use]
pub fn refusal(remote: &Remote, status: ExitStatus, tail: &[String]) -> Option<Failure> {
    let errors: Vec<_> = tail
        .iter()
        .filter(|line| !line.starts_with("hint:"))
        .collect();
    if failure::disk_is_full(tail) {
        return Some(failure::exited(
            Step::Fetch,
            "git fetch",
            status,
            tail.to_vec(),
        ));
    }
    let sign = SIGNS.iter().find(|sign| {
        let mut words = sign.words.iter();
        words.any(|word| errors.iter().any(|line| line.contains(word)))
    })?;
    let failure = Failure::new(
        Step::Fetch,
        format!("cannot fetch {}: {}", remote.shown(), sign.reason),
    );
    Some(failure.hint(sign.hint).status(status).tail(tail.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(lines: &[&str]) -> Option<String> {
        let tail: Vec<String> = lines.iter().map(|l| (*l).to_owned()).collect();
        let remote = Remote::parse("https://x:secret@h/r.git");
        let failure = refusal(&remote, ExitStatus::Code(128), &tail)?;
        assert!(failure.reason.starts_with("cannot fetch https://h/r.git: "));
        assert!(failure.hint.is_some());
        Some(failure.reason)
    }

    #[test]
    fn what_git_says_is_told_apart() {
        for (line, words) in [
            (
                "fatal: unable to access 'https://h/': Could not resolve host: h",
                "name is not known",
            ),
            (
                "ssh: connect to host h port 22: Connection refused",
                "cannot be reached",
            ),
            ("git@h: Permission denied (publickey).", "needs credentials"),
            (
                "fatal: could not read Username for 'https://h': terminal prompts disabled",
                "needs credentials",
            ),
            (
                "fatal: '/srv/x' does not appear to be a git repository",
                "no such repository",
            ),
            (
                "fatal: repository 'https://h/r.git/' not found",
                "no such repository",
            ),
            ("Host key verification failed.", "ssh key"),
        ] {
            assert!(reason(&[line]).is_some_and(|r| r.contains(words)), "{line}");
        }
    }

    #[test]
    fn what_is_not_known_may_be_our_own_damage() {
        assert_eq!(
            reason(&["error: object file x is empty", "fatal: bad object HEAD"]),
            None
        );
    }

    #[test]
    fn credentials_are_in_no_argument_and_in_no_file() {
        let remote = Remote::parse("https://ann:s3cret@h/r.git");
        let program = program(Path::new("/x"), &remote, &["fetch", "--", remote.url()]);
        assert!(!program.title().contains("s3cret"));
        assert!(!configuration(&[]).contains("s3cret"));
        assert_eq!(program.environment["PROCSERVER_GIT_PASSWORD"], "s3cret");
        assert!(!program.environment.contains_key("HOME"));
    }

    #[test]
    fn files_are_allowed_for_local_repositories_only() {
        let local = configuration(&["/srv/a\"b/".into()]);
        assert!(local.contains("[protocol \"file\"]"));
        assert!(local.contains(r#"directory = "/srv/a\"b""#));
        assert!(!configuration(&[]).contains("file"));
    }
}
