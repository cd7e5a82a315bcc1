//! Installs Debian packages with the real apt-get.
//!
//! apt-get takes an unknown name for a regular expression or a task, and `name-` for an order to remove. So it gets
//! only names that apt knows exactly. It runs only for packages that dpkg does not list: a deploy with nothing to
//! install needs neither root nor Debian's mirrors.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags, flock};
use tokio::sync::Mutex;

use super::command::{self, Finished, Program};
use super::dpkg::{self, Installed};
use super::failure;
use super::git::system_environment;
use super::install_log::InstallLog;
use super::limits::{StepError, StepLimits};
use super::record::{Failure, Step};
use crate::document::package::Package;
use crate::regular;

/// One apt-get of this server at a time: a second one would find the first one's packages half configured.
static APT: Mutex<()> = Mutex::const_new(());

/// The lock file of all servers on this machine. apt's own locks do not cover its hooks: where an update cleans the
/// archive directory (as in Debian's container images), it removes the packages of another install.
const QUEUE: &str = "/run/procserver-apt.lock";

/// How long a server that waits pauses between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// The longest pause between two tries while another program has apt's locks.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// apt-get asks nothing, keeps configuration files that people changed, waits for other package managers
/// (unattended-upgrades), and does not use the terminal. It installs recommended packages, as it does by hand;
/// packages of languages rely on that (ruby → the tools for its headers).
const OPTIONS: [&str; 10] = [
    "-y",
    "-q",
    "-o",
    "DPkg::Lock::Timeout=600",
    "-o",
    "Dpkg::Options::=--force-confold",
    "-o",
    "Dpkg::Options::=--force-confdef",
    "-o",
    "Dpkg::Use-Pty=0",
];

/// What apt-get prints when its lists are old.
const STALE: [&str; 4] = [
    "404  Not Found",
    "Unable to fetch some archives",
    "was not found",
    "Unable to locate package",
];

/// Installs what is missing of `wanted`.
///
/// # Errors
/// No root, no Debian, a package that apt does not know, apt-get fails, a limit is reached.
pub async fn install(
    wanted: &[Package],
    log: &InstallLog,
    limits: &StepLimits,
) -> Result<(), StepError> {
    let guard = limits.hold(APT.lock()).await;
    let _guard =
        guard.map_err(|b| b.into_error(Step::Packages, "another app's apt-get", Vec::new()))?;
    let apt = Apt { log, limits };
    let missing = apt.missing(wanted).await?;
    if missing.is_empty() {
        log.line(format!("all {} packages are installed", wanted.len()))
            .await;
        return Ok(());
    }
    let names: Vec<String> = missing.iter().map(|p| argument(p)).collect();
    if !nix::unistd::geteuid().is_root() {
        let list = names.join(" ");
        let reason = format!("not installed, and procserver does not run as root: {list}");
        let hint = format!("install them by hand: sudo apt-get install {list}");
        return Err(Failure::new(Step::Packages, reason).hint(hint).into());
    }
    let alone = limits.hold(alone_on_this_machine()).await;
    let _alone = alone
        .map_err(|b| b.into_error(Step::Packages, "another server's apt-get", Vec::new()))?
        .map_err(|e| failure::io(Step::Packages, QUEUE, &e))?;
    let mut fresh = false;
    if !apt.unknown(&missing).await?.is_empty() {
        apt.update().await?;
        fresh = true;
        let unknown = apt.unknown(&missing).await?;
        if !unknown.is_empty() {
            return Err(not_known(&unknown).into());
        }
    }
    apt.install(&names, fresh).await?;
    still_missing(&apt.missing(wanted).await?)
}

/// Waits until no other server uses apt-get, and keeps others waiting while the file is open.
async fn alone_on_this_machine() -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    let file = regular::open_with(QUEUE.as_ref(), &mut options, OFlags::NOFOLLOW)?;
    // Whoever can open the file can lock it. An older server made it readable for all.
    file.set_permissions(Permissions::from_mode(0o600))?;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            // Waiting in flock(2) cannot be cancelled.
            Err(rustix::io::Errno::WOULDBLOCK) => tokio::time::sleep(PAUSE).await,
            Err(e) => return Err(e.into()),
        }
    }
}

/// The package as an argument of apt-get.
fn argument(package: &Package) -> String {
    match &package.version {
        Some(version) => format!("{}={version}", known_name(package)),
        None => known_name(package).to_owned(),
    }
}

/// apt does not list `name:any`, which is a relation; the package has the plain name.
fn known_name(package: &Package) -> &str {
    let name = package.name.as_str();
    name.strip_suffix(":any").unwrap_or(name)
}

fn not_known(unknown: &[String]) -> Failure {
    let list = unknown.join(", ");
    let reason = match unknown.len() {
        1 => format!("package {list} is not known to apt"),
        _ => format!("packages {list} are not known to apt"),
    };
    Failure::new(Step::Packages, reason).hint(
        "check the spelling and this machine's release (apt-cache search NAME), or add the package's source to \
         /etc/apt/sources.list.d",
    )
}

/// Fails for packages that apt-get left out although it exited with 0 (a conflict within the list).
fn still_missing(missing: &[&Package]) -> Result<(), StepError> {
    if missing.is_empty() {
        return Ok(());
    }
    let list: Vec<_> = missing.iter().map(|p| argument(p)).collect();
    let reason = format!(
        "apt-get ended well but these are not installed: {}",
        list.join(", ")
    );
    Err(Failure::new(Step::Packages, reason).into())
}

