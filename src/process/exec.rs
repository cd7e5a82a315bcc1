//! The hidden verb `procserver exec`: sets a process up from inside, then becomes it.
//!
//! The daemon is multi-threaded, so it must not run code between fork and exec. It starts itself anew instead; this
//! code is alone in its process, single-threaded, and needs no unsafe. It reads [`Instructions`] as JSON from stdin and
//! writes [`Word`]s as JSON to stdout, a pipe that exec closes: its end without a [`SetupFailure`] means that the
//! command runs.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::errno::Errno;
use nix::unistd::{Gid, Uid};
use rustix::fs::{Mode, OFlags};
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, CapabilitySets, clear_ambient_capability_set,
    configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities,
    set_capabilities_secure_bits, set_no_new_privs,
};
use serde::{Deserialize, Serialize};

use super::cgroup;
use super::exec_spec::{Exec, Output, Purpose};
use super::fixed_project;
use super::identity;
use super::lack::Lack;
use super::landlock::Landlock;
use super::lent::Lent;
use super::mounts::{self, Mounts, MountsError};
use super::rlimit_mark::RlimitMark;
use super::rlimits::Rlimits;

/// The verb, as the first argument of the binary.
pub const VERB: &str = "exec";

/// Everything the helper must know: what goes over its stdin.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Instructions {
    pub(super) command: Exec,
    pub(super) directory: PathBuf,
    pub(super) credentials: Option<Credentials>,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) output: Output,
    pub(super) identity: Option<Purpose>,
    pub(super) cgroups: Vec<PathBuf>,
    pub(super) rlimit_mark: RlimitMark,
    pub(super) mounts: Option<Mounts>,
    pub(super) landlock: Option<Landlock>,
    pub(super) lent: Lent,
    pub(super) nice: Option<i32>,
    pub(super) umask: u32,
    pub(super) rlimits: Rlimits,
    pub(super) fixed_project: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Credentials {
    pub(super) user: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) groups: Vec<u32>,
}

/// Which step of the set-up failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    Instructions,
    /// `setsid(2)`, `keyctl(2)`.
    Session,
    /// `setrlimit(2)`, `setpriority(2)`.
    Limits,
    Streams,
    Identity,
    /// `unshare(2)`, `mount(2)`.
    Mounts,
    Account,
    Directory,
    /// `PR_SET_NO_NEW_PRIVS`, capabilities.
    Privileges,
    /// `execve(2)`.
    Exec,
}

/// What goes over the error pipe, one word a line. No `Failed` among them: the command runs.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Word {
    Failed(SetupFailure),
    Lacks(Lack),
}

/// Which step failed, and why.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SetupFailure {
    pub(super) step: Step,
    pub(super) reason: String,
    /// The machine lacks something that another app may be using up: nothing is wrong with this one.
    pub(super) is_shortage: bool,
}

impl SetupFailure {
    fn new(step: Step, what: impl std::fmt::Display, why: impl Into<io::Error>) -> Self {
        let why = why.into();
        Self {
            step,
            reason: format!("{what}: {why}"),
            is_shortage: is_shortage(&why),
        }
    }
}

/// Whether the machine has too few processes (or the app's user has too many: execve(2) tells that after setuid(2)), or
/// too little memory, too few descriptors or too little disk space.
fn is_shortage(error: &io::Error) -> bool {
    use rustix::io::Errno;
    const SHORTAGES: [Errno; 6] = [
        Errno::AGAIN,
        Errno::NOMEM,
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOSPC,
        Errno::DQUOT,
    ];
    Errno::from_io_error(error).is_some_and(|errno| SHORTAGES.contains(&errno))
}

/// Runs the verb. Call it before there is any other thread. It becomes another program, or reports why not and exits
/// with code 1.
pub fn run() -> ! {
    let Ok(mut report) =
        rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3).map(File::from)
    else {
        std::process::exit(1);
    };
    close_inherited(report.as_raw_fd());
    let Err(failure) = become_command(&mut report);
    tell(&mut report, &Word::Failed(failure));
    std::process::exit(1);
}

fn tell(report: &mut File, word: &Word) {
    if let Ok(mut text) = serde_json::to_vec(word) {
        text.push(b'\n');
        // Nobody is left to tell when the daemon is gone.
        let _ = report.write_all(&text);
    }
}

/// Closes what the daemon itself had inherited without close-on-exec (a shell's, systemd's sockets): an app must get
/// no descriptor but its three. At this point nothing in this process owns one above them but `report`.
fn close_inherited(report: RawFd) {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else {
        return;
    };
    let open: Vec<RawFd> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    for fd in open.into_iter().filter(|fd| *fd > 2 && *fd != report) {
        // EBADF: the one of the listing itself, closed with it.
        let _ = nix::unistd::close(fd);
    }
}

