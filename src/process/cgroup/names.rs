//! [`Names`]: how the groups of one data directory are named (pure).
//!
//! ```text
//! procserver-apps-SERVER/hello/web.1-4-HASH
//! ```
//!
//! A person sees in `systemd-cgls` whose a process is; SERVER keeps servers apart that share a group, and HASH two
//! instances of the same name (in another runtime directory). Only who may make groups where the server does can choose
//! such a name: root, or the server's own user.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// The names of a server's groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Names {
    /// Tells the groups of one data directory from those of others; empty in tests without one.
    server: String,
}

impl Names {
    pub(super) fn of(data_dir: &Path) -> Self {
        let server = hex(data_dir.as_os_str().as_encoded_bytes(), 4);
        Self { server }
    }

    pub(super) fn of_nobody() -> Self {
        let server = String::new();
        Self { server }
    }

    /// The group in which all others are.
    pub(super) fn top(&self) -> String {
        match self.server.as_str() {
            "" => "procserver-apps".to_owned(),
            server => format!("procserver-apps-{server}"),
        }
    }

    /// The group of the server itself, where systemd has made none for it.
    pub(super) fn leaf(&self) -> String {
        format!("procserver-server-{}", self.server)
    }

    /// The path of an instance's group below the server's.
    pub(super) fn path(&self, instance: &str) -> PathBuf {
        let (app, name) = app_and_name(instance);
        let hash = hex(instance.as_bytes(), 4);
        let name = format!("{}-{hash}", plain(name));
        [self.top(), app_directory(app), name].iter().collect()
    }

    /// The names that older servers gave it, directly in their group.
    pub(super) fn old(&self, instance: &str) -> [String; 2] {
        let hash = hex(instance.as_bytes(), 8);
        let last = instance.rsplit('/').next().unwrap_or_default();
        let last: String = last
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .take(40)
            .collect();
        let oldest = format!("procserver-{last}-{hash}");
        match self.server.as_str() {
            "" => [oldest.clone(), oldest],
            server => [format!("procserver-{server}-{last}-{hash}"), oldest],
        }
    }

    /// Whether an older server on this data directory made a group of this name.
    pub(super) fn is_old(&self, name: &str) -> bool {
        let own = format!("procserver-{}-", self.server);
        !self.server.is_empty() && name.starts_with(&own)
    }

    /// Whether a directory is the group of `instance`, of this server or an older one.
    pub(super) fn is_of(&self, directory: &Path, instance: &str) -> bool {
        let name = directory.file_name().unwrap_or_default();
        directory.ends_with(self.path(instance))
            || self.old(instance).iter().any(|old| name == old.as_str())
    }
}

/// `RUNTIME/apps/hello/web.1-4` is `web.1-4` of `hello`, and `DATA/apps/hello/releases#install` is its `install`.
fn app_and_name(instance: &str) -> (&str, &str) {
    let mut parts = instance.rsplit('/');
    let last = parts.next().unwrap_or_default();
    let app = parts.next().unwrap_or_default();
    match last.split_once('#') {
        Some((_, step)) => (app, step),
        None => (app, last),
    }
}

/// Hierarchies of the first version have files with names that apps may have, too.
fn app_directory(app: &str) -> String {
    match plain(app).as_str() {
        "tasks" => "_tasks".to_owned(),
        "" => "_".to_owned(),
        plain => plain.to_owned(),
    }
}

fn plain(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let kept = text.chars().map(|c| if is_plain(c) { c } else { '-' });
    let kept: String = kept.take(80).collect();
    kept.trim_start_matches('.').to_owned()
}

fn hex(bytes: &[u8], length: usize) -> String {
    let hash = Sha256::digest(bytes);
    let digits = hash[..length].iter();
    digits.map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names::of(Path::new("/var/lib/procserver"))
    }

    #[test]
    fn a_person_sees_the_app_and_the_process() {
        let path = |instance| names().path(instance).display().to_string();
        let web = path("/run/procserver/apps/hello/web.1-4");
        let top = names().top();
        assert!(web.starts_with(&format!("{top}/hello/web.1-4-")), "{web}");
        let install = path("/var/lib/procserver/apps/hello/releases#install");
        assert!(install.starts_with(&format!("{top}/hello/install-")));
        assert_ne!(path("/run/a/hello/web.1-4"), path("/run/b/hello/web.1-4"));
    }

    #[test]
    fn names_are_file_names_whatever_the_instance_is() {
        for hostile in [
            "",
            "/",
            "x/\n../\u{e4}",
            "a/..",
            "a/../b",
            &"x".repeat(9999),
        ] {
            let path = names().path(hostile);
            assert_eq!(path.components().count(), 3, "{hostile:?}: {path:?}");
            let is_normal = |c| matches!(c, std::path::Component::Normal(_));
            assert!(path.components().all(is_normal), "{path:?}");
            assert!(path.as_os_str().len() < 250);
        }
        let tasks = names().path("/run/apps/tasks/web.1-4");
        assert!(tasks.parent().unwrap().ends_with("_tasks"));
    }

    #[test]
    fn groups_of_older_servers_are_known_and_those_of_others_are_not() {
        let instance = "/run/procserver/apps/hello/web.1-4";
        let at = |name: &str| Path::new("/sys/fs/cgroup/x").join(name);
        for old in names().old(instance) {
            assert!(names().is_of(&at(&old), instance), "{old}");
        }
        assert!(names().is_old(&names().old(instance)[0]));
        assert!(!names().is_old(&names().top()) && !names().is_old(&names().leaf()));
        let other = Names::of(Path::new("/srv/other"));
        assert!(!names().is_old(&other.old(instance)[0]));
        assert!(!names().is_of(&at("").join(other.path(instance)), instance));
        let nobody = Names::of_nobody();
        assert!(!nobody.is_old("procserver--web"));
    }
}
