//! [`GitService`]: a git that serves a client of git: who pushes to a mirror, or clones it.
//!
//! It is the real git, confined like the one that fetches: as the app's user in git's own group, writing nowhere but to
//! the mirror, bounded in memory. What is pushed is checked by git (fsck) and kept apart until it is whole. Then git asks
//! its hook `proc-receive` (githooks(5)) what becomes of each ref. That hook only passes on what is said: the server
//! answers, through pipes that nothing else on the machine has.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::process::ChildStderr;

use super::git;
use super::git_request::{Exchange, Service};
use super::pushed::{Pushed, Slot};
use super::started::{Start, Started, Tree};
use crate::durable;
use crate::exit_status::ExitStatus;
use crate::process::lent::LentPipe;
use crate::process::spawn::SpawnError;
use crate::regular;

/// The most that is taken of one push; git's own notation.
const MAX_PACK: &str = "1g";

/// It says nothing of its own. It ends when the server has closed its ends, also where that has not read all that git
/// asks: git waits for the end of the answers, and closes what it asks by only then.
const HOOK: &str = "#!/bin/sh\n\
# Written by procserver: git asks here what becomes of a push, and the server answers.\n\
exec 3<&0\n\
cat <\"$PROCSERVER_TELLS\" >&2 &\n\
told=$!\n\
cat <&3 >\"$PROCSERVER_ASKS\" 2>/dev/null &\n\
cat <\"$PROCSERVER_ANSWERS\"\n\
wait $told\n";

/// The longest hook; bytes.
const MAX_HOOK: u64 = 4096;

/// A git that runs. It is killed when this is dropped.
pub struct GitService {
    tree: Tree,
    /// Takes the request.
    pub stdin: Sender,
    /// Gives the answer.
    pub stdout: Receiver,
    /// What it says to nobody: for the server's log.
    pub stderr: Option<ChildStderr>,
    /// Of [`Service::Receive`].
    pub hook: Option<Hook>,
}

/// The server's ends of the hook's pipes.
pub struct Hook {
    /// What git asks.
    pub asks: Receiver,
    /// What becomes of the refs.
    pub answers: Sender,
    /// What people see of it (`remote: …`).
    pub tells: Sender,
}

/// The ends of pipes that git gets, until it has them.
struct Given {
    pipes: Vec<(&'static str, LentPipe)>,
    files: Vec<Arc<OwnedFd>>,
}

impl std::fmt::Debug for GitService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GitService").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hook").finish_non_exhaustive()
    }
}

impl GitService {
    /// Starts `service` on `pushed` for one `exchange`. `protocol` is what the client wants (git-config(1),
    /// `protocol.version`).
    ///
    /// # Errors
    /// It cannot be started.
    pub async fn start(
        pushed: &Pushed,
        slot: &Slot<'_>,
        service: Service,
        exchange: Exchange,
        protocol: Option<&str>,
    ) -> Result<Self, SpawnError> {
        let path = pushed.path().display().to_string();
        let mut arguments = vec![service.name().trim_start_matches("git-")];
        arguments.extend(exchange.flags());
        arguments.push(&path);
        let mut program = pushed.program(slot, &arguments);
        program.environment.remove("GIT_DIR");
        if let Some(protocol) = protocol.filter(|protocol| is_protocol(protocol)) {
            program
                .environment
                .insert("GIT_PROTOCOL".into(), protocol.into());
        }
        let hooks = pushed.hooks();
        let hooks_path = hooks.display().to_string();
        for (key, value) in [
            // It is root's, and git is not.
            ("safe.directory", path.as_str()),
            ("core.hooksPath", &hooks_path),
            ("receive.procReceiveRefs", "refs"),
            ("receive.fsckObjects", "true"),
            ("receive.maxInputSize", MAX_PACK),
            ("receive.autogc", "false"),
            ("transfer.hideRefs", "refs/procserver"),
            ("pack.threads", "1"),
        ] {
            git::set(&mut program, key, value);
        }
        let Some(mut confined) = program.confined.take() else {
            return Err(SpawnError::Host(io::Error::other("git is not confined")));
        };
        let owner = confined
            .account
            .as_ref()
            .map(|account| (account.uid, account.gid));
        let mut given = Given {
            pipes: Vec::new(),
            files: Vec::new(),
        };
        let (stdin, input) = given.read_by(owner, "").map_err(SpawnError::Host)?;
        let (stdout, output) = given.written_by(owner, "").map_err(SpawnError::Host)?;
        confined.lent.stdin = Some(input.into());
        confined.lent.stdout = Some(output.into());
        let mut hook = None;
        if service == Service::Receive && exchange != Exchange::Advertisement {
            let pushed = pushed.clone();
            let written = tokio::task::spawn_blocking(move || pushed.write_hook(&hooks, HOOK));
            let written = written.await.unwrap_or_else(|e| Err(io::Error::other(e)));
            written.map_err(SpawnError::Host)?;
            hook = Some(given.hook(owner).map_err(SpawnError::Host)?);
        }
        let pipes = given.pipes.iter().cloned();
        confined.lent.pipes = pipes.map(|(name, pipe)| (name.to_owned(), pipe)).collect();
        let Started {
            output: stderr,
            tree,
            ..
        } = Start::of(confined.spec(&program)).done().await?;
        drop(given);
        Ok(Self {
            tree,
            stdin,
            stdout,
            stderr,
            hook,
        })
    }