fn become_command(report: &mut File) -> Result<std::convert::Infallible, SetupFailure> {
    let mut instructions = read_instructions()?;
    rustix::process::setsid().map_err(|e| SetupFailure::new(Step::Session, "setsid", e))?;
    leave_keyring().map_err(|e| SetupFailure::new(Step::Session, "keyctl", e))?;
    for group in &instructions.cgroups {
        // The daemon looks whether it worked: without a group, what this starts is found in other ways.
        let _ = cgroup::enter(group);
    }
    set_limits(&instructions, report)?;
    connect_streams(&instructions)?;
    if let Some(purpose) = &instructions.identity {
        // Now, not just before exec: the runtime directory belongs to the daemon's user.
        let uid = instructions.credentials.as_ref().map(|c| c.uid);
        let uid = uid.unwrap_or_else(|| nix::unistd::geteuid().as_raw());
        identity::record_self(purpose, uid)
            .map_err(|e| SetupFailure::new(Step::Identity, purpose.directory.display(), e))?;
    }
    let variables = instructions.lent.open_files();
    let variables =
        variables.map_err(|e| SetupFailure::new(Step::Streams, "a file that is lent", e))?;
    instructions.environment.extend(variables);
    confine(&instructions, report)?;
    if let Some(credentials) = &instructions.credentials {
        let kept = kept_capabilities(&instructions);
        close_bounding_set(credentials, kept)?;
        // Without, changing the user takes all.
        let _ = rustix::thread::set_keep_capabilities(!kept.is_empty());
        switch_to(credentials)?;
    }
    std::env::set_current_dir(&instructions.directory)
        .map_err(|e| SetupFailure::new(Step::Directory, instructions.directory.display(), e))?;
    drop_privileges(kept_capabilities(&instructions))?;
    // Root could leave its project in other ways, too.
    if instructions.fixed_project
        && !rustix::process::geteuid().is_root()
        && let Err(error) = fixed_project::apply()
    {
        tell(report, &Word::Lacks(Lack::FixedProject(error.to_string())));
    }
    Err(replace_self(&instructions))
}

/// Leaves the session keyring (keyrings(7)) of who has started the server, whose keys all that has it can use, for an
/// empty one. As root: the keys that a user may have are so few that an app could use them up beforehand.
fn leave_keyring() -> io::Result<()> {
    match keyutils_raw::keyctl_join_session_keyring(None) {
        Ok(_) => Ok(()),
        Err(e) => match Errno::from_raw(e.0) {
            // The kernel has no keys, or the container lets nothing that runs in it come to them.
            Errno::ENOSYS | Errno::EPERM => Ok(()),
            e => Err(e.into()),
        },
    }
}

/// Takes out of its reach what belongs to the server and to others. Their owners protect most of it, too: that a kernel or
/// a container does not let us is no reason to start nothing.
fn confine(instructions: &Instructions, report: &mut File) -> Result<(), SetupFailure> {
    // Before landlock, which forbids to mount.
    match instructions.mounts.as_ref().map(Mounts::apply) {
        None => {}
        Some(Ok(())) => {
            if let Err(error) = mounts::hide_processes() {
                tell(report, &Word::Lacks(Lack::Processes(error.to_string())));
            }
            if let Err(error) = mounts::leave_ipc() {
                tell(report, &Word::Lacks(Lack::Ipc(error.to_string())));
            }
        }
        Some(Err(error @ MountsError::Refused(..))) => {
            tell(report, &Word::Lacks(Lack::Mounts(error.to_string())));
        }
        Some(Err(MountsError::Stuck(what, error))) => {
            return Err(SetupFailure::new(Step::Mounts, what, error));
        }
    }
    // While every directory on the way can be read.
    if let Some(Err(error)) = instructions.landlock.as_ref().map(Landlock::apply) {
        tell(report, &Word::Lacks(Lack::Landlock(error.to_string())));
    }
    Ok(())
}

fn read_instructions() -> Result<Instructions, SetupFailure> {
    let mut text = Vec::new();
    io::stdin()
        .read_to_end(&mut text)
        .map_err(|e| SetupFailure::new(Step::Instructions, "stdin", e))?;
    serde_json::from_slice(&text).map_err(|e| {
        SetupFailure::new(
            Step::Instructions,
            "stdin is no specification (`exec` is for the daemon's own use)",
            e,
        )
    })
}