struct Apt<'a> {
    log: &'a InstallLog,
    limits: &'a StepLimits,
}

impl Apt<'_> {
    async fn missing<'p>(&self, wanted: &'p [Package]) -> Result<Vec<&'p Package>, StepError> {
        let format = format!("-f={}", dpkg::FORMAT);
        let listed = self.ask("dpkg-query", &["-W", &format]).await?;
        let installed = Installed::parse(&String::from_utf8_lossy(&listed.stdout));
        Ok(wanted.iter().filter(|p| !installed.satisfies(p)).collect())
    }

    /// Which of `packages` apt does not know.
    async fn unknown(&self, packages: &[&Package]) -> Result<Vec<String>, StepError> {
        let mut arguments = vec!["policy", "--"];
        arguments.extend(packages.iter().map(|p| known_name(p)));
        let policy = self.ask("apt-cache", &arguments).await?;
        let policy = String::from_utf8_lossy(&policy.stdout);
        let known = dpkg::candidates(&policy);
        let mut unknown = Vec::new();
        for name in packages.iter().map(|p| known_name(p)) {
            if known.contains(name) {
                continue;
            }
            let showpkg = self.ask("apt-cache", &["showpkg", "--", name]).await?;
            if !dpkg::has_providers(&String::from_utf8_lossy(&showpkg.stdout), name) {
                unknown.push(name.to_owned());
            }
        }
        Ok(unknown)
    }

    async fn update(&self) -> Result<(), StepError> {
        let finished = self.get(&["update"]).await?;
        // With warnings (one source does not answer) it exits with 0. The install shows whether they matter.
        match finished.succeeded() {
            true => Ok(()),
            false => Err(failed("apt-get update", finished).into()),
        }
    }

    async fn install(&self, names: &[String], mut fresh: bool) -> Result<(), StepError> {
        let mut arguments = vec!["install", "--"];
        arguments.extend(names.iter().map(String::as_str));
        let mut repaired = false;
        loop {
            let finished = self.get(&arguments).await?;
            if finished.succeeded() {
                return Ok(());
            }
            let says = |words: &str| finished.tail.iter().any(|line| line.contains(words));
            if !repaired && says("dpkg --configure -a") {
                // An earlier run was killed, maybe with this server. dpkg asks for this.
                self.run(
                    "dpkg",
                    &["--configure", "-a", "--force-confold", "--force-confdef"],
                )
                .await?;
                repaired = true;
            } else if !fresh && STALE.into_iter().any(says) {
                self.update().await?;
                fresh = true;
            } else {
                return Err(failed("apt-get install", finished).into());
            }
        }
    }

    /// Waits until no other program (apt-daily) has locked apt's lists or archive: `DPkg::Lock::Timeout` covers
    /// neither.
    async fn get(&self, arguments: &[&str]) -> Result<Finished, StepError> {
        let all: Vec<&str> = OPTIONS
            .into_iter()
            .chain(arguments.iter().copied())
            .collect();
        let mut pause = Duration::from_secs(1);
        loop {
            let finished = self.run("apt-get", &all).await?;
            if finished.succeeded() || !dpkg::is_locked(&finished.tail) {
                return Ok(finished);
            }
            let remark = "waiting: another program is at work with apt; it is tried again";
            self.log.line(remark).await;
            let waited = self.limits.hold(tokio::time::sleep(pause)).await;
            waited.map_err(|reached| {
                reached.into_error(Step::Packages, "another program's apt", finished.tail)
            })?;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn run(&self, name: &'static str, arguments: &[&str]) -> Result<Finished, StepError> {
        command::run(&program(name, arguments, false), self.log, self.limits)
            .await
            .map_err(not_debian)
    }

    async fn ask(&self, name: &'static str, arguments: &[&str]) -> Result<Finished, StepError> {
        command::run(&program(name, arguments, true), self.log, self.limits)
            .await
            .map_err(not_debian)
    }
}

fn program(name: &'static str, arguments: &[&str], quiet: bool) -> Program {
    let mut environment = system_environment();
    for (name, value) in [
        ("DEBIAN_FRONTEND", "noninteractive"),
        ("DEBCONF_NONINTERACTIVE_SEEN", "true"),
        ("APT_LISTCHANGES_FRONTEND", "none"),
        ("NEEDRESTART_MODE", "l"),
        // Maintainer scripts expect one.
        ("HOME", "/root"),
    ] {
        environment.insert(name.into(), value.into());
    }
    Program {
        name,
        arguments: arguments.iter().map(|a| (*a).to_owned()).collect(),
        environment,
        directory: None,
        quiet,
        confined: None,
    }
}

/// A missing program means that this is not Debian, and the general hint to install it would not help.
fn not_debian(error: StepError) -> StepError {
    match error {
        StepError::Failed(failure)
            if failure.reason.ends_with("is not installed on this machine") =>
        {
            let reason =
                "this machine has no apt-get: `packages` work on Debian and its relatives only";
            Failure::new(Step::Packages, reason)
                .hint("install what the app needs by hand and remove `packages` from the document")
                .into()
        }
        other => other,
    }
}

fn failed(command: &str, finished: Finished) -> Failure {
    let line = finished
        .tail
        .iter()
        .find(|line| line.starts_with("E: "))
        .map(|line| line.trim_start_matches("E: ").to_owned());
    let mut failure = failure::exited(Step::Packages, command, finished.status, finished.tail);
    if let Some(line) = line {
        failure.reason = format!("{}: {line}", failure.reason);
    }
    failure
}
