//! [`Engines`]: real engines (Debian's docker.io), each a machine of its own as far as the kernel can make one: network,
//! mounts, processes, host name. A switch between them is in a network of its own too, where no firewall of this machine
//! and none of an engine looks; this machine has one cable into it. Together they are one swarm.
//!
//! Nothing is left of them when they are dropped, nor when the test is killed: engines die with the thread that started
//! them, and what names them is removed by the next that has the same addresses.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::Ipv4Addr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::kernel;
use crate::support::machine::{SmallDisk, has, is_root, send_signal, skip};
use crate::support::wait::{eventually, within};

/// How long an engine may take to answer, to join, and to die, on a busy machine.
const LONG: Duration = Duration::from_secs(120);

/// Networks of the range for benchmarks (RFC 2544), which no machine has: 198.18.N.0/24.
const NETWORKS: u32 = 250;

/// What makes a process a machine. `$1`: the directory of the machine, `$2`: its host name, `$3`: the control group of
/// its containers, then the arguments of dockerd.
const MACHINE: &str = r#"
set -e
directory=$1 name=$2; shift 2
mount -t tmpfs tmpfs /run
mkdir -p /run/lock
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$directory/etc,workdir=$directory/work" /etc
mount --rbind /sys/fs/cgroup "$directory/cgroup"
mount -t sysfs sysfs /sys
mount --rbind "$directory/cgroup" /sys/fs/cgroup
hostname "$name"
export HOME=/root
# The machine goes on when its engine is killed; its first process reaps what is left without a parent.
dockerd "$@" &
while :; do sleep 1000 & wait $! || true; done
"#;

/// How many swarms there are at a time: the machines share the cores of this one, and mostly wait.
const AT_A_TIME: usize = 2;

static RUNNING: Mutex<usize> = Mutex::new(0);
static ENDED: Condvar = Condvar::new();

/// One of [`AT_A_TIME`], until it is dropped.
struct Turn;

impl Turn {
    fn wait() -> Self {
        let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = |running: &mut usize| *running >= AT_A_TIME;
        let running = ENDED.wait_while(running, is_full);
        *running.unwrap_or_else(PoisonError::into_inner) += 1;
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        ENDED.notify_one();
    }
}

/// Engines that form one swarm; the first one is its manager.
pub(crate) struct Engines {
    network: u8,
    machines: Vec<Option<Child>>,
    /// Unmounted before what it is in is removed.
    small_disk: Option<SmallDisk>,
    directory: TempDir,
    /// An abstract name (unix(7)), which the kernel frees however this ends.
    _claim: UnixListener,
    _turn: Turn,
}

impl Engines {
    /// A swarm of `count` engines. `None`: this machine cannot, and `test` says why.
    pub(crate) fn start(count: usize, test: &str) -> Option<Self> {
        Self::start_with(count, None, test)
    }

    /// The same, where the last engine has a disk of so many MiB.
    pub(crate) fn start_with_a_small_disk(count: usize, size: u64, test: &str) -> Option<Self> {
        Self::start_with(count, Some(size), test)
    }

    fn start_with(count: usize, small_disk: Option<u64>, test: &str) -> Option<Self> {
        if !is_root() {
            skip(test, "engines need root");
            return None;
        }
        for (program, package) in [
            ("dockerd", "docker.io"),
            ("docker", "docker.io"),
            ("ip", "iproute2"),
            ("nsenter", "util-linux"),
        ] {
            if !has(program, package, test) {
                return None;
            }
        }
        let turn = Turn::wait();
        let (network, claim) = claim();
        let directory = tempfile::Builder::new()
            .prefix("procserver-test-swarm-")
            .tempdir()
            .unwrap();
        let mut engines = Self {
            network,
            machines: (0..count).map(|_| None).collect(),
            directory,
            small_disk: None,
            _claim: claim,
            _turn: turn,
        };
        unname(network);
        remove_left();
        if let Some(lack) = kernel::lack(engines.directory.path()) {
            skip(
                test,
                &format!("engines do not run with this kernel: {lack}"),
            );
            return None;
        }
        engines.small_disk = small_disk.map(|size| {
            let data = engines.machine(count).join("data");
            SmallDisk::mount(data, size).expect("root mounts")
        });
        match engines.power_on() {
            Ok(()) => Some(engines),
            Err(reason) => {
                let reason = format!("engines do not run on this machine: {reason}");
                // The kernel can, so this is a fault of the tests or of that machine.
                assert!(std::env::var_os("CI").is_none(), "{test}: {reason}");
                skip(test, &reason);
                None
            }
        }
    }

