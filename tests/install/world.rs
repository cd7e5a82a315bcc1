//! One application, its repository and its directories, below a temporary directory.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use procserver::account::Account;
use procserver::app_dirs::AppDirs;
use procserver::document::config::{
    AppConfig, HealthCheck, Origin, Reference, Repo, StopPolicy, StopTo,
};
use procserver::document::limits::AppLimits;
use procserver::document::name::AppName;
use procserver::document::package::Package;
use procserver::install::installer::Installer;
use procserver::install::record::{Failure, Step};
use procserver::install::release::Release;
use procserver::install::spec::{InstallEvent, InstallProgress, InstallSpec, StepTimeouts};
use procserver::logs::log::Append;
use procserver::process::environment;
use procserver::process::landlock::Landlock;
use procserver::process::mounts::Mounts;
use procserver::supervision::{Exit, ExitReason, Shutdown};
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::support::machine::remove_shared_memory;
use crate::support::wait;

/// No deploy of these tests takes nearly as long.
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) struct World {
    home: TempDir,
    pub(super) dirs: AppDirs,
    pub(super) config: AppConfig,
    pub(super) account: Option<Account>,
    pub(super) timeouts: StepTimeouts,
    pub(super) in_use: Vec<u64>,
    /// Whether commands have a view of the disk of their own, as where the kernel gives it.
    pub(super) has_mounts: bool,
    /// Whether a deploy may use what the one before has left.
    pub(super) use_cache: bool,
    deployments: u64,
}

impl Drop for World {
    fn drop(&mut self) {
        remove_shared_memory(&self.home.path().join("data"));
    }
}

/// What a deploy said, and how it ended.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) started: Vec<Step>,
    pub(super) finished: Vec<Step>,
    pub(super) commit: Option<String>,
    pub(super) result: Option<Result<Release, Failure>>,
    pub(super) exit: Exit,
    pub(super) lines: Vec<String>,
}

impl Outcome {
    /// Takes in what is told; whether it is the end.
    fn hear(&mut self, news: Told) -> bool {
        match news {
            Told::Progress(InstallEvent::Started(step)) => self.started.push(step),
            Told::Progress(InstallEvent::Finished(step, _)) => self.finished.push(step),
            Told::Progress(InstallEvent::Commit(commit)) => self.commit = Some(commit),
            Told::Progress(InstallEvent::Done(release)) => self.result = Some(Ok(*release)),
            Told::Progress(InstallEvent::Failed(failure)) => self.result = Some(Err(*failure)),
            Told::Lines(text) => {
                // What prints endlessly must not fill the test's memory either.
                let room = 10_000_usize.saturating_sub(self.lines.len());
                let text = String::from_utf8_lossy(&text);
                self.lines
                    .extend(text.lines().take(room).map(str::to_owned));
            }
            Told::Ended(exit) => {
                self.exit = exit;
                return true;
            }
        }
        false
    }

    pub(super) fn release(&self) -> &Release {
        match &self.result {
            Some(Ok(release)) => release,
            _ => panic!("no release: {self:#?}"),
        }
    }

    pub(super) fn failure(&self) -> &Failure {
        match &self.result {
            Some(Err(failure)) => failure,
            _ => panic!("no failure: {self:#?}"),
        }
    }

    pub(super) fn logged(&self, text: &str) -> bool {
        self.lines.iter().any(|line| line.contains(text))
    }
}

/// The tests are root.
pub(super) fn root() -> bool {
    nix::unistd::geteuid().is_root()
}

impl World {
    /// Makes the app one whose code comes from `url`.
    pub(super) fn fetch_from(&mut self, url: impl Into<String>) {
        self.config.repo.origin = Origin::Url(url.into());
    }

    pub(super) fn url(&self) -> String {
        self.config.repo.origin.url().unwrap().to_owned()
    }

    /// An app of a repository with `files`, on branch `master`.
    pub(super) fn new(files: &[(&str, &str)]) -> Self {
        Self::below(&std::env::temp_dir(), files)
    }

