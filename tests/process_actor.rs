//! The Process actor with real processes: started, crashed, stopped, taken over.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use actix::prelude::*;
use actix_rt::ArbiterHandle;
use procserver::document::config::{HealthCheck, StopPolicy, StopTo};
use procserver::document::limits::Limits;
use procserver::document::name::AppName;
use procserver::document::shell::Shell;
use procserver::exit_status::{ExitRecord, ExitStatus};
use procserver::logs::log::Log;
use procserver::logs::settings::LogSettings;
use procserver::process::phase::Phase;
use procserver::process::ports::Ports;
use procserver::process::users::Users;
use procserver::process::worker::{Origin, Process, ProcessChanged, ProcessSpec, Snapshot};
use procserver::process::{identity, survivors};
use procserver::supervision::{Child, ChildRef, Exit, Restart, Shutdown, monitor};
use rustix::process::{Pid, Signal};
use tokio::sync::mpsc;

use crate::process::{is_alive, pid_in, until, use_real_helper};

/// Takes the App's place.
struct Parent(mpsc::Sender<ProcessChanged>);

impl Actor for Parent {
    type Context = Context<Self>;
}

impl Handler<ProcessChanged> for Parent {
    type Result = ();

    fn handle(&mut self, change: ProcessChanged, _: &mut Self::Context) {
        // A test that has seen enough listens no more.
        self.0.try_send(change).expect("it is listened to");
    }
}

/// One slot of an app, over the lives of several actors.
struct Slot {
    root: tempfile::TempDir,
    spec: ProcessSpec,
    ports: Ports,
    log: ChildRef<Log>,
    parent: Addr<Parent>,
    changes: mpsc::Receiver<ProcessChanged>,
    exits: Vec<ExitRecord>,
}

impl Slot {
    fn new(command: &str) -> Self {
        use_real_helper();
        let root = tempfile::tempdir().expect("tempdir");
        let (sender, changes) = mpsc::channel(1000);
        let settings = LogSettings {
            directory: root.path().join("logs"),
            segment_size: 1 << 20,
            segments: 2,
            stored: Default::default(),
        };
        let spec = spec(root.path(), command);
        let log = ChildRef::default();
        log.set(Some(
            Log::new(settings, monitor::ExitReason::default()).start(),
        ));
        // Ranges of tests that run at the same time do not overlap: the port is probed.
        Self {
            spec,
            ports: Ports::new(20_000, 29_999),
            log,
            parent: Parent(sender).start(),
            changes,
            exits: Vec::new(),
            root,
        }
    }

    fn start(&self, origin: Origin) -> (Child<Process>, std::sync::mpsc::Receiver<Exit>) {
        let (spec, ports, log) = (self.spec.clone(), self.ports.clone(), self.log.clone());
        let parent = self.parent.clone().recipient();
        let (sender, exits) = std::sync::mpsc::channel();
        let child = monitor::start(
            &here(),
            move |_, exit| Process::new(spec, origin, ports, log, parent, exit),
            move |exit| {
                let _ = sender.send(exit);
            },
        );
        (child, exits)
    }