fn set_limits(instructions: &Instructions, report: &mut File) -> Result<(), SetupFailure> {
    rustix::process::umask(Mode::from_raw_mode(instructions.umask));
    let lacks = instructions.rlimits.apply();
    for lack in lacks.map_err(|e| SetupFailure::new(Step::Limits, "limits of resources", e))? {
        tell(report, &Word::Lacks(lack));
    }
    if let Some(limits) = instructions.lent.limits {
        limits
            .apply()
            .map_err(|e| SetupFailure::new(Step::Limits, "limits", e))?;
    }
    // Without it, what leaves session and environment behind is found only in a control group.
    let _ = instructions.rlimit_mark.put_on();
    // The daemon may be protected from the OOM killer; its apps are what it should take instead. Not where /proc is
    // read-only, which is no reason to start nothing.
    let _ = std::fs::write("/proc/self/oom_score_adj", "0");
    if let Some(nice) = instructions.nice {
        rustix::process::setpriority_process(None, nice)
            .map_err(|e| SetupFailure::new(Step::Limits, format!("nice {nice}"), e))?;
    }
    Ok(())
}

fn connect_streams(instructions: &Instructions) -> Result<(), SetupFailure> {
    let failed = |what: &Path, e: io::Error| SetupFailure::new(Step::Streams, what.display(), e);
    match &instructions.output {
        Output::Terminal { path } => {
            return connect_terminal(path).map_err(|e| failed(path, e));
        }
        Output::Pipes { directory } => {
            return connect_pipes(directory).map_err(|e| failed(directory, e));
        }
        Output::Pipe | Output::Fifos { .. } => {}
    }
    let null = Path::new("/dev/null");
    let input = match instructions.lent.open_stdin() {
        Ok(Some(input)) => input,
        Ok(None) => File::open(null).map_err(|e| failed(null, e))?.into(),
        Err(e) => return Err(failed(Path::new("stdin"), e)),
    };
    rustix::stdio::dup2_stdin(&input).map_err(|e| failed(null, e.into()))?;
    let result = instructions.lent.open_stdout();
    let result = result.map_err(|e| failed(Path::new("a place for the result"), e))?;
    match &instructions.output {
        Output::Pipe if let Some(result) = &result => {
            rustix::stdio::dup2_stdout(result).map_err(|e| failed(Path::new("stdout"), e.into()))
        }
        Output::Pipe => rustix::stdio::dup2_stdout(rustix::stdio::stderr())
            .map_err(|e| failed(Path::new("stderr"), e.into())),
        Output::Fifos { directory } => {
            let path = directory.join("stdout");
            let fifo = open_fifo(&path).map_err(|e| failed(&path, e))?;
            rustix::stdio::dup2_stdout(&fifo).map_err(|e| failed(&path, e.into()))?;
            let path = directory.join("stderr");
            let fifo = open_fifo(&path).map_err(|e| failed(&path, e))?;
            rustix::stdio::dup2_stderr(&fifo).map_err(|e| failed(&path, e.into()))
        }
        Output::Terminal { .. } | Output::Pipes { .. } => Ok(()),
    }
}

/// Makes a terminal the controlling one of this session, and all three streams.
fn connect_terminal(path: &Path) -> io::Result<()> {
    let terminal = open_stream(path, OpenOptions::new().read(true).write(true))?;
    // Fails where it is no terminal.
    rustix::process::ioctl_tiocsctty(&terminal)?;
    rustix::stdio::dup2_stdin(&terminal)?;
    rustix::stdio::dup2_stdout(&terminal)?;
    Ok(rustix::stdio::dup2_stderr(&terminal)?)
}

/// Opens FIFOs as pipes: each for one direction, so that an end that is closed is noticed at the other.
fn connect_pipes(directory: &Path) -> io::Result<()> {
    let open = |name: &str, options: &mut OpenOptions| {
        let file = open_stream(&directory.join(name), options)?;
        match file.metadata()?.file_type().is_fifo() {
            true => Ok(file),
            false => Err(io::Error::other(format!("{name} is not a FIFO"))),
        }
    };
    rustix::stdio::dup2_stdin(&open("in", OpenOptions::new().read(true))?)?;
    rustix::stdio::dup2_stdout(&open("out", OpenOptions::new().write(true))?)?;
    Ok(rustix::stdio::dup2_stderr(&open(
        "err",
        OpenOptions::new().write(true),
    )?)?)
}

fn open_stream(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NOCTTY;
    options.custom_flags(flags.bits().cast_signed()).open(path)
}

/// Opens a FIFO read-write: fifo(7) says that this neither blocks on Linux nor ever lacks a reader, so a daemon that
/// is gone costs the app no SIGPIPE.
fn open_fifo(path: &Path) -> io::Result<OwnedFd> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NOCTTY).bits().cast_signed())
        .open(path)?;
    if !file.metadata()?.file_type().is_fifo() {
        return Err(io::Error::other("is not a FIFO"));
    }
    Ok(file.into())
}