    /// Splits it, so that its parts can be used at the same time.
    #[must_use]
    pub fn into_parts(self) -> (Sender, Receiver, Option<Hook>, Option<ChildStderr>, Running) {
        (
            self.stdin,
            self.stdout,
            self.hook,
            self.stderr,
            Running(self.tree),
        )
    }
}

/// A git that runs. It is killed when this is dropped.
pub struct Running(Tree);

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").finish_non_exhaustive()
    }
}

impl Running {
    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        self.0.ended().await
    }

    /// Ends it, with all that it started.
    pub async fn kill(&mut self) {
        self.0.kill().await;
    }
}

impl Given {
    /// A pipe from which git reads.
    fn read_by(
        &mut self,
        owner: Option<(u32, u32)>,
        name: &'static str,
    ) -> io::Result<(Sender, Arc<OwnedFd>)> {
        let (reader, writer) = io::pipe()?;
        let reader = self.give(OwnedFd::from(reader), owner)?;
        if !name.is_empty() {
            self.pipes
                .push((name, LentPipe::Reads(Arc::clone(&reader).into())));
        }
        Ok((Sender::from_owned_fd(writer.into())?, reader))
    }

    /// A pipe to which git writes.
    fn written_by(
        &mut self,
        owner: Option<(u32, u32)>,
        name: &'static str,
    ) -> io::Result<(Receiver, Arc<OwnedFd>)> {
        let (reader, writer) = io::pipe()?;
        let writer = self.give(OwnedFd::from(writer), owner)?;
        if !name.is_empty() {
            self.pipes
                .push((name, LentPipe::Writes(Arc::clone(&writer).into())));
        }
        Ok((Receiver::from_owned_fd(reader.into())?, writer))
    }

    /// The hook opens its pipes anew, as git's user: so they must be that one's.
    fn give(&mut self, end: OwnedFd, owner: Option<(u32, u32)>) -> io::Result<Arc<OwnedFd>> {
        if let Some((uid, gid)) = owner {
            std::os::unix::fs::fchown(&end, Some(uid), Some(gid))?;
        }
        let end = Arc::new(end);
        self.files.push(Arc::clone(&end));
        Ok(end)
    }

    fn hook(&mut self, owner: Option<(u32, u32)>) -> io::Result<Hook> {
        Ok(Hook {
            asks: self.written_by(owner, "PROCSERVER_ASKS")?.0,
            answers: self.read_by(owner, "PROCSERVER_ANSWERS")?.0,
            tells: self.read_by(owner, "PROCSERVER_TELLS")?.0,
        })
    }
}

impl Pushed {
    /// Writes the hook into `hooks`, where git may read and run it, and nobody else. Blocks.
    fn write_hook(&self, hooks: &PathBuf, text: &str) -> io::Result<()> {
        std::fs::create_dir_all(hooks)?;
        self.readable(hooks, 0o750)?;
        let hook = hooks.join("proc-receive");
        match regular::read(&hook, MAX_HOOK) {
            Ok(old) if old == text.as_bytes() => {}
            _ => durable::replace(&hook, text.as_bytes(), 0o750)?,
        }
        self.readable(&hook, 0o750)
    }
}

/// Whether this is a wish for a version of the protocol, and nothing else.
fn is_protocol(text: &str) -> bool {
    ["version=0", "version=1", "version=2"].contains(&text)
}
