//! The identity record of a running process, and how a new daemon finds survivors.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, WaitId, WaitIdOptions};
use serde::{Deserialize, Serialize};

use super::cgroup::Cgroup;
use super::rlimit_mark::RlimitMark;
use super::running::Running;
use super::socket::SocketDirectory;
use super::spawn::MARKER;
use super::stop::Marked;
use super::users::Users;
use super::{instance, procfs, stop};
use crate::app_dirs::AppDirs;
use crate::document::config::StopPolicy;
use crate::{durable, regular};

/// The record's name in the directory of its process.
pub const FILE: &str = "identity.json";

/// A record is a few hundred bytes.
const SIZE_LIMIT: u64 = 64 * 1024;

/// No app gets as far: a larger number is damage, after which batches could not be counted on.
const LAST_BATCH: u64 = u64::MAX / 2;

/// Who a process is, written by `procserver exec` just before it becomes the command: `identity.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// `web.1`.
    pub id: String,
    pub release: u64,
    /// The activation it belongs to.
    pub batch: u64,
    /// Process id, also its session and group.
    pub pid: u32,
    /// Field 22 of `/proc/PID/stat`: with the boot id it makes the pid unique for ever.
    pub start_time: u64,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    pub port: u16,
    /// SHA-256 of command, environment and directory: another one is another process.
    pub digest: String,
    /// The directory with its FIFOs and this record.
    pub directory: PathBuf,
    /// The user that the command runs as; an older server did not write it.
    #[serde(default)]
    pub uid: Option<u32>,
}

/// What a process is started for: the part of its [`Identity`] that is known before it exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purpose {
    /// [`Identity::id`].
    pub id: String,
    /// [`Identity::release`].
    pub release: u64,
    /// [`Identity::batch`].
    pub batch: u64,
    /// [`Identity::port`].
    pub port: u16,
    /// [`Identity::digest`].
    pub digest: String,
    /// [`Identity::directory`].
    pub directory: PathBuf,
}

impl Identity {
    /// Whether that very process still runs (a zombie does not).
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.stat().is_some_and(|stat| stat.is_alive())
    }

    /// Whether that process is really one of this instance. A record that was damaged, or is of another pid namespace, may
    /// name anybody.
    fn is_of_its_instance(&self, users: &Users) -> bool {
        let instance = self.directory.to_string_lossy();
        let leads = self.stat().is_some_and(|stat| stat.session == self.pid);
        // What root starts may become anybody.
        let is_of_users = self.uid == Some(0) || users.have(self.pid);
        leads
            && is_of_users
            && (Cgroup::of_process(self.pid, &instance).is_some()
                || RlimitMark::marks(self.pid, &instance)
                || procfs::has_variable(self.pid, &format!("{MARKER}={instance}")))
    }

    /// Whose processes may be of it.
    pub(super) fn users(&self) -> Users {
        Users::own().and(self.uid)
    }

    /// The state of that very process, be it a zombie.
    pub(super) fn stat(&self) -> Option<procfs::Stat> {
        let boot_id = procfs::boot_id().ok()?;
        procfs::stat(self.pid)
            .filter(|stat| boot_id == self.boot_id && stat.start_time == self.start_time)
    }

    /// Lets the kernel forget a zombie that an actor of ours left when it panicked. No other process can have its
    /// pid before that; where it is no child of ours, this does nothing.
    fn reap(&self) {
        if self.stat().is_some_and(|stat| !stat.is_alive())
            && let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw)
        {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            let _ = rustix::process::waitid(WaitId::Pid(pid), options);
        }
    }
}

/// Writes the record of the calling process, which goes on as the user `uid`.
pub(super) fn record_self(purpose: &Purpose, uid: u32) -> io::Result<()> {
    record(purpose, std::process::id(), uid)
}

fn record(purpose: &Purpose, pid: u32, uid: u32) -> io::Result<()> {
    let stat = procfs::stat(pid).ok_or_else(|| io::Error::other("/proc is not mounted"))?;
    let identity = Identity {
        id: purpose.id.clone(),
        release: purpose.release,
        batch: purpose.batch,
        pid,
        start_time: stat.start_time,
        boot_id: procfs::boot_id()?,
        port: purpose.port,
        digest: purpose.digest.clone(),
        directory: purpose.directory.clone(),
        uid: Some(uid),
    };
    durable::replace_until_reboot(
        &purpose.directory.join(FILE),
        &serde_json::to_vec(&identity)?,
        0o600,
    )
}

/// The processes of one app that still run, by their records below `runtime`; records of dead ones are removed, and
/// with them whatever lived on of what they had started as one of `users`. Blocks.
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

/// The process of one directory, if it still runs and can be taken over; else whatever it had started is ended and the directory removed.
/// Blocks.
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
        is_it && instance::has_fifos(directory)
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

/// Kills the processes of instances of one app of which there is no record any more: somebody removed it, and nobody will
/// ever find them otherwise. What their environment says is only compared with the instances that there are, and never
/// leads to a file. To be called before anything of the app is started. Blocks.
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

/// The last batch of which there is a directory below `runtime` (`RUNTIME/apps/NAME`): one that cannot be ended keeps its
/// own. Blocks.
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

/// Ends everything of a survivor that nobody wants, by the policy, and removes its directory.
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

/// The record in `directory`; `None` when there is none, or it names another directory.
fn read(directory: &Path) -> Option<Identity> {
    let text = regular::read(&directory.join(FILE), SIZE_LIMIT).ok()?;
    serde_json::from_slice(&text)
        .ok()
        .filter(|identity: &Identity| {
            identity.directory == directory && identity.batch <= LAST_BATCH
        })
}

/// Kills what a dead process left running and removes its directory.
fn bury(directory: &Path, users: &Users) {
    stop::kill_all_remains(&directory.to_string_lossy(), users, Some(directory));
}

/// Removes the directory of a process, and that of its socket.
pub(super) fn remove(directory: &Path) {
    if let Err(error) = fs::remove_dir_all(directory)
        && error.kind() != io::ErrorKind::NotFound
    {
        log::warn!("cannot remove {}: {error}", directory.display());
    }
    if let Some(sockets) = SocketDirectory::of(directory)
        && let Err(error) = sockets.remove()
    {
        log::warn!("cannot remove {}: {error}", sockets.path().display());
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    /// A process that leads a session, with its record.
    struct Sleeper(Child);

    impl Sleeper {
        fn start(directory: &Path) -> Self {
            Self::marked(directory, &directory.to_string_lossy())
        }

        fn marked(directory: &Path, instance: &str) -> Self {
            instance::prepare(directory, None).expect("directory");
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