    /// The next state that `is_wanted`.
    async fn until(&mut self, what: &str, is_wanted: impl Fn(&Snapshot) -> bool) -> Snapshot {
        let wanted = async {
            loop {
                let change = self.changes.recv().await.expect("the parent lives");
                self.exits.extend(change.exited);
                if is_wanted(&change.snapshot) {
                    return change.snapshot;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), wanted)
            .await
            .unwrap_or_else(|_| panic!("never: {what}"))
    }

    async fn until_phase(&mut self, phase: Phase) -> Snapshot {
        let what = format!("{phase:?}");
        self.until(&what, |snapshot| snapshot.phase == phase).await
    }

    async fn stop(&mut self, child: &Child<Process>) -> Snapshot {
        child.addr.do_send(Shutdown);
        let last = self.until_phase(Phase::Stopped).await;
        assert!(
            !self.spec.instance_directory().exists(),
            "its directory is gone"
        );
        last
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn statuses(&self) -> Vec<ExitStatus> {
        self.exits.iter().map(|exit| exit.status).collect()
    }
}

/// A test that fails leaves nothing running either.
impl Drop for Slot {
    fn drop(&mut self) {
        for survivor in survivors::survivors(&self.spec.runtime, &Users::own()) {
            kill(survivor.pid);
        }
    }
}

fn here() -> ArbiterHandle {
    actix_rt::Arbiter::current()
}

fn spec(root: &Path, command: &str) -> ProcessSpec {
    let path = "/usr/local/bin:/usr/bin:/bin".to_owned();
    ProcessSpec {
        app: AppName::parse("demo").expect("a name"),
        id: "web.1".into(),
        process_type: "web".into(),
        commit: "c".repeat(40),
        release: 3,
        batch: 4,
        shell: Shell::Sh,
        command: command.into(),
        directory: root.to_owned(),
        account: None,
        one_off: None,
        environment: BTreeMap::from([("PATH".to_owned(), path)]),
        routed: true,
        limits: Limits::default(),
        health: HealthCheck {
            path: None,
            host: None,
            headers: BTreeMap::new(),
            status: Default::default(),
            interval: Duration::from_millis(50),
            timeout: Duration::from_secs(5),
            boot_timeout: Duration::from_secs(20),
        },
        stop: StopPolicy {
            to: StopTo::All,
            signal: 15,
            timeout: Duration::from_millis(300),
        },
        restart: Restart::Permanent,
        runtime: root.join("run"),
        preferred_port: None,
        mounts: None,
        landlock: None,
        start_permits: None,
    }
}

fn kill(pid: u32) {
    let pid = Pid::from_raw(pid.try_into().expect("a pid")).expect("a pid");
    rustix::process::kill_process(pid, Signal::KILL).expect("it runs");
}

const SERVER: &str = "exec python3 -m http.server --bind 127.0.0.1 $PORT";

#[actix::test]
async fn a_killed_process_is_unrouted_at_once_and_back_on_the_same_port() {
    let mut slot = Slot::new(SERVER);
    let (child, _exits) = slot.start(Origin::Spawn);
    let ready = slot.until_phase(Phase::Ready).await;
    let (pid, port) = (ready.pid.expect("a pid"), ready.port.expect("a port"));
    let expected = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    assert_eq!(ready.address, Some(expected.into()));

    kill(pid);
    let down = slot.until_phase(Phase::Backoff).await;
    assert_eq!((down.pid, down.address), (None, None));
    let begun = Instant::now();
    let again = slot.until_phase(Phase::Starting).await;
    assert!(
        begun.elapsed() < Duration::from_millis(500),
        "{:?}",
        begun.elapsed()
    );
    assert_ne!(again.pid, Some(pid));
    let again = slot.until_phase(Phase::Ready).await;
    assert_eq!((again.port, again.restarts), (Some(port), 1));

    let last = slot.stop(&child).await;
    assert_eq!(last.pid, None);
    assert_eq!(
        slot.statuses(),
        [ExitStatus::Signal(9), ExitStatus::Signal(15)]
    );
}

#[actix::test]
async fn a_process_finds_its_layer_of_the_environment() {
    let mut slot =
        Slot::new("env | grep -E '^P(ORT|S|ROCSERVER_.*)=' | sort >environment; sleep 77");
    slot.spec.routed = false;
    let (child, _exits) = slot.start(Origin::Spawn);
    let ready = slot.until_phase(Phase::Ready).await;
    let expected = format!(
        "PORT={}\nPROCSERVER_APP=demo\nPROCSERVER_COMMIT={}\nPROCSERVER_INSTANCE={}\nPROCSERVER_PROCESS=web.1\n\
         PROCSERVER_RELEASE=3\nPS=web.1\n",
        ready.port.expect("a port"),
        "c".repeat(40),
        slot.spec.instance_directory().display()
    );
    let found = std::fs::read_to_string(slot.path("environment")).expect("written");
    assert_eq!(found, expected);
    slot.stop(&child).await;
}

#[actix::test]
async fn a_command_that_is_not_found_says_so_and_waits_longer_each_time() {
    let mut slot = Slot::new("./no-such-web --port $PORT");
    let (child, exits) = slot.start(Origin::Spawn);
    slot.until("a second crash", |snapshot| {
        snapshot.restarts == 1 && snapshot.pid.is_none()
    })
    .await;
    let reason = slot.exits[0].reason.clone().expect("a reason");
    assert_eq!(slot.statuses(), [ExitStatus::Code(127); 2]);
    assert_eq!(reason, "command not found: ./no-such-web --port $PORT");
    // It waits about a second now: the stop does not.
    let begun = Instant::now();
    slot.stop(&child).await;
    assert!(
        begun.elapsed() < Duration::from_millis(700),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(slot.exits.len(), 2);
    until("the actor has ended", || {
        exits.try_recv() == Ok(Exit::Shutdown)
    })
    .await;
    assert!(!child.addr.connected());
}

#[actix::test]
async fn what_ignores_its_signal_is_killed_and_that_is_said() {
    let mut slot = Slot::new("trap '' TERM; echo $$ >pid; while :; do sleep 0.01; done");
    let (child, _exits) = slot.start(Origin::Spawn);
    let pid = pid_in(&slot.path("pid")).await;
    let last = slot.stop(&child).await.last_exit.expect("an exit");
    assert_eq!(last.status, ExitStatus::Signal(9));
    assert_eq!(
        last.reason.as_deref(),
        Some("killed after 300ms: ignored SIGTERM")
    );
    assert!(!is_alive(pid));
}

#[actix::test]
async fn a_child_in_its_own_session_survives_neither_crash_nor_stop() {
    let mut slot = Slot::new("rm -f child; setsid sleep 77 & echo $! >child; wait");
    slot.spec.routed = false;
    let (child, _exits) = slot.start(Origin::Spawn);
    let first = slot.until_phase(Phase::Ready).await;
    let orphan = pid_in(&slot.path("child")).await;
    kill(first.pid.expect("a pid"));
    let second = slot
        .until("a restart", |snapshot| snapshot.restarts == 1)
        .await;
    assert!(!is_alive(orphan), "it is gone before the restart");
    until("there is another", || {
        std::fs::read_to_string(slot.path("child"))
            .is_ok_and(|text| text != format!("{orphan}\n") && text.ends_with('\n'))
    })
    .await;
    let orphan = pid_in(&slot.path("child")).await;
    slot.stop(&child).await;
    assert!(!is_alive(orphan) && !is_alive(second.pid.expect("a pid")));
}

#[actix::test]
async fn a_successor_adopts_what_a_dead_actor_left_running() {
    let mut slot = Slot::new(SERVER);
    let (child, exits) = slot.start(Origin::Spawn);
    let ready = slot.until_phase(Phase::Ready).await;
    child.kill();
    until("the actor is dead", || exits.try_recv() == Ok(Exit::Killed)).await;

    let survivors = survivors::survivors(&slot.spec.runtime, &Users::own());
    let [survivor] = &survivors[..] else {
        panic!("one survivor: {survivors:?}");
    };
    assert_eq!(Some(survivor.pid), ready.pid);
    assert_eq!(Some(survivor.port), ready.port);
    assert_eq!(survivor.digest, slot.spec.digest());

    let (child, _exits) = slot.start(Origin::Adopt(survivor.clone()));
    let adopted = slot.until_phase(Phase::Ready).await;
    assert_eq!(
        (adopted.pid, adopted.address, adopted.restarts),
        (ready.pid, ready.address, 0)
    );
    assert!(adopted.started_at.is_some());
    // It is supervised as before.
    kill(survivor.pid);
    let again = slot
        .until("a restart", |snapshot| snapshot.restarts == 1)
        .await;
    assert_ne!(again.pid, ready.pid);
    assert_eq!(again.port, ready.port);
    slot.stop(&child).await;
    assert_eq!(slot.statuses()[0], ExitStatus::Signal(9));
}

#[actix::test]
async fn an_adopted_process_that_has_died_meanwhile_is_started_anew() {
    let mut slot = Slot::new(SERVER);
    let (child, exits) = slot.start(Origin::Spawn);
    let ready = slot.until_phase(Phase::Ready).await;
    let survivors = survivors::survivors(&slot.spec.runtime, &Users::own());
    child.kill();
    until("the actor is dead", || exits.try_recv() == Ok(Exit::Killed)).await;
    kill(ready.pid.expect("a pid"));
    until("it is dead", || !survivors[0].is_alive()).await;

    let (child, _exits) = slot.start(Origin::Adopt(survivors[0].clone()));
    // A last word of the first actor about the first process may still be under way.
    let is_new = |s: &Snapshot| s.phase == Phase::Ready && s.pid != ready.pid;
    slot.until("a new process is ready", is_new).await;
    slot.stop(&child).await;
    // A child of this daemon: the kernel still knows how it ended.
    assert_eq!(slot.statuses()[0], ExitStatus::Signal(9));
}

#[actix::test]
async fn the_child_of_a_dead_daemon_is_adopted_and_its_end_is_noticed() {
    let mut slot = Slot::new("echo new >>starts; exec sleep 77");
    slot.spec.routed = false;
    let survivor = foreign_process(&slot);
    let (child, _exits) = slot.start(Origin::Adopt(survivor.clone()));
    let ready = slot.until_phase(Phase::Ready).await;
    assert_eq!((ready.pid, ready.restarts), (Some(survivor.pid), 0));
    assert!(!slot.path("starts").exists());
    kill(survivor.pid);
    let again = slot
        .until("a restart", |snapshot| snapshot.restarts == 1)
        .await;
    assert_ne!(again.pid, ready.pid);
    assert_eq!(slot.statuses(), [ExitStatus::Unknown]);
    slot.stop(&child).await;
}

/// A process that leads its session and is no child of this one, as after a restart of the daemon, with its record.
fn foreign_process(slot: &Slot) -> identity::Identity {
    let directory = slot.spec.instance_directory();
    std::fs::create_dir_all(&directory).expect("directory");
    for name in ["stdout", "stderr"] {
        nix::unistd::mkfifo(&directory.join(name), nix::sys::stat::Mode::S_IRWXU).expect("fifo");
    }
    let output = std::process::Command::new("sh")
        .args([
            "-c",
            "setsid sh -c 'echo $$; exec sleep 77 >/dev/null 2>&1' &",
        ])
        .env("PROCSERVER_INSTANCE", &directory)
        .output()
        .expect("sh");
    let text = String::from_utf8(output.stdout).expect("text");
    let pid: u32 = text.trim().parse().expect("a pid");
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("stat");
    let start_time = stat.split(' ').nth(21).expect("field 22");
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("boot id");
    identity::Identity {
        id: "web.1".into(),
        release: 3,
        batch: 4,
        pid,
        start_time: start_time.parse().expect("a number"),
        boot_id: boot_id.trim().into(),
        port: 20_000,
        digest: slot.spec.digest(),
        directory,
        uid: None,
        one_off: false,
    }
}

#[actix::test]
async fn a_survivor_nobody_wants_is_ended_with_all_it_started() {
    let mut slot = Slot::new("setsid sleep 77 & echo $! >child; wait");
    slot.spec.routed = false;
    let (child, exits) = slot.start(Origin::Spawn);
    slot.until_phase(Phase::Ready).await;
    child.kill();
    until("the actor is dead", || exits.try_recv() == Ok(Exit::Killed)).await;
    let orphan = pid_in(&slot.path("child")).await;
    let survivor = survivors::survivors(&slot.spec.runtime, &Users::own()).remove(0);
    survivors::end(survivor.clone(), StopPolicy::default()).await;
    assert!(!survivor.is_alive() && !is_alive(orphan));
    assert!(!survivor.directory.exists());
}

#[actix::test]
async fn a_port_that_a_stranger_has_is_left_to_it_and_the_stranger_is_named() {
    let stranger = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let taken = stranger.local_addr().expect("address").port();
    let mut slot = Slot::new(SERVER);
    slot.ports = Ports::new(taken, taken.saturating_add(20));
    slot.spec.preferred_port = Some(taken);
    let (child, _exits) = slot.start(Origin::Spawn);
    let warned = slot
        .until("a warning", |snapshot| snapshot.warning.is_some())
        .await;
    let port = warned.port.expect("a port");
    assert_ne!(port, taken);
    let text = warned.warning.expect("a warning");
    let own = std::process::id();
    let start = format!("port {taken} of web.1 is taken by pid {own} (");
    assert!(text.starts_with(&start), "{text}");
    assert!(text.ends_with(&format!("it has port {port} now")), "{text}");
    slot.stop(&child).await;
}

#[actix::test]
async fn without_its_directory_it_waits_and_says_why() {
    let mut slot = Slot::new("true");
    slot.spec.directory = "/no/such/release".into();
    let (child, _exits) = slot.start(Origin::Spawn);
    let waiting = slot.until_phase(Phase::Backoff).await;
    assert!(
        waiting
            .warning
            .is_some_and(|text| text.starts_with("/no/such/release: No such file"))
    );
    assert_eq!((waiting.restarts, waiting.crashlooping), (0, false));
    slot.stop(&child).await;
    assert_eq!(slot.exits, []);
}
