//! Finds processes that outlived the server that started them, and ends those that are not wanted any more.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::identity::{FILE, Identity, LAST_BATCH, read};
use super::running::Running;
use super::stop::{self, Marked};
use super::users::Users;
use super::{instance, procfs};
use crate::app_dirs::AppDirs;
use crate::document::config::StopPolicy;

/// Finds the processes of one app that still run, and children of this process that have ended and were not waited
/// for, by their records below `runtime`. Removes the records of dead ones,
/// and ends what these had started as one of `users`. Blocks.
#[must_use]
pub fn survivors(runtime: &Path, users: &Users) -> Vec<Identity> {
    let Ok(entries) = fs::read_dir(runtime) else {
        return Vec::new();
    };
    let directories = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path());
    let mut found: Vec<Identity> = directories.filter_map(|d| survivor(&d, users)).collect();
    found.sort_by(|a, b| (a.batch, &a.id).cmp(&(b.batch, &b.id)));
    found
}

/// The process of one directory, if it still runs and can be adopted. Otherwise ends what it had started and removes
/// the directory. Blocks.
#[must_use]
pub fn survivor(directory: &Path, users: &Users) -> Option<Identity> {
    let mut identity = read(directory);
    let recorded = identity.as_ref().and_then(|identity| identity.uid);
    let users = users.clone().and(recorded);
    if let Some(identity) = identity.as_mut().filter(|identity| identity.uid.is_none()) {
        identity.uid = procfs::uid(identity.pid).filter(|uid| users.contain(*uid));
    }
    let can_go_on = |identity: &Identity| {
        let is_it = identity.is_alive() && identity.is_of_its_instance(&users);
        (is_it || identity.is_ended_child()) && instance::has_fifos(directory)
    };
    match identity {
        Some(identity) if can_go_on(&identity) => Some(identity),
        dead => {
            if directory.exists() {
                bury(directory, &users);
            }
            if let Some(identity) = dead {
                identity.reap();
            }
            None
        }
    }
}

/// Kills processes of one app whose record was removed: nothing else would ever find them. Their environment is only
/// compared with the instances that exist and never used as a path. Call it before anything of the app is started.
/// Blocks.
pub fn end_unrecorded(dirs: &AppDirs, marked: &Marked) {
    let users = Users::of_app(dirs);
    let prefix = format!("{}/", dirs.runtime().display());
    let recorded = recorded(dirs.runtime());
    let found = marked.below(&prefix, &users).into_iter();
    for lost in found.filter(|name| !recorded.contains(*name)) {
        log::warn!(
            "the record of {lost:?} in {} was removed while its processes ran: they are ended",
            dirs.runtime().display()
        );
        stop::kill_remains(&format!("{prefix}{lost}"), &users);
    }
}

/// The last batch that has a directory below `runtime` (`RUNTIME/apps/NAME`). A process that cannot be ended keeps its
/// directory. Blocks.
#[must_use]
pub fn last_batch(runtime: &Path) -> Option<u64> {
    let entries = fs::read_dir(runtime).into_iter().flatten().flatten();
    let batch = |name: &str| name.rsplit_once('-')?.1.parse().ok();
    let batches = entries.filter_map(|entry| batch(entry.file_name().to_str()?));
    batches.filter(|batch| *batch <= LAST_BATCH).max()
}

/// The instances below `runtime` (`RUNTIME/apps/NAME`) that have a record. Blocks.
#[must_use]
pub fn instances(runtime: &Path) -> Vec<String> {
    let recorded = recorded(runtime).into_iter();
    recorded
        .map(|name| runtime.join(name).to_string_lossy().into_owned())
        .collect()
}

/// The processes that have a record below `all` (`RUNTIME/apps`). Blocks.
#[must_use]
pub fn recorded_pids(all: &Path) -> BTreeSet<u32> {
    let directories = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten();
    let instances = directories(all).flat_map(|app| directories(&app.path()));
    instances
        .filter_map(|instance| Some(read(&instance.path())?.pid))
        .collect()
}