    /// Makes the machines and the swarm; why this one cannot.
    fn power_on(&mut self) -> Result<(), String> {
        static CAN_RUN: OnceLock<Result<(), String>> = OnceLock::new();
        self.lay_cables()?;
        for engine in 1..=self.machines.len() {
            self.boot(engine);
        }
        for engine in 1..=self.machines.len() {
            self.until_it_answers(engine)?;
        }
        CAN_RUN.get_or_init(|| self.try_container()).clone()?;
        self.form_swarm();
        Ok(())
    }

    /// Runs one program of this machine in a container: that takes all that a kernel may lack, or forbid.
    fn try_container(&self) -> Result<(), String> {
        let program = "/bin/true";
        let libraries = Command::new("ldd").arg(program).output().unwrap();
        let libraries = String::from_utf8_lossy(&libraries.stdout).into_owned();
        let files = libraries
            .split_whitespace()
            .filter(|word| word.starts_with('/'));
        let archive = self.directory.path().join("true.tar");
        let made = Command::new("tar")
            .args(["--create", "--dereference", "--absolute-names", "--file"])
            .arg(&archive)
            .arg(program)
            .args(files)
            .status()
            .unwrap();
        assert!(made.success());
        self.docker(1, &["import", &archive.display().to_string(), "own:true"]);
        let run = ["run", "--rm", "--network", "none", "own:true", program];
        let tried = self.try_docker(1, &run);
        match tried.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&tried.stderr).trim().to_owned()),
        }
    }

    /// This machine's address, as the engines see it.
    pub(crate) fn host(&self) -> Ipv4Addr {
        self.address(0)
    }

    /// The address of an engine, from 1.
    pub(crate) fn address(&self, engine: usize) -> Ipv4Addr {
        let last = u8::try_from(engine + 1).expect("a handful");
        Ipv4Addr::new(198, 18, self.network, last)
    }

    /// Where the API of an engine is.
    pub(crate) fn socket(&self, engine: usize) -> PathBuf {
        self.machine(engine).join("docker.sock")
    }

    /// The `/etc` of an engine's machine, above this machine's.
    pub(crate) fn etc(&self, engine: usize) -> PathBuf {
        self.machine(engine).join("etc")
    }

    /// Runs a command of docker on an engine, and returns what it prints.
    #[track_caller]
    pub(crate) fn docker(&self, engine: usize, arguments: &[&str]) -> String {
        let output = self.try_docker(engine, arguments);
        assert!(output.status.success(), "docker {arguments:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    pub(crate) fn try_docker(&self, engine: usize, arguments: &[&str]) -> Output {
        Command::new("docker")
            .arg("--host")
            .arg(format!("unix://{}", self.socket(engine).display()))
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// The machine of an engine loses its power: everything there dies at once.
    pub(crate) fn kill(&mut self, engine: usize) {
        if let Some(mut machine) = self.machines[engine - 1].take() {
            // Its first process dies with it, and takes all others.
            send_signal(pid_of(&machine), Signal::SIGKILL);
            machine.wait().unwrap();
            let name = self.namespace(engine);
            let is_empty = || (ip(&["netns", "pids", &name]).ok()?.is_empty()).then_some(());
            eventually("all of a machine is dead", LONG, is_empty);
        }
    }

    /// It gets its power back.
    pub(crate) fn revive(&mut self, engine: usize) {
        self.boot(engine);
        self.until_it_answers(engine).unwrap();
    }

    /// Kills an engine; its containers go on.
    pub(crate) fn kill_engine_alone(&self, engine: usize) {
        self.signal_engine(engine, Signal::SIGKILL);
    }

    /// An engine answers nothing and does nothing; its containers go on.
    pub(crate) fn freeze_engine(&self, engine: usize) {
        self.signal_engine(engine, Signal::SIGSTOP);
    }

    pub(crate) fn thaw_engine(&self, engine: usize) {
        self.signal_engine(engine, Signal::SIGCONT);
    }

    fn signal_engine(&self, engine: usize, signal: Signal) {
        let pids = ip(&["netns", "pids", &self.namespace(engine)]).unwrap();
        for pid in pids.split_whitespace() {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
            if matches!(name.unwrap_or_default().trim(), "dockerd" | "containerd") {
                send_signal(pid.parse().unwrap(), signal);
            }
        }
    }

    /// Draws the cable of a machine.
    pub(crate) fn cut(&self, engine: usize) {
        self.switch(&["link", "set", &format!("m{engine}"), "down"])
            .unwrap();
    }

    /// Puts it back.
    pub(crate) fn mend(&self, engine: usize) {
        self.switch(&["link", "set", &format!("m{engine}"), "up"])
            .unwrap();
    }

    fn machine(&self, engine: usize) -> PathBuf {
        self.directory.path().join(engine.to_string())
    }

    /// The network of an engine's machine, by the name that ip-netns(8) has for it.
    pub(crate) fn namespace(&self, engine: usize) -> String {
        format!("psw{}-{engine}", self.network)
    }

    /// A command of ip(8) in the switch.
    fn switch(&self, arguments: &[&str]) -> Result<String, String> {
        let switch = self.namespace(0);
        ip(&[&["-n", &switch][..], arguments].concat())
    }

    /// The end of this machine's own cable.
    fn cable(&self) -> String {
        format!("psw{}", self.network)
    }

    fn lay_cables(&self) -> Result<(), String> {
        let (switch, own) = (self.namespace(0), self.cable());
        ip(&["netns", "add", &switch])?;
        self.switch(&["link", "add", "switch", "type", "bridge"])?;
        self.switch(&["link", "set", "switch", "up"])?;
        ip(&[
            "link", "add", &own, "type", "veth", "peer", "name", "m0", "netns", &switch,
        ])?;
        self.switch(&["link", "set", "m0", "master", "switch", "up"])?;
        let address = |engine| format!("{}/24", self.address(engine));
        ip(&["addr", "add", &address(0), "dev", &own])?;
        ip(&["link", "set", &own, "up"])?;
        for engine in 1..=self.machines.len() {
            let (name, port) = (self.namespace(engine), format!("m{engine}"));
            ip(&["netns", "add", &name])?;
            ip(&["-n", &name, "link", "set", "lo", "up"])?;
            ip(&[
                "-n", &name, "link", "add", "eth0", "type", "veth", "peer", "name", &port, "netns",
                &switch,
            ])?;
            self.switch(&["link", "set", &port, "master", "switch", "up"])?;
            ip(&["-n", &name, "addr", "add", &address(engine), "dev", "eth0"])?;
            ip(&["-n", &name, "link", "set", "eth0", "up"])?;
        }
        Ok(())
    }

    fn boot(&mut self, engine: usize) {
        let machine = self.machine(engine);
        for name in ["data", "etc", "work", "cgroup"] {
            std::fs::create_dir_all(machine.join(name)).unwrap();
        }
        let _old = std::fs::remove_file(self.socket(engine));
        let log = File::options()
            .create(true)
            .append(true)
            .open(machine.join("log"))
            .unwrap();
        // A machine dies with this thread, and all in it with its first process.
        let started = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "nsenter"])
            .arg(format!("--net=/run/netns/{}", self.namespace(engine)))
            .args(["unshare", "--mount", "--propagation=private", "--uts"])
            .args(["--ipc", "--pid", "--fork", "--kill-child", "--mount-proc"])
            .args(["bash", "-c", MACHINE, "machine"])
            .arg(&machine)
            .arg(format!("node{engine}"))
            .arg("--data-root")
            .arg(machine.join("data"))
            .args(["--exec-root", "/run/docker"])
            .args(["--pidfile", "/run/docker.pid"])
            .arg("--host")
            .arg(format!("unix://{}", self.socket(engine).display()))
            // Where containers of that machine find it; its /run is its own.
            .args(["--host", "unix:///run/docker.sock"])
            .arg("--cgroup-parent")
            .arg(format!("/{}", self.namespace(engine)))
            .args(["--exec-opt", "native.cgroupdriver=cgroupfs"])
            .args(["--insecure-registry", "198.18.0.0/15"])
            .env_clear()
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.machines[engine - 1] = Some(started);
    }

    fn until_it_answers(&mut self, engine: usize) -> Result<(), String> {
        let answers = within(LONG, || {
            let machine = self.machines[engine - 1].as_mut()?;
            let is_over = machine.try_wait().unwrap().is_some();
            let answers = self.try_docker(engine, &["version"]).status.success();
            // The machine goes on when its engine does not.
            let has_failed = self.log(engine).contains("failed to start daemon");
            (is_over || answers || has_failed).then_some(answers)
        });
        match answers {
            Some(true) => Ok(()),
            _ => Err(self.log(engine)),
        }
    }

    fn form_swarm(&self) {
        let manager = self.address(1).to_string();
        self.docker(1, &["swarm", "init", "--advertise-addr", &manager]);
        let token = self.docker(1, &["swarm", "join-token", "--quiet", "worker"]);
        for engine in 2..=self.machines.len() {
            let own = self.address(engine).to_string();
            let join = ["swarm", "join", "--advertise-addr", &own, "--token", &token];
            self.docker(engine, &[&join[..], &[&*manager]].concat());
        }
    }

    /// The last lines of an engine's log.
    fn log(&self, engine: usize) -> String {
        let log = std::fs::read_to_string(self.machine(engine).join("log"));
        let log = log.unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for Engines {
    #[expect(
        clippy::print_stderr,
        reason = "the harness shows it with the failed test it belongs to"
    )]
    fn drop(&mut self) {
        if std::thread::panicking() {
            for engine in 1..=self.machines.len() {
                eprintln!("-- engine {engine}:\n{}", self.log(engine));
            }
        }
        for engine in 1..=self.machines.len() {
            self.kill(engine);
        }
        unname(self.network);
    }
}

