//! Runs the real git, without the daemon's environment and without anybody's configuration. It asks no questions.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::command::Program;
use super::limits::{StepError, blocking};
use super::record::Step;
use super::remote::Remote;
use super::ssh::Ssh;

/// PATH of programs that run as the daemon's own user.
pub const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Whether [`SYSTEM_PATH`] has this program.
///
/// # Errors
/// No thread can be had to look.
pub(super) async fn has(step: Step, program: &'static str) -> Result<bool, StepError> {
    let look = move || Ok(is_installed(program));
    blocking(step, "cannot look for a program", look).await
}

/// Whether [`SYSTEM_PATH`] has this program. Blocks.
#[must_use]
pub fn is_installed(program: &str) -> bool {
    let is_program = |path: PathBuf| {
        path.metadata()
            .is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
    };
    let mut directories = SYSTEM_PATH.split(':');
    directories.any(|directory| is_program(Path::new(directory).join(program)))
}

/// How this machine reaches the network. Only these variables of the daemon's environment are passed on.
const NETWORK: [&str; 11] = [
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
];

/// The environment of a system program: PATH, the C locale (we read its messages), and [`NETWORK`].
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
         [core]\n\thooksPath = /dev/null\n\tfsmonitor = false\n\tbigFileThreshold = 64m\n\
         [gc]\n\tauto = 0\n\tautoDetach = false\n\
         [maintenance]\n\tauto = false\n\tautoDetach = false\n\
         [submodule]\n\trecurse = false\n\
         [advice]\n\tdetachedHead = false\n\
         [http]\n\tlowSpeedLimit = 1\n\tlowSpeedTime = 120\n\
         [protocol]\n\tallow = never\n",
    );
    for protocol in ["https", "http", "ssh", "git"] {
        text.push_str(&format!("[protocol \"{protocol}\"]\n\tallow = always\n"));
    }
    if !local.is_empty() {
        // Otherwise git refuses a repository of another user. Only settings can allow a local one.
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

/// Quotes a value for git-config(1).
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

/// git with `arguments`, for `remote`, with the configuration file at `configuration`.
#[must_use]
pub fn program(configuration: &Path, remote: &Remote, arguments: &[&str]) -> Program {
    let mut environment = system_environment();
    let fixed = [
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_ATTR_NOSYSTEM", "1"),
        ("GIT_SSH_VARIANT", "ssh"),
    ];
    environment.extend(fixed.map(|(name, value)| (name.into(), value.into())));
    environment.insert("GIT_SSH_COMMAND".into(), Ssh::lent_command());
    environment.insert(
        "GIT_CONFIG_GLOBAL".into(),
        configuration.display().to_string(),
    );
    if let Some(home) = configuration.ancestors().nth(2) {
        environment.insert("XDG_CONFIG_HOME".into(), home.display().to_string());
    }
    let mut program = Program {
        name: "git",
        arguments: arguments.iter().map(|a| (*a).to_owned()).collect(),
        environment,
        directory: None,
        quiet: false,
        confined: None,
    };
    if let Some(credentials) = remote.credentials() {
        let helper = r#"!printf 'username=%s\npassword=%s\n' "$PROCSERVER_GIT_USER" "$PROCSERVER_GIT_PASSWORD" #"#;
        set(
            &mut program,
            &format!("credential.{}.helper", credentials.scope),
            helper,
        );
        let (user, password) = (credentials.user.clone(), credentials.password.clone());
        let environment = &mut program.environment;
        environment.insert("PROCSERVER_GIT_USER".into(), user);
        environment.insert("PROCSERVER_GIT_PASSWORD".into(), password);
    }
    program
}

/// Configures `key` for this program and what it starts. It comes before every file.
pub fn set(program: &mut Program, key: &str, value: &str) {
    let environment = &mut program.environment;
    let count = environment.get("GIT_CONFIG_COUNT");
    let count: usize = count.and_then(|c| c.parse().ok()).unwrap_or(0);
    environment.insert(format!("GIT_CONFIG_KEY_{count}"), key.to_owned());
    environment.insert(format!("GIT_CONFIG_VALUE_{count}"), value.to_owned());
    environment.insert("GIT_CONFIG_COUNT".into(), (count + 1).to_string());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_in_no_argument_and_in_no_file() {
        let remote = Remote::parse("https://ann:s3cret@h/r.git");
        let arguments = ["fetch", "--", remote.url()];
        let mut program = program(Path::new("/x"), &remote, &arguments);
        assert!(!program.title().contains("s3cret"));
        assert!(!configuration(&[]).contains("s3cret"));
        assert_eq!(program.environment["PROCSERVER_GIT_PASSWORD"], "s3cret");
        assert!(!program.environment.contains_key("HOME"));
        set(&mut program, "lfs.url", "https://h/");
        assert_eq!(program.environment["GIT_CONFIG_COUNT"], "2");
        assert_eq!(program.environment["GIT_CONFIG_VALUE_1"], "https://h/");
    }

    #[test]
    fn files_are_allowed_for_local_repositories_only() {
        let local = configuration(&["/srv/a\"b/".into()]);
        assert!(local.contains("[protocol \"file\"]"));
        assert!(local.contains(r#"directory = "/srv/a\"b""#));
        assert!(!configuration(&[]).contains("file"));
    }

    #[test]
    fn programs_are_looked_for_where_they_are_run() {
        assert!(is_installed("sh"));
        assert!(!is_installed("no-such-program"));
        // A directory is none.
        assert!(!is_installed(""));
    }
}
