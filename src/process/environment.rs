//! The environment of a process, in four layers (pure).

use std::collections::BTreeMap;
use std::path::Path;

use crate::account::Account;
use crate::document::dotenv::fits;

/// Debian's path for root, which has everything an unprivileged user's has.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// UTF-8 without depending on which locales are installed.
const LANG: &str = "C.UTF-8";

/// The clean base: what a process gets before anything is configured. Never the daemon's own variables.
///
/// `home` and `storage` are kept across releases, `tmp` is for what may be lost. A path that is not UTF-8 is given with
/// replacement characters: the daemon's own directories are the only ones that come here.
#[must_use]
pub fn base(
    account: &Account,
    home: &Path,
    tmp: &Path,
    storage: &Path,
) -> BTreeMap<String, String> {
    let path = |path: &Path| path.to_string_lossy().into_owned();
    [
        ("PATH", PATH.to_owned()),
        ("LANG", LANG.to_owned()),
        // What Python prints is in the log when it is printed, not when a buffer is full.
        ("PYTHONUNBUFFERED", "1".to_owned()),
        ("HOME", path(home)),
        ("USER", account.user.clone()),
        ("LOGNAME", account.user.clone()),
        ("SHELL", path(usable_shell(&account.shell))),
        ("TMPDIR", path(tmp)),
        ("STORAGE_DIR", path(storage)),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

/// What all that runs of a release is told of it.
#[must_use]
pub fn of_release(release: u64, commit: &str) -> BTreeMap<String, String> {
    [
        ("PROCSERVER_RELEASE", release.to_string()),
        ("PROCSERVER_COMMIT", commit.to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

/// Lays `layers` over each other, later wins. A name or value that no process can be given (empty name, `=` or NUL in
/// it, too long) is left out.
#[must_use]
pub fn layered<'a>(
    layers: impl IntoIterator<Item = &'a BTreeMap<String, String>>,
) -> BTreeMap<String, String> {
    layers
        .into_iter()
        .flatten()
        .filter(|(name, value)| is_possible(name, value))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Whether `execve(2)` can pass it on as one variable.
fn is_possible(name: &str, value: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0') && fits(name, value)
}

/// Shells of accounts that nobody logs in to (nologin(8), false(1), sync(1)): as `SHELL` they would break every program
/// that runs commands by it, such as `flock -c` and `script -c`.
const NO_SHELLS: [&str; 4] = ["nologin", "false", "true", "sync"];

fn usable_shell(shell: &Path) -> &Path {
    let name = shell.file_name().and_then(|name| name.to_str());
    match name {
        Some(name) if !NO_SHELLS.contains(&name) => shell,
        _ => Path::new("/bin/sh"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn an_account_that_nobody_logs_in_to_has_a_shell_all_the_same() {
        let usable = |shell: &str| usable_shell(Path::new(shell)).display().to_string();
        for none in ["/usr/sbin/nologin", "/bin/false", "/bin/sync", ""] {
            assert_eq!(usable(none), "/bin/sh", "{none}");
        }
        assert_eq!(usable("/usr/bin/zsh"), "/usr/bin/zsh");
    }

    #[test]
    fn the_base_is_exactly_these_variables() {
        let account = Account {
            user: "www-data".into(),
            group: "www-data".into(),
            uid: 33,
            gid: 33,
            groups: vec![33],
            shell: "/bin/sh".into(),
        };
        let base = base(
            &account,
            Path::new("/home"),
            Path::new("/tmp/a"),
            Path::new("/storage"),
        );
        assert_eq!(
            base,
            layer(&[
                ("HOME", "/home"),
                ("LANG", "C.UTF-8"),
                ("LOGNAME", "www-data"),
                ("PATH", PATH),
                ("PYTHONUNBUFFERED", "1"),
                ("SHELL", "/bin/sh"),
                ("STORAGE_DIR", "/storage"),
                ("TMPDIR", "/tmp/a"),
                ("USER", "www-data"),
            ])
        );
    }

    #[test]
    fn later_layers_win() {
        let (first, second) = (layer(&[("A", "1"), ("B", "1")]), layer(&[("B", "2")]));
        assert_eq!(layered([&first, &second]), layer(&[("A", "1"), ("B", "2")]));
    }

    #[test]
    fn what_no_process_can_be_given_is_left_out_and_hides_nothing() {
        let first = layer(&[("A", "1")]);
        let second = layer(&[("A", "x\0y"), ("", "x"), ("B=C", "x"), ("D\0", "x")]);
        assert_eq!(layered([&first, &second]), first);
        let long = layer(&[("A", &"x".repeat(128 * 1024 - 2))]);
        assert_eq!(layered([&first, &long]), first);
    }
}