    /// As [`Self::new`], in a directory of its own below `place`: landlock is of no use below one that is open to all.
    pub(super) fn below(place: &Path, files: &[(&str, &str)]) -> Self {
        procserver::process::spawn::set_executable(env!("CARGO_BIN_EXE_procserver").into());
        let home = tempfile::tempdir_in(place).unwrap();
        // The app's user passes through.
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(home.path(), open).unwrap();
        let name = AppName::parse("app").unwrap();
        let dirs = AppDirs::new(&home.path().join("data"), &home.path().join("run"), &name);
        let url = format!("file://{}", home.path().join("repo").display());
        let account = root().then(|| Account::look_up("nobody", None).unwrap());
        let world = Self {
            dirs,
            config: config(name, url),
            account,
            timeouts: StepTimeouts {
                packages: PATIENCE,
                fetch: PATIENCE,
                install: PATIENCE,
                release: PATIENCE,
            },
            in_use: Vec::new(),
            has_mounts: true,
            use_cache: true,
            deployments: 0,
            home,
        };
        std::fs::create_dir(world.repo()).unwrap();
        world.git(&["init", "--quiet", "--initial-branch=master"]);
        world.commit(files);
        world
    }

    pub(super) fn path(&self) -> &Path {
        self.home.path()
    }

    pub(super) fn repo(&self) -> PathBuf {
        self.home.path().join("repo")
    }

