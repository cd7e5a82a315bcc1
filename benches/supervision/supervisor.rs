//! The supervisors that are compared, each with processes of [`crate::subject`] below it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::ground::{Ground, end_all, open_file, send};
use crate::procfs;
use crate::subject::now;
use crate::wait::{until, within};
use crate::{ours, peers};

/// How long the start of many processes may take.
const LONGEST_START: Duration = Duration::from_secs(60);

/// How long a supervisor may take to end what it has started.
const LONGEST_STOP: Duration = Duration::from_secs(20);

/// Which supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ours,
    Supervisord,
    S6,
    Runit,
    Pm2,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] = [
        Self::Ours,
        Self::Supervisord,
        Self::S6,
        Self::Runit,
        Self::Pm2,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "procserver",
            Self::Supervisord => "supervisord",
            Self::S6 => "s6",
            Self::Runit => "runit",
            Self::Pm2 => "pm2",
        }
    }

    /// The line in its log that says that a process is up, where it says so.
    fn word_of_ready(self) -> Option<&'static str> {
        match self {
            Self::Ours => Some("process.ready "),
            Self::Supervisord => Some(" entered RUNNING state"),
            Self::S6 | Self::Runit | Self::Pm2 => None,
        }
    }
}

/// What is to be supervised, and where.
pub(crate) struct Job {
    pub(crate) processes: usize,
    pub(crate) directory: PathBuf,
    /// The words of the command of each process.
    pub(crate) command: [String; 3],
    /// What the supervisor itself says.
    pub(crate) log: PathBuf,
    stamps: PathBuf,
}

/// A running supervisor; when dropped it is stopped.
pub(crate) struct Supervisor {
    pub(crate) kind: Kind,
    /// When it was started, in nanoseconds since 1970.
    pub(crate) started: u64,
    pub(crate) pid: u32,
    subject: PathBuf,
    job: Job,
    child: Option<Child>,
}

/// A process, and when it ran first, in nanoseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    pub(crate) pid: u32,
    pub(crate) at: u64,
}

impl Supervisor {
    /// Starts it with so many processes; `None`, and a line that says so, if it is not installed.
    pub(crate) fn start(kind: Kind, processes: usize, ground: &Ground) -> Option<Self> {
        let directory = ground.fresh(&format!("{}-{processes}", kind.name()));
        let stamps = open_file(&directory, "stamps");
        let subject = ground.subject();
        let words = [&*subject, Path::new("stamp"), &*stamps];
        let job = Job {
            processes,
            command: words.map(|word| word.display().to_string()),
            log: directory.join("log"),
            directory,
            stamps,
        };
        let mut command = match kind {
            Kind::Ours => ours::prepare(&job),
            Kind::Supervisord => peers::supervisord(&job),
            Kind::S6 => peers::s6(&job),
            Kind::Runit => peers::runit(&job),
            Kind::Pm2 => peers::pm2(&job),
        };
        // What ran before, to prepare it, has left stamps.
        open_file(&job.directory, "stamps");
        let started = now();
        let child = match spawn(&mut command, &job.log) {
            Ok(child) => child,
            Err(error) => {
                let program = command.get_program().display();
                println!("{}: {program} is missing ({error})", kind.name());
                return None;
            }
        };
        let mut supervisor = Self {
            kind,
            started,
            pid: child.id(),
            subject,
            job,
            child: Some(child),
        };
        if kind == Kind::Pm2 {
            supervisor.pid = supervisor.daemon_of_pm2();
        }
        Some(supervisor)
    }

    /// `pm2 start` ends once its daemon has started everything.
    fn daemon_of_pm2(&mut self) -> u32 {
        if let Some(mut child) = self.child.take() {
            let ended = until(LONGEST_START, "pm2 start", || {
                child.try_wait().ok().flatten()
            });
            assert!(ended.success(), "pm2 start: {}", self.log());
        }
        let file = self.job.directory.join("pm2.pid");
        let text = fs::read_to_string(file).expect("pm2 has written its pid");
        text.trim().parse().expect("a pid")
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.job.log).unwrap_or_default()
    }

    /// Waits until every process has run its first instruction.
    pub(crate) fn all_run(&self) -> Vec<Stamp> {
        let wanted = self.job.processes;
        let what = format!("{}: {wanted} processes start", self.kind.name());
        until(LONGEST_START, &what, || {
            Some(self.stamps()).filter(|stamps| stamps.len() >= wanted)
        })
    }

    /// Waits until it says that every process is up, where it says so.
    pub(crate) fn all_ready(&self) {
        let Some(word) = self.kind.word_of_ready() else {
            return;
        };
        let wanted = self.job.processes;
        let what = format!("{}: {wanted} processes are ready", self.kind.name());
        until(LONGEST_START, &what, || {
            std::thread::sleep(Duration::from_millis(5));
            (self.log().matches(word).count() >= wanted).then_some(())
        });
    }

    /// All first instructions so far, in order.
    pub(crate) fn stamps(&self) -> Vec<Stamp> {
        let text = fs::read_to_string(&self.job.stamps).expect("the stamps are ours");
        let stamp = |line: &str| {
            let (pid, at) = line.split_once(' ')?;
            let (pid, at) = (pid.parse().ok()?, at.parse().ok()?);
            Some(Stamp { pid, at })
        };
        text.lines().filter_map(stamp).collect()
    }

    /// Its own processes, without those it supervises.
    pub(crate) fn own_pids(&self) -> Vec<u32> {
        let is_subject = |pid: &u32| {
            fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == self.subject)
        };
        let mut tree = procfs::tree(self.pid);
        tree.retain(|pid| !is_subject(pid));
        tree
    }
}

fn spawn(command: &mut Command, log: &Path) -> std::io::Result<Child> {
    let log = fs::File::create(log)?;
    command
        .stdin(std::process::Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        // runsvdir takes its services along on SIGHUP only.
        let signal = if self.kind == Kind::Runit {
            Signal::SIGHUP
        } else {
            Signal::SIGTERM
        };
        send(self.pid, signal);
        if let Some(mut child) = self.child.take() {
            let ended = within(LONGEST_STOP, || child.try_wait().ok().flatten());
            if ended.is_none() {
                eprintln!("{} does not end: it is killed", self.kind.name());
                let _gone = child.kill();
                let _reaped = child.wait();
            }
        } else {
            within(LONGEST_STOP, || (!procfs::is_alive(self.pid)).then_some(()));
        }
        end_all(&self.job.directory);
    }
}
