//! [`Ground`]: the temporary directory that everything happens in.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

use crate::procfs::processes_of;
use crate::wait::within;

/// A temporary directory with a copy of this program, which any user may run. Dropped, also by a failure, it takes all
/// processes with it that run from, in or with it; so do SIGINT and SIGTERM.
pub(crate) struct Ground {
    directory: TempDir,
}

impl Ground {
    pub(crate) fn new() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("procserver-bench-")
            .tempdir()
            .expect("a temporary directory");
        let ground = Self { directory };
        allow(ground.path(), 0o755);
        let own = std::env::current_exe().expect("our own path");
        fs::copy(own, ground.subject()).expect("room for a copy");
        allow(&ground.subject(), 0o755);
        end_on_signal(ground.path().to_owned());
        ground
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The program that is supervised.
    pub(crate) fn subject(&self) -> PathBuf {
        self.path().join("subject")
    }

    /// A fresh directory below, that others can look into.
    pub(crate) fn fresh(&self, name: &str) -> PathBuf {
        let free = |n: u32| Some(self.path().join(format!("{name}-{n}"))).filter(|p| !p.exists());
        let path = (0..).find_map(free).expect("there is always another");
        fs::create_dir(&path).expect("the temporary directory is ours");
        allow(&path, 0o755);
        path
    }
}

fn end_on_signal(directory: PathBuf) {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(async {
            let mut terminate = signal(SignalKind::terminate()).expect("a signal can be awaited");
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
        });
        end_all(&directory);
        let _gone = fs::remove_dir_all(&directory);
        std::process::exit(130);
    });
}

impl Drop for Ground {
    fn drop(&mut self) {
        end_all(self.path());
    }
}

/// An empty file that every user may write to: beside a data directory, of which an application sees its own part only.
pub(crate) fn open_file(directory: &Path, name: &str) -> PathBuf {
    let path = directory.with_extension(name);
    File::create(&path).expect("the temporary directory is ours");
    allow(&path, 0o666);
    path
}

fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("it is ours");
}

/// Sends a signal; that nobody is there any more is fine.
pub(crate) fn send(pid: u32, signal: Signal) {
    let _gone = kill(Pid::from_raw(pid.cast_signed()), signal);
}

/// Kills all processes of `directory`, until there is none.
pub(crate) fn end_all(directory: &Path) {
    let ended = within(Duration::from_secs(10), || {
        let left = processes_of(directory);
        left.iter().for_each(|pid| send(*pid, Signal::SIGKILL));
        left.is_empty().then_some(())
    });
    if ended.is_none() {
        eprintln!(
            "processes {:?} do not end: end them by hand",
            processes_of(directory)
        );
    }
}