    /// The repository's git, with nobody's configuration.
    pub(super) fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args([
                "-c",
                "user.name=t",
                "-c",
                "user.email=t@t",
                "-c",
                "safe.directory=*",
            ])
            .args(arguments)
            .current_dir(self.repo())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .output()
            .unwrap();
        assert!(output.status.success(), "git {arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Writes `files` and commits them; the id.
    pub(super) fn commit(&self, files: &[(&str, &str)]) -> String {
        for (name, text) in files {
            let path = self.repo().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", "x"]);
        self.git(&["rev-parse", "HEAD"])
    }

    pub(super) fn install(&mut self, commands: &[&str]) {
        self.config.install = Some(commands.iter().map(|c| (*c).to_owned()).collect());
    }

    pub(super) fn packages(&mut self, names: &[&str]) {
        let package = |name: &&str| Package {
            name: (*name).to_owned(),
            version: None,
        };
        self.config.packages = names.iter().map(package).collect();
    }

    /// The ids in `releases/`, complete or not.
    pub(super) fn left(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dirs.releases()).unwrap();
        let mut names: Vec<String> = entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn landlock(&self) -> Option<Landlock> {
        let server = ["data", "run"].map(|name| self.path().join(name));
        std::fs::create_dir_all(&server[1]).unwrap();
        let server = [server[0].as_path(), server[1].as_path()];
        Landlock::of_app(self.account.as_ref(), server, &self.dirs)
    }

    fn mounts(&self) -> Option<Mounts> {
        let server = ["data", "run"].map(|name| self.path().join(name));
        let server = server.each_ref().map(|path| path.as_path());
        let account = self.account.as_ref().filter(|_| self.has_mounts);
        Mounts::of_app(account, &server, &self.dirs)
    }

    fn spec(&mut self) -> InstallSpec {
        self.deployments += 1;
        let current = Account::current().unwrap();
        let account = self.account.as_ref().unwrap_or(&current);
        let dirs = &self.dirs;
        InstallSpec {
            runs_release_phase: true,
            deployment: self.deployments,
            release: self.deployments,
            config: Arc::new(self.config.clone()),
            commit: None,
            dirs: dirs.clone(),
            account: self.account.clone(),
            landlock: self.landlock(),
            mounts: self.mounts(),
            base_env: environment::base(account, &dirs.home(), &dirs.tmp(), &dirs.storage()),
            configured_env: self.config.env.clone(),
            in_use: self.in_use.clone(),
            timeouts: self.timeouts,
            use_cache: self.use_cache,
            mirror_in_use: None,
        }
    }

    pub(super) fn deploy(&mut self) -> Outcome {
        self.run(|_| false, true)
    }

    /// Deploys and cancels as soon as a line of the log satisfies `when`; `ask`: by [`Shutdown`], else by dropping the
    /// actor as a panic would.
    pub(super) fn cancel(&mut self, when: impl Fn(&str) -> bool, ask: bool) -> Outcome {
        self.run(when, ask)
    }

    fn run(&mut self, when: impl Fn(&str) -> bool, ask: bool) -> Outcome {
        let spec = self.spec();
        System::new().block_on(async {
            tokio::time::timeout(PATIENCE, drive(spec, when, ask))
                .await
                .expect("the deploy does not end")
        })
    }
}

/// What the actors around an Installer are told.
enum Told {
    Progress(InstallEvent),
    Lines(Vec<u8>),
    Ended(Exit),
}

struct Witness(mpsc::Sender<Told>);

impl Actor for Witness {
    type Context = Context<Self>;
}

impl Handler<Append> for Witness {
    type Result = ();
    fn handle(&mut self, append: Append, _: &mut Self::Context) {
        self.0
            .try_send(Told::Lines(append.text))
            .expect("it is listened to");
    }
}

impl Handler<InstallProgress> for Witness {
    type Result = ();
    fn handle(&mut self, progress: InstallProgress, _: &mut Self::Context) {
        self.0
            .try_send(Told::Progress(progress.event))
            .expect("it is listened to");
    }
}

async fn drive(spec: InstallSpec, when: impl Fn(&str) -> bool, ask: bool) -> Outcome {
    let (sender, mut told) = mpsc::channel(10_000);
    let witness = Witness(sender.clone()).start();
    let (log, parent) = (witness.clone().recipient(), witness.recipient());
    let of_installer = parent.clone();
    let child = procserver::supervision::monitor::start(
        &Arbiter::current(),
        move |_, reason: ExitReason| Installer::writing_to(spec, log, of_installer, reason),
        move |exit| drop(sender.try_send(Told::Ended(exit))),
    );
    let mut outcome = Outcome {
        started: Vec::new(),
        finished: Vec::new(),
        commit: None,
        result: None,
        exit: Exit::Killed,
        lines: Vec::new(),
    };
    while let Some(news) = told.recv().await {
        if let Told::Lines(text) = &news {
            for line in String::from_utf8_lossy(text).lines() {
                match (when(line), ask) {
                    (true, true) => child.addr.do_send(Shutdown),
                    (true, false) => child.kill(),
                    (false, _) => {}
                }
            }
        }
        if outcome.hear(news) {
            break;
        }
    }
    // What was said before the end may be in a mailbox that was not read yet: this is behind it.
    let last = InstallProgress {
        deployment: 0,
        event: InstallEvent::Commit(String::new()),
    };
    let commit = outcome.commit.clone();
    parent.send(last).await.expect("it listens");
    while let Ok(news) = told.try_recv() {
        outcome.hear(news);
    }
    outcome.commit = commit.or(outcome.commit.filter(|commit| !commit.is_empty()));
    outcome
}

fn config(name: AppName, url: String) -> AppConfig {
    AppConfig {
        engine: Default::default(),
        document: serde_json::json!({"name": name.as_str(), "repo": {"url": url}}),
        name,
        repo: Repo {
            origin: Origin::Url(url),
            reference: Reference::Default,
            dir: None,
        },
        packages: Vec::new(),
        user: None,
        sandbox: true,
        group: None,
        hosts: Vec::new(),
        domain: Vec::new(),
        shell: Default::default(),
        install: Some(Vec::new()),
        cache: None,
        shared: Vec::new(),
        scale: BTreeMap::new(),
        env: BTreeMap::new(),
        path: true,
        strip_path: true,
        port: None,
        health_check: HealthCheck {
            path: None,
            host: None,
            headers: BTreeMap::new(),
            status: Default::default(),
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(5),
            boot_timeout: Duration::from_secs(60),
        },
        stop: StopPolicy {
            to: StopTo::All,
            signal: 15,
            timeout: Duration::from_secs(10),
        },
        sleep: None,
        previews: None,
        preview: None,
        static_files: None,
        buffer: Default::default(),
        policies: Default::default(),
        tls: Default::default(),
        restart: Default::default(),
        strategy: Default::default(),
        drain: Duration::from_secs(30),
        drains: vec![],
        notify: vec![],
        cron: vec![],
        limits: AppLimits::default(),
        keep_releases: 5,
    }
}

/// Waits until `condition` holds.
#[track_caller]
pub(super) fn eventually(what: &str, condition: impl Fn() -> bool) {
    wait::eventually(what, wait::SOON, || condition().then_some(()));
}

/// Whether any process has `text` in its command line.
pub(super) fn runs(text: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|p| std::fs::read(p.path().join("cmdline")).ok())
        .any(|line| {
            String::from_utf8_lossy(&line)
                .replace('\0', " ")
                .contains(text)
        })
}