fn switch_to(credentials: &Credentials) -> Result<(), SetupFailure> {
    let failed = |what: &str, e: nix::Error| {
        SetupFailure::new(
            Step::Account,
            format!("cannot become user \"{}\": {what}", credentials.user),
            e,
        )
    };
    let (uid, gid) = (
        Uid::from_raw(credentials.uid),
        Gid::from_raw(credentials.gid),
    );
    let groups: Vec<Gid> = credentials
        .groups
        .iter()
        .map(|gid| Gid::from_raw(*gid))
        .collect();
    nix::unistd::setgroups(&groups).map_err(|e| failed("setgroups", e))?;
    nix::unistd::setresgid(gid, gid, gid).map_err(|e| failed("setresgid", e))?;
    nix::unistd::setresuid(uid, uid, uid).map_err(|e| failed("setresuid", e))?;
    if !uid.is_root() && nix::unistd::setuid(Uid::from_raw(0)).is_ok() {
        return Err(SetupFailure::new(
            Step::Account,
            format!("user \"{}\"", credentials.user),
            io::Error::other("root could be regained, so nothing was started"),
        ));
    }
    Ok(())
}

/// Keeps all that this starts from gaining a capability, whatever a file or a user namespace offers. A command that
/// runs as root keeps what root has.
fn close_bounding_set(credentials: &Credentials, kept: CapabilitySet) -> Result<(), SetupFailure> {
    if credentials.uid == 0 {
        return Ok(());
    }
    for (_, capability) in (CapabilitySet::all() - kept).iter_names() {
        match remove_capability_from_bounding_set(capability) {
            // A kernel that does not know it has nothing to give.
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            // A container may have taken CAP_SETPCAP from root: then only the capabilities that are dropped below
            // protect.
            Err(rustix::io::Errno::PERM) => return Ok(()),
            Err(e) => return Err(SetupFailure::new(Step::Privileges, "bounding set", e)),
        }
    }
    Ok(())
}

/// Gives up what even a command of the same user must not have: ways to gain privileges, and capabilities that a
/// daemon that is not root was lent (to bind port 80).
fn drop_privileges(kept: CapabilitySet) -> Result<(), SetupFailure> {
    let failed = |what, e: rustix::io::Errno| SetupFailure::new(Step::Privileges, what, e);
    set_no_new_privs(true).map_err(|e| failed("no_new_privs", e))?;
    clear_ambient_capability_set().map_err(|e| failed("ambient capabilities", e))?;
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    // A container may have taken what is lent from root itself: then the command does without.
    if kept.is_empty() || keep(kept).is_err() {
        return set_capabilities(None, sets(CapabilitySet::empty(), CapabilitySet::empty()))
            .map_err(|e| failed("capabilities", e));
    }
    Ok(())
}

/// Keeps lent capabilities over execve(2). access(2), by which git asks, ignores them for a user that is not root,
/// unless a securebit separates users from capabilities (capabilities(7)).
fn keep(kept: CapabilitySet) -> rustix::io::Result<()> {
    set_capabilities(None, sets(kept | CapabilitySet::SETPCAP, kept))?;
    set_capabilities_secure_bits(CapabilitiesSecureBits::NO_SETUID_FIXUP)?;
    set_capabilities(None, sets(kept, kept))?;
    configure_capability_in_ambient_set(kept, true)
}

fn sets(own: CapabilitySet, inheritable: CapabilitySet) -> CapabilitySets {
    CapabilitySets {
        effective: own,
        permitted: own,
        inheritable,
    }
}

/// What root lends to a command of another user.
fn kept_capabilities(instructions: &Instructions) -> CapabilitySet {
    match instructions.lent.reads_all && instructions.credentials.is_some() {
        true => CapabilitySet::DAC_READ_SEARCH,
        false => CapabilitySet::empty(),
    }
}

/// Becomes the command. `exec` of std also unblocks all signals and sets SIGPIPE, which the Rust runtime ignores, to
/// its default.
fn replace_self(instructions: &Instructions) -> SetupFailure {
    let mut command = match &instructions.command {
        Exec::Shell(shell, text) => {
            let mut shell = Command::new(shell.path());
            shell.arg("-c").arg(text);
            shell
        }
        Exec::Program(words) => {
            let Some((program, arguments)) = words.split_first() else {
                return SetupFailure::new(Step::Exec, "command", io::Error::other("is empty"));
            };
            let mut command = Command::new(program);
            command.args(arguments);
            command
        }
    };
    let error = command.env_clear().envs(&instructions.environment).exec();
    SetupFailure::new(Step::Exec, command.get_program().display(), error)
}