/// Removes what machines have left whose test was killed: nobody claims their network any more.
fn remove_left() {
    let listed = ip(&["netns", "list"]).unwrap_or_default();
    let networks = listed.lines().filter_map(|line| {
        let (network, _) = line.strip_prefix("psw")?.split_once('-')?;
        network.parse().ok()
    });
    for network in networks.collect::<BTreeSet<u8>>() {
        if let Some(_claim) = claim_of(network) {
            unname(network);
        }
    }
}

/// Removes what names the machines of a network.
fn unname(network: u8) {
    let prefix = format!("psw{network}-");
    let listed = ip(&["netns", "list"]).unwrap_or_default();
    let names = listed.lines().filter_map(|line| line.split(' ').next());
    for name in names.filter(|name| name.starts_with(&prefix)) {
        let _gone = ip(&["netns", "delete", name]);
    }
    let _gone = ip(&["link", "delete", &format!("psw{network}")]);
    for hierarchy in control_groups() {
        let _gone = remove_groups(&hierarchy, &prefix);
    }
}

/// A network that no other test has, in this run and others on this machine.
fn claim() -> (u8, UnixListener) {
    let turns = (0..NETWORKS).map(|turn| (std::process::id() % NETWORKS + turn) % NETWORKS);
    let mut networks = turns.map(|network| u8::try_from(network).expect("a byte"));
    networks
        .find_map(|network| Some((network, claim_of(network)?)))
        .expect("a network is free")
}