/// The names of the instances below `runtime` that have a record.
fn recorded(runtime: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(runtime).into_iter().flatten().flatten();
    let recorded = entries.filter(|entry| entry.path().join(FILE).exists());
    recorded
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

/// Ends all instances of one app below `runtime`, alive or not. Blocks.
pub fn end_all(runtime: &Path, users: &Users) {
    for survivor in survivors(runtime, users) {
        bury(&survivor.directory, &survivor.users());
    }
}

/// Stops a survivor by the policy and removes its directory.
pub async fn end(survivor: Identity, policy: StopPolicy) {
    if let Ok(running) = Running::of_survivor(&survivor) {
        stop::gracefully(&running, &policy).await;
        // It may be a child of ours, left by an actor that panicked.
        running.reap();
    }
    let users = survivor.users();
    let burial = tokio::task::spawn_blocking(move || bury(&survivor.directory, &users));
    if let Err(error) = burial.await {
        log::error!("removing what a process left: {error}");
    }
}

/// Kills what a dead process left running and removes its directory.
fn bury(directory: &Path, users: &Users) {
    stop::kill_all_remains(&directory.to_string_lossy(), users, Some(directory));
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;
    use crate::process::exec_spec::{MARKER, Purpose};
    use crate::process::identity::record;

    /// A process that leads a session, with its record.
    struct Sleeper(Child);

    impl Sleeper {
        fn start(directory: &Path) -> Self {
            Self::marked(directory, &directory.to_string_lossy())
        }

        fn marked(directory: &Path, instance: &str) -> Self {
            instance::prepare(directory, &instance::FIFOS, None).expect("directory");
            let mut sleep = Command::new("setsid");
            sleep.args(["sleep", "600"]).env(MARKER, instance);
            let started = Self(sleep.spawn().expect("sleep"));
            let pid = started.0.id();
            let marker = format!("{MARKER}={instance}");
            // execve(2) shows no environment for a moment.
            while name(pid) != "sleep" || !procfs::has_variable(pid, &marker) {
                std::thread::yield_now();
            }
            let uid = nix::unistd::geteuid().as_raw();
            record(&purpose(directory), pid, uid).expect("record");
            started
        }

        fn has_ended(&mut self) -> bool {
            self.0.try_wait().expect("a child").is_some()
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            // It may have ended, as it should.
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn name(pid: u32) -> String {
        let name = fs::read_to_string(format!("/proc/{pid}/comm"));
        name.unwrap_or_default().trim_end().to_owned()
    }

    fn survivors_of_own(runtime: &Path) -> Vec<Identity> {
        survivors(runtime, &Users::own())
    }

    fn purpose(directory: &Path) -> Purpose {
        Purpose {
            id: "web.1".into(),
            release: 3,
            batch: 4,
            one_off: false,
            port: 8001,
            digest: "d".into(),
            directory: directory.to_owned(),
        }
    }

    fn rewrite(directory: &Path, change: impl FnOnce(&mut Identity)) {
        let mut identity = read(directory).expect("record");
        change(&mut identity);
        fs::write(
            directory.join(FILE),
            serde_json::to_vec(&identity).expect("JSON"),
        )
        .expect("write");
    }

    #[test]
    fn a_running_process_survives() {
        let runtime = tempfile::tempdir().expect("tempdir");
        let started = Sleeper::start(&runtime.path().join("web.1-4"));
        let found = survivors_of_own(runtime.path());
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].pid, started.0.id());
        assert_eq!((found[0].release, found[0].port), (3, 8001));
    }

    #[test]
    fn another_start_time_or_boot_is_another_process_and_its_record_goes() {
        let runtime = tempfile::tempdir().expect("tempdir");
        let (late, reboot) = (runtime.path().join("a"), runtime.path().join("b"));
        let _one = Sleeper::start(&late);
        rewrite(&late, |identity| identity.start_time += 1);
        let _other = Sleeper::start(&reboot);
        rewrite(&reboot, |identity| identity.boot_id = "another".into());
        assert_eq!(survivors_of_own(runtime.path()), Vec::new());
        assert!(!late.exists() && !reboot.exists());
    }

    #[test]
    fn a_record_that_names_another_process_leaves_it_alone_and_its_own_is_ended() {
        let runtime = tempfile::tempdir().expect("tempdir");
        let directory = runtime.path().join("web.1-4");
        let mut own = Sleeper::start(&directory);
        let mut stranger = Sleeper::marked(&runtime.path().join("other"), "/elsewhere");
        let (pid, start_time) = {
            let other = read(&runtime.path().join("other")).expect("record");
            (other.pid, other.start_time)
        };
        fs::remove_dir_all(runtime.path().join("other")).expect("removed");
        rewrite(&directory, |identity| {
            (identity.pid, identity.start_time) = (pid, start_time);
        });
        assert_eq!(survivors_of_own(runtime.path()), Vec::new());
        assert!(own.has_ended() && !stranger.has_ended());
        assert!(!directory.exists());
    }

    #[test]
    fn a_record_of_an_older_server_is_of_the_user_that_its_process_has() {
        let runtime = tempfile::tempdir().expect("tempdir");
        let directory = runtime.path().join("web.1-4");
        let _started = Sleeper::start(&directory);
        rewrite(&directory, |identity| identity.uid = None);
        let own = nix::unistd::geteuid().as_raw();
        assert_eq!(survivors_of_own(runtime.path())[0].uid, Some(own));
    }

    #[test]
    fn what_an_environment_says_leads_to_no_file_and_only_what_has_no_record_is_ended() {
        let home = tempfile::tempdir().expect("tempdir");
        let name = crate::document::name::AppName::parse("a").expect("a name");
        let dirs = AppDirs::new(&home.path().join("data"), &home.path().join("run"), &name);
        let kept = dirs.runtime().join("web.1-4");
        let prey = home.path().join("prey");
        fs::create_dir_all(&prey).expect("directory");
        let mut recorded = Sleeper::start(&kept);
        let mut lost = Sleeper::start(&dirs.runtime().join("web.2-4"));
        fs::remove_dir_all(dirs.runtime().join("web.2-4")).expect("removed");
        let way = dirs.runtime().join("../../../prey");
        let _hostile = Sleeper::marked(&home.path().join("x"), &way.to_string_lossy());
        end_unrecorded(&dirs, &Marked::look());
        assert!(prey.exists());
        assert!(lost.has_ended() && !recorded.has_ended());
        assert!(kept.exists());
    }

    #[test]
    fn who_is_alive_but_has_lost_its_output_cannot_be_taken_over() {
        let runtime = tempfile::tempdir().expect("tempdir");
        let directory = runtime.path().join("web.1-4");
        let _started = Sleeper::start(&directory);
        fs::remove_file(directory.join("stderr")).expect("remove");
        assert_eq!(survivors_of_own(runtime.path()), Vec::new());
    }

    #[test]
    fn a_batch_that_could_not_be_counted_on_from_is_damage() {
        let runtime = tempfile::tempdir().expect("tempdir");
        let directory = runtime.path().join("web.1-4");
        let _started = Sleeper::start(&directory);
        rewrite(&directory, |identity| identity.batch = u64::MAX);
        assert_eq!(survivors_of_own(runtime.path()), Vec::new());
    }

    #[test]
    fn a_truncated_record_and_a_missing_directory_are_nobody() {
        let runtime = tempfile::tempdir().expect("tempdir");
        let directory = runtime.path().join("web.1-4");
        fs::create_dir(&directory).expect("directory");
        fs::write(directory.join(FILE), b"{\"id\":\"we").expect("write");
        assert_eq!(survivors_of_own(runtime.path()), Vec::new());
        assert_eq!(survivors_of_own(&runtime.path().join("none")), Vec::new());
    }
}
