//! The grace of a stop: one signal to each process of an instance, and one time for all of them to end in.
//!
//! The signal goes to the leader's group as one, so that a fork in progress cannot escape it, and to every process that
//! has left the group. The instance has ended when none of them is left.
//!
//! A shell that only waits for the command (`/bin/sh -c 'cd app && ./web'`) would die of the signal at once, and nobody
//! would learn how the command ended. So the shell is stopped (SIGSTOP) meanwhile. The command then stays a zombie, of
//! which `/proc` tells how it ended; the shell ends last.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::process::Signal;

use super::missed::Signalled;
use super::{Target, Unique, signal};
use crate::document::config::StopTo;
use crate::exit_status::ExitStatus;
use crate::priority;
use crate::process::procfs::{self, Stat};
use crate::process::running;

/// Between two looks, where the kernel announces nothing.
const PAUSE: Duration = Duration::from_millis(5);

/// How long a process takes at most to be held: it stops on its way back from the kernel.
const HOLD: Duration = Duration::from_millis(200);

/// What a stop waits for.
enum Next {
    /// The end of the process of this pidfd, where it could be opened.
    End(Option<OwnedFd>),
    /// The control group still counts a process that has ended.
    Burial,
    /// Nothing of the instance lives.
    Nothing,
}

/// The end of the command itself, which may have started others.
#[derive(Debug, Default)]
pub(super) struct CommandEnd {
    /// Only what it has started is left.
    pub(super) has_ended: bool,
    /// How it ended, where a shell waited for it.
    pub(super) status: Option<ExitStatus>,
}

#[derive(Clone, Debug)]
pub(super) struct Grace {
    target: Target,
    signal: Signal,
    /// The shell that is held.
    shell: Option<Unique>,
    /// How the command ended for which the shell waits.
    status: Option<ExitStatus>,
    /// The processes that get the signal first; the others get it when these have ended.
    main: BTreeSet<Unique>,
    asked: BTreeSet<Unique>,
    signalled: Signalled,
}

impl Grace {
    pub(super) fn new(target: Target, signal: Signal) -> Self {
        Self {
            target,
            signal,
            shell: None,
            status: None,
            main: BTreeSet::new(),
            asked: BTreeSet::new(),
            signalled: Signalled::default(),
        }
    }

    pub(super) async fn ask(&mut self, to: StopTo) {
        self.sweep(move |grace| grace.ask_now(to)).await;
    }