fn claim_of(network: u8) -> Option<UnixListener> {
    let name = format!("procserver-test-swarm-{network}");
    let name = UnixAddress::from_abstract_name(name).unwrap();
    UnixListener::bind_addr(&name).ok()
}

fn pid_of(child: &Child) -> i32 {
    i32::try_from(child.id()).expect("pids fit")
}

/// Runs ip(8); what it says where it fails.
fn ip(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("ip").args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(format!(
            "ip {}: {}",
            arguments.join(" "),
            text(&output.stderr)
        )),
    }
}

/// Where hierarchies of control groups are mounted.
fn control_groups() -> Vec<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
    let fields = mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>());
    fields
        .filter(|fields| fields[2].starts_with("cgroup"))
        .map(|fields| PathBuf::from(fields[1]))
        .collect()
}

/// Removes the groups whose names begin with `prefix`, and those in them.
fn remove_groups(parent: &Path, prefix: &str) -> std::io::Result<()> {
    for entry in std::fs::read_dir(parent)? {
        let entry = entry?;
        let is_own = entry.file_name().to_string_lossy().starts_with(prefix);
        if is_own && entry.file_type()?.is_dir() {
            remove_groups(&entry.path(), "")?;
            std::fs::remove_dir(entry.path())?;
        }
    }
    Ok(())
}
