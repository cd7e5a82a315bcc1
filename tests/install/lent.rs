//! What programs of the server's own are lent.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use actix::prelude::*;
use nix::sys::stat::Mode;
use procserver::install::command::{self, Confined, Program};
use procserver::install::install_log::InstallLog;
use procserver::install::limits::{StepError, StepLimits};
use procserver::install::lines::Mask;
use procserver::logs::log::Append;
use procserver::process::landlock::Landlock;
use procserver::process::lent::Lent;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;

use crate::process::{until, use_real_helper};
use crate::support::machine::processes_of;

struct NoLog;

impl Actor for NoLog {
    type Context = Context<Self>;
}

impl Handler<Append> for NoLog {
    type Result = ();
    fn handle(&mut self, _: Append, _: &mut Self::Context) {}
}

/// A FIFO of which only the end to read is open: it tells if anybody has ever opened the other.
fn bait(path: &Path) -> File {
    nix::unistd::mkfifo(path, Mode::S_IRWXU).unwrap();
    let mut options = File::options();
    options
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    options.open(path).unwrap()
}

fn was_written_to(bait: &File) -> bool {
    let mut looked = [PollFd::new(bait, PollFlags::IN)];
    poll(&mut looked, Some(&Timespec::default())).unwrap() > 0
}

/// A program in confinement, whose instance is `home`.
fn confined(name: &'static str, arguments: &[&str], home: &Path) -> Program {
    let path = "/usr/local/bin:/usr/bin:/bin".to_owned();
    Program {
        name,
        arguments: arguments.iter().map(|a| (*a).to_owned()).collect(),
        environment: BTreeMap::from([("PATH".to_owned(), path)]),
        quiet: true,
        confined: Some(Box::new(Confined {
            account: None,
            landlock: Landlock {
                protected: vec![],
                writable: vec![],
                sockets: vec![],
            },
            nice: None,
            instance: home.display().to_string(),
            lent: Lent::default(),
        })),
        ..Program::default()
    }
}

fn tasks() -> usize {
    tokio::runtime::Handle::current()
        .metrics()
        .num_alive_tasks()
}

#[actix::test]
async fn a_program_whose_start_is_cancelled_is_over_when_that_is_told() {
    use_real_helper();
    let home = tempfile::tempdir().unwrap();
    let made = home.path().join("made");
    let script = format!("touch {}; exec sleep 60", made.display());
    let program = confined("sh", &["-c", &script], home.path());
    let log = InstallLog::new(NoLog.start().recipient(), 1, Mask::new::<Vec<u8>>([]));
    let (cancel, cancelled) = tokio::sync::watch::channel(false);
    let limits = StepLimits::new(Duration::from_secs(60), cancelled);
    let before = tasks();
    let mut run = pin!(command::run(&program, &log, &limits));
    assert!(futures::poll!(run.as_mut()).is_pending());
    assert!(tasks() > before, "it is being started");
    cancel.send_replace(true);
    let told = run.await;
    assert!(matches!(told, Err(StepError::Cancelled)), "{told:?}");
    assert_eq!(processes_of(home.path()), Vec::<i32>::new());
    assert_eq!(tasks(), before, "nobody is at work for it any more");
}

#[actix::test]
async fn a_program_that_nobody_waits_for_any_more_opens_no_file_of_others() {
    use_real_helper();
    let home = tempfile::tempdir().unwrap();
    let program = confined("true", &[], home.path());
    let log = InstallLog::new(NoLog.start().recipient(), 1, Mask::new::<Vec<u8>>([]));
    let (_wanted, cancel) = tokio::sync::watch::channel(false);
    let limits = StepLimits::new(Duration::from_secs(60), cancel);
    let before = tasks();
    {
        let mut run = pin!(command::run(&program, &log, &limits));
        assert!(futures::poll!(run.as_mut()).is_pending());
        assert!(tasks() > before, "it is started in a task of its own");
    }
    // What was lent has numbers; the next files would get them.
    let baits: Vec<_> = (0..16)
        .map(|n| bait(&home.path().join(n.to_string())))
        .collect();
    until("the program is over", || tasks() == before).await;
    assert!(!baits.iter().any(was_written_to));
}