    /// Waits until nothing of the instance lives.
    pub(super) async fn ended(&mut self) {
        loop {
            match self.sweep(Self::advance).await {
                Some(Next::Nothing) => return,
                Some(Next::End(pidfd)) => until_end(pidfd).await,
                Some(Next::Burial) | None => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// Whether the command has ended, and how.
    pub(super) async fn command_end(&mut self) -> CommandEnd {
        let end = self.sweep(|grace| CommandEnd {
            has_ended: grace.has_command_ended(),
            status: grace.status(),
        });
        end.await.unwrap_or_default()
    }

    fn status(&self) -> Option<ExitStatus> {
        let shell = self.shell.filter(|_| self.has_command_ended());
        self.status
            .or_else(|| shell.and_then(|shell| status_of_child(shell.pid)))
    }

    fn has_command_ended(&self) -> bool {
        !self.command().iter().any(|process| process.is_alive())
    }

    /// What is left, for those who kill it.
    pub(super) fn into_target(self) -> Target {
        self.target
    }

    /// Runs what reads `/proc` on a thread for what blocks. `None`: the runtime is shutting down, and nothing can be
    /// swept any more.
    async fn sweep<T: Send + 'static>(
        &mut self,
        sweep: impl FnOnce(&mut Self) -> T + Send + 'static,
    ) -> Option<T> {
        let mut grace = self.clone();
        let swept = tokio::task::spawn_blocking(move || {
            let found = priority::urgently(|| sweep(&mut grace));
            (grace, found)
        });
        let (grace, found) = swept.await.ok()?;
        *self = grace;
        Some(found)
    }

    /// Tells those whose turn has come, and says what is waited for next.
    fn advance(&mut self) -> Next {
        if self.next().is_none() && !self.target.is_gone() {
            self.look();
            if self.next().is_none() && self.shell.is_some() {
                self.let_shell_go();
            }
        }
        if self.target.is_gone() {
            return Next::Nothing;
        }
        let Some(process) = self.next() else {
            return Next::Burial;
        };
        let pidfd = running::open(process.pid).ok();
        // After the pidfd is open: what is checked now is what is held.
        match process.is_alive() {
            true => Next::End(pidfd),
            false => self.advance(),
        }
    }

    /// One that is waited for.
    fn next(&self) -> Option<Unique> {
        let awaited = |process: &&Unique| Some(**process) != self.shell && process.is_alive();
        let all = match self.main.is_empty() {
            true => &self.target.known,
            false => &self.main,
        };
        all.iter().find(awaited).copied()
    }

    fn ask_now(&mut self, to: StopTo) {
        self.target.remember();
        if self.target.known.is_empty() {
            return;
        }
        self.hold_shell();
        if to == StopTo::Main {
            self.main = self.command();
        }
        if self.main.is_empty() {
            self.ask_all();
        } else {
            for process in self.main.clone() {
                self.ask_one(process);
            }
        }
    }

    fn ask_all(&mut self) {
        self.target.signal_group(self.signal);
        let group = self.target.group().and(self.target.leader);
        for process in self.target.known.clone() {
            let Some(stat) = procfs::stat(process.pid) else {
                continue;
            };
            if group.is_some_and(|leader| stat.group == leader.pid) {
                self.asked.insert(process);
                self.wake(process, &stat);
            } else {
                self.ask_one(process);
            }
        }
        self.signalled = Signalled::new(self.leader(), procfs::now());
    }

    fn ask_one(&mut self, process: Unique) {
        if self.asked.insert(process) && Some(process) != self.shell {
            signal(process, self.signal);
            if let Some(stat) = procfs::stat(process.pid) {
                self.wake(process, &stat);
            }
        }
    }

    /// A stopped process takes no signal.
    fn wake(&self, process: Unique, stat: &Stat) {
        if stat.state == 'T' && Some(process) != self.shell {
            signal(process, Signal::CONT);
        }
    }

    /// Looks what is left, and tells those that were on their way out of the group as it got the signal.
    fn look(&mut self) {
        self.target.remember();
        if self.main.iter().any(|process| process.is_alive()) {
            return;
        }
        if !self.main.is_empty() {
            self.main.clear();
            return self.ask_all();
        }
        let unasked = self.target.known.difference(&self.asked);
        let unasked: Vec<(Unique, Stat)> = unasked
            .filter_map(|process| Some((*process, procfs::stat(process.pid)?)))
            .collect();
        let missed = self.signalled.missed(&unasked);
        for process in &missed {
            self.ask_one(*process);
        }
        let told = unasked.iter().filter(|(one, _)| missed.contains(one));
        self.signalled
            .told(told.map(|(_, stat)| stat), procfs::now());
    }

    fn leader(&self) -> Option<u32> {
        self.target.leader.map(|leader| leader.pid)
    }

    /// Holds the leader, if that is a shell that waits for what it has started and leaves the signal to others.
    fn hold_shell(&mut self) {
        let Some(shell) = self.target.leader.filter(|shell| shell.is_alive()) else {
            return;
        };
        let is_own = |child: &Unique| is_child(*child, shell);
        let waits = self.target.known.iter().any(is_own);
        let number = self.signal.as_raw();
        if !waits || !procfs::is_shell(shell.pid) || procfs::minds(shell.pid, number) {
            return;
        }
        signal(shell, Signal::STOP);
        let tries = HOLD.as_millis() / PAUSE.as_millis() * 5;
        for _ in 0..tries {
            match procfs::stat(shell.pid) {
                Some(stat) if stat.state == 'T' => {
                    self.shell = Some(shell);
                    return;
                }
                Some(_) => std::thread::sleep(PAUSE / 5),
                None => return,
            }
        }
        signal(shell, Signal::CONT);
    }

    /// The command itself: the leader, or what the shell waits for that leads.
    fn command(&self) -> BTreeSet<Unique> {
        let Some(shell) = self.shell else {
            return self.target.leader.into_iter().collect();
        };
        let known = self.target.known.iter().copied();
        known.filter(|child| is_child(*child, shell)).collect()
    }

    /// All but the shell have ended: notes how its command did, then ends it as well.
    fn let_shell_go(&mut self) {
        if let Some(shell) = self.shell.take() {
            self.status = status_of_child(shell.pid);
            signal(shell, self.signal);
            signal(shell, Signal::CONT);
            self.asked.insert(shell);
        }
        self.look();
    }
}

fn is_child(child: Unique, parent: Unique) -> bool {
    procfs::stat(child.pid).is_some_and(|stat| stat.is_alive() && stat.parent == parent.pid)
}

/// How the last command ended that a shell has started and not waited for.
fn status_of_child(shell: u32) -> Option<ExitStatus> {
    let dead = |stat: &Stat| stat.parent == shell && !stat.is_alive();
    let children = procfs::pids().filter_map(|pid| {
        let stat = procfs::stat(pid).filter(dead)?;
        Some((stat.start_time, pid))
    });
    procfs::exit_status(children.max()?.1, shell)
}

/// Resolves when the process of a pidfd has ended. Cancel safe.
async fn until_end(pidfd: Option<OwnedFd>) {
    // Without a descriptor, looks are all there is.
    let Some(pidfd) = pidfd.and_then(|pidfd| running::watch(pidfd).ok()) else {
        return tokio::time::sleep(20 * PAUSE).await;
    };
    if pidfd.readable().await.is_err() {
        std::future::pending::<()>().await;
    }
}
