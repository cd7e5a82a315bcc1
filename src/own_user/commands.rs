//! useradd(8), usermod(8) and userdel(8) of the machine: they know its locks, its databases and their caches.

use std::io::{self, Read};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::OwnUserError;

/// Each of them waits for up to 15 s for a lock that another program holds.
const LONGEST: Duration = Duration::from_secs(60);

/// For so long it is tried again while another program holds a lock of another kind (an editor of passwd), or the kernel
/// has not buried a process of the user yet.
const PATIENCE: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(500);

/// The exit codes of useradd(8) and userdel(8) that mean something here.
const CANNOT_UPDATE_PASSWD: i32 = 1;
const UID_IN_USE: i32 = 4;
const NO_SUCH_USER: i32 = 6;
const NAME_IN_USE: i32 = 9;
const USER_IN_USE: i32 = 8;
const CANNOT_UPDATE_GROUP: i32 = 10;

/// The shell of who cannot log in.
pub(super) const SHELL: &str = "/usr/sbin/nologin";

/// What came of an attempt to make a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Made {
    Yes,
    /// A user or a group has the name.
    NameIsTaken,
    /// Another user has the id.
    IdIsTaken,
}

/// Makes a system user with a group of its own, whom nobody can log in as. Blocks.
pub(super) fn add(name: &str, comment: &str, uid: Option<u32>) -> Result<Made, OwnUserError> {
    let mut arguments: Vec<String> = [
        "--system",
        "--user-group",
        "--no-create-home",
        "--no-log-init",
        "--home-dir",
        "/nonexistent",
        "--shell",
        SHELL,
        "--comment",
        comment,
    ]
    .map(str::to_owned)
    .to_vec();
    if let Some(uid) = uid {
        arguments.extend(["--uid".to_owned(), uid.to_string()]);
    }
    arguments.push(name.to_owned());
    let ended = run_patiently("useradd", &arguments)?;
    match ended.code {
        Some(0) => Ok(Made::Yes),
        Some(NAME_IN_USE) => Ok(Made::NameIsTaken),
        Some(UID_IN_USE) => Ok(Made::IdIsTaken),
        _ => Err(ended.into_error("useradd", name)),
    }
}

/// Changes the comment of the user. Blocks.
pub(super) fn describe(name: &str, comment: &str) -> Result<(), OwnUserError> {
    let arguments = ["--comment", comment, name].map(str::to_owned);
    let ended = run_patiently("usermod", &arguments)?;
    match ended.code {
        Some(0) => Ok(()),
        _ => Err(ended.into_error("usermod", name)),
    }
}

/// Removes the user; that there is none is fine. Blocks.
pub(super) fn remove(name: &str) -> Result<(), OwnUserError> {
    let ended = run_patiently("userdel", &[name.to_owned()])?;
    match ended.code {
        Some(0 | NO_SUCH_USER) => Ok(()),
        _ => Err(OwnUserError::NotRemoved {
            user: name.to_owned(),
            said: ended.into_text("userdel"),
        }),
    }
}

/// Checks that the program can be run: with a flag that it does not know it does nothing but say so.
pub(super) fn look_for(program: &'static str) -> Result<(), OwnUserError> {
    run(program, &["--help".to_owned()]).map(drop)
}

struct Ended {
    code: Option<i32>,
    said: String,
}

impl Ended {
    fn is_passing(&self) -> bool {
        match self.code {
            Some(CANNOT_UPDATE_PASSWD | CANNOT_UPDATE_GROUP) => self.said.contains("lock"),
            Some(USER_IN_USE) => true,
            _ => false,
        }
    }

    fn into_error(self, program: &'static str, user: &str) -> OwnUserError {
        OwnUserError::Refused {
            program,
            user: user.to_owned(),
            said: self.into_text(program),
        }
    }

    fn into_text(self, program: &str) -> String {
        match (self.said.is_empty(), self.code) {
            (false, _) => self.said,
            (true, Some(code)) => format!("{program} exited with {code}"),
            (true, None) => format!("{program} did not end"),
        }
    }
}

fn run_patiently(program: &'static str, arguments: &[String]) -> Result<Ended, OwnUserError> {
    let until = Instant::now() + PATIENCE;
    loop {
        let ended = run(program, arguments)?;
        if !ended.is_passing() || Instant::now() >= until {
            return Ok(ended);
        }
        log::info!(
            "{program} is tried again, since another holds a lock or the user: {}",
            ended.said
        );
        std::thread::sleep(PAUSE);
    }
}

fn run(program: &'static str, arguments: &[String]) -> Result<Ended, OwnUserError> {
    let failed = |source| OwnUserError::NotRun { program, source };
    let child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    end(child).map_err(failed)
}

/// Waits for the end, but not for ever: a user database may be on a network.
fn end(mut child: Child) -> io::Result<Ended> {
    let stderr = child.stderr.take();
    let is_over = wait(&child).unwrap_or(false);
    if !is_over {
        child.kill()?;
    }
    let status = child.wait()?;
    let mut said = String::new();
    if let Some(stderr) = stderr.filter(|_| is_over) {
        // A line or two, which were in the pipe before it ended. What it has started may hold the pipe no longer.
        let _ = stderr.take(4096).read_to_string(&mut said);
    }
    Ok(Ended {
        code: status.code(),
        said: said.trim().replace('\n', "; "),
    })
}

fn wait(child: &Child) -> io::Result<bool> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or(io::ErrorKind::InvalidInput)?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    let until = Instant::now() + LONGEST;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&left)) {
            Err(rustix::io::Errno::INTR) => {}
            ready => return Ok(ready? > 0),
        }
    }
}
