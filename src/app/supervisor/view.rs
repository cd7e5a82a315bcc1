//! [`View`]: the state of an app at one moment, for the API.

use std::num::NonZero;
use std::path::PathBuf;

use actix::prelude::*;

use super::App;
use crate::app::batch::Batch;
use crate::app::lifecycle::{Kind, Wanted};
use crate::app::one_offs::Live;
use crate::app::status::{
    AppState, LastFailure, PreviewStatus, ProcessStatus, Reach, Status, Summary,
};
use crate::app_dirs::AppDirs;
use crate::document::advice::advice;
use crate::document::config::Repo;
use crate::drains::status::DrainStatus;
use crate::install::pushed;
use crate::install::record::{DeploymentRecord, DeploymentState};
use crate::install::release::ReleaseRecord;
use crate::logs::log::Log;
use crate::process::health::Trouble;
use crate::process::held;
use crate::process::phase::Phase;
use crate::process::snapshot::Snapshot;
use crate::router::address::Address;
use crate::supervision::ChildRef;

#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "View")]
pub struct Inspect;

#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "Summary")]
pub struct Summarize;

/// The processes, as [`Status`] shows them.
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "Vec<ProcessStatus>")]
pub struct Processes;

/// Everything the API shows of an app, taken at one moment.
#[derive(Clone, Debug, MessageResponse)]
pub struct View {
    /// The document, as PUT takes it.
    pub document: serde_json::Value,
    pub summary: Summary,
    /// Live state; memory and CPU are filled in by the caller (`process::usage`), last lines by [`View::log`],
    /// the deploy key from [`View::dirs`].
    pub status: Status,
    /// All kept records, oldest first.
    pub deployments: Vec<DeploymentRecord>,
    /// All kept releases, oldest first.
    pub releases: Vec<ReleaseRecord>,
    pub current: Option<u64>,
    pub log: ChildRef<Log>,
    /// Whether it is being removed.
    pub is_going: bool,
    /// The directory of static files; the caller must look whether it exists.
    pub static_directory: Option<PathBuf>,
    pub dirs: AppDirs,
    /// `limits.disk`, bytes.
    pub disk_limit: Option<u64>,
    /// `repo`.
    pub repo: Repo,
}

impl App {
    fn state(&self) -> AppState {
        let serving = self.serving();
        match self.deployer.life.active() {
            Some((_, Kind::Deploy { .. })) => return AppState::Deploying,
            _ if self.is_asleep() => return AppState::Asleep,
            _ if self.deployer.life.wanted() != Wanted::Running => return AppState::Stopped,
            _ => {}
        }
        match serving {
            Some(batch) if batch.is_crashlooping() => AppState::Crashlooping,
            Some(batch) if batch.is_degraded() => AppState::Degraded,
            Some(_) => AppState::Running,
            None if self.deployer.life.active().is_some() => AppState::Running,
            None if self.deployer.awaits_push() && self.last_failure().is_none() => AppState::Empty,
            None => AppState::Failed,
        }
    }

    /// Why nothing has got ready, if the app is [`AppState::Failed`].
    fn why_failed(&self) -> Option<String> {
        let last = self.deployer.deployments.last()?;
        let failure = last.failure.as_ref()?;
        let told = || format!("deployment {} failed: {failure}", last.id);
        (self.state() == AppState::Failed).then(told)
    }

    /// What to do where nothing has been pushed yet.
    fn how_to_begin(&self) -> Option<String> {
        let config = self.deployer.documents.newest();
        let branch = config.repo.pushed_branch()?;
        let how = pushed::HOW.replace("NAME", self.name());
        let user = format!("ssh://{}@", self.spec.context.settings.ssh_user);
        let how = how.replace("ssh://procserver@", &user);
        let how = how.replace("BRANCH", branch);
        (self.state() == AppState::Empty).then(|| format!("{}: {how}", pushed::NOTHING_YET))
    }

    /// The last deployment that succeeded or failed, if it failed.
    fn last_failure(&self) -> Option<LastFailure> {
        let records = self.deployer.deployments.records().iter().rev();
        let decided = |state| matches!(state, DeploymentState::Failed | DeploymentState::Succeeded);
        let last = records.into_iter().find(|record| decided(record.state))?;
        let failure = last.failure.as_ref()?;
        Some(LastFailure {
            deployment: last.id,
            step: failure.step,
            reason: failure.reason.clone(),
            at: last.finished,
        })
    }

    /// The warning about a failed deployment that left running what ran before.
    fn what_failed(&self) -> Option<String> {
        let last = self.last_failure()?;
        let told_otherwise = self.state() == AppState::Failed || self.left_out().is_some();
        let step = last.step.name();
        (!told_otherwise).then(|| {
            format!(
                "deployment {} failed in the step {step}: {}; see \"procserver logs {} --install\"",
                last.deployment,
                last.reason,
                self.name()
            )
        })
    }

    /// What to do where nothing answers requests any more, since `restart` lets processes end.
    fn lost_type(&self) -> Option<String> {
        let serving = self.serving()?;
        let is_wanted = self.deployer.life.wanted() == Wanted::Running;
        let lost = serving.lost_type().filter(|_| is_wanted)?;
        Some(format!(
            "nothing answers requests: all {lost} processes have ended, and \"restart\" does not start them again; \
                 \"procserver restart {0}\" does",
            self.name()
        ))
    }

    fn left_out(&self) -> Option<String> {
        self.deployer.left_out(&self.serving()?.runnable)
    }

    fn commit(&self) -> Option<String> {
        let current = self.deployer.life.current()?;
        let release = self.deployer.releases.get(current)?;
        Some(release.commit.clone())
    }

    fn user(&self) -> Option<String> {
        let newest = self.batches.iter().last()?;
        let account = newest.runnable.account.as_ref()?;
        Some(account.user.clone())
    }

    fn reach(&self) -> Reach {
        let serving = self.serving();
        let config = serving.map_or(self.deployer.documents.newest(), |batch| {
            &batch.runnable.config
        });
        let mut names = config.hosts.iter().filter(|host| host.is_of_web());
        let name = names.find(|host| host.name.parent().is_none());
        let name = name.map(|host| host.name.to_string());
        let settings = &self.spec.context.settings;
        let first = |listen: &[std::net::SocketAddr]| {
            let port = listen.first().map(|address| address.port());
            port.filter(|port| *port > 0)
        };
        Reach {
            host: name.or_else(|| config.domain.iter().find_map(|p| spelled_out(p))),
            port: config.port,
            path: config.path,
            listener: first(&settings.listen),
            tls_listener: first(&settings.tls_listen),
        }
    }

    fn summary(&self) -> Summary {
        let members = self.batches.iter().flat_map(|batch| batch.members());
        let of_batches = members.filter_map(|(_, s)| s.and_then(|s| s.pid));
        let of_one_offs = self.one_offs.live();
        let of_one_offs = of_one_offs.filter_map(|live| live.snapshot.as_ref()?.pid);
        Summary {
            name: self.name().to_owned(),
            state: self.state(),
            release: self.deployer.life.current(),
            commit: self.commit(),
            url: None,
            memory_bytes: 0,
            last_failure: self.last_failure(),
            paused_until: self.deployer.paused_until,
            maintenance: self.is_in_maintenance(),
            preview: self.preview(),
            reach: self.reach(),
            pids: of_batches.chain(of_one_offs).collect(),
            tasks: self
                .processes()
                .into_iter()
                .filter_map(|p| p.task)
                .collect(),
        }
    }

    fn is_in_maintenance(&self) -> bool {
        let config = self.deployer.documents.standing();
        config.policies.maintenance.is_some()
    }

    fn preview(&self) -> Option<PreviewStatus> {
        let last = self.deployer.deployments.last();
        let last = last.map_or(self.deployer.created, |d| d.finished.unwrap_or(d.started));
        PreviewStatus::of(self.deployer.documents.newest(), Some(last))
    }

    /// Advice about the newest document and the one in effect.
    fn advice(&self) -> Vec<String> {
        let serving = self.serving();
        let procfile = serving.map(|batch| &batch.runnable.release.procfile);
        let mut told = advice(self.deployer.documents.newest(), procfile);
        told.extend(
            serving
                .into_iter()
                .flat_map(|b| advice(&b.runnable.config, procfile)),
        );
        told
    }

    fn static_directory(&self) -> Option<PathBuf> {
        let batch = self.serving()?;
        let files = batch.runnable.static_files()?;
        Some(batch.runnable.release.directory.join(&files.dir))
    }

    fn status(&self) -> Status {
        let left_out = self.left_out();
        let drains = self.spec.context.drains.of(self.name());
        let warnings = self.all_warnings(left_out.clone(), &drains);
        Status {
            name: self.name().to_owned(),
            state: self.state(),
            release: self.deployer.life.current(),
            commit: self.commit(),
            deployment: self.deployer.deployments.last().map(|r| r.id),
            last_failure: self.last_failure(),
            user: self.user(),
            paused_until: self.deployer.paused_until,
            maintenance: self.is_in_maintenance(),
            held: NonZero::new(self.held.count()),
            processes: self.processes(),
            drains,
            warnings,
            left_out,
            deploy_key: None,
        }
    }

    fn processes(&self) -> Vec<ProcessStatus> {
        let of_batches = self.batches.iter().flat_map(processes_of);
        let of_one_offs = self.one_offs.live().filter_map(process_of_one_off);
        of_batches.chain(of_one_offs).collect()
    }

    /// The page for maintenance, where it cannot be read.
    fn lost_page(&self) -> Option<String> {
        let policies = self.policies.as_ref()?;
        let page = policies.of.maintenance.as_ref()?.page.as_ref()?;
        let is_lost = matches!(policies.page.get(), Some(None));
        is_lost.then(|| {
            format!(
                "maintenance.page: \"{page}\" cannot be shown, and browsers see the server's own page: it must be a file \
                 of the release, of 512 KiB at most; the server's log says more"
            )
        })
    }

    fn all_warnings(&self, left_out: Option<String>, drains: &[DrainStatus]) -> Vec<String> {
        let mut warnings = [&self.spec.warnings[..], &self.warnings].concat();
        warnings.extend(left_out);
        warnings.extend(self.lost_type());
        warnings.extend(self.lost_page());
        warnings.extend(self.why_failed());
        warnings.extend(self.how_to_begin());
        warnings.extend(held::warnings(self.spec.dirs.runtime()));
        // Install commands.
        warnings.extend(held::warnings(self.spec.dirs.root()));
        warnings.extend(self.what_failed());
        let now = jiff::Timestamp::now();
        warnings.extend(drains.iter().filter_map(|drain| drain.warning(now)));
        let add_once = |warnings: &mut Vec<String>, warning: String| {
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        };
        for advice in self.advice() {
            add_once(&mut warnings, advice);
        }
        for batch in self.batches.iter() {
            let runnable = &batch.runnable;
            for warning in runnable.warnings.iter().chain(&runnable.scale_warnings) {
                add_once(&mut warnings, warning.clone());
            }
            warnings.extend(warnings_of_processes(batch));
        }
        warnings
    }
}

fn processes_of(batch: &Batch) -> impl Iterator<Item = ProcessStatus> {
    batch.members().map(|(slot, snapshot)| {
        let trouble = snapshot.and_then(|s| s.trouble.as_ref());
        ProcessStatus {
            id: slot.id.clone(),
            process_type: slot.process_type.clone(),
            state: snapshot.map_or(Phase::Starting, |s| s.phase),
            release: batch.runnable.id(),
            command: None,
            pid: snapshot.and_then(|s| s.pid),
            port: snapshot.and_then(|s| s.port.or_else(|| published(s))),
            node: snapshot.and_then(|s| s.place.as_ref()?.node.clone()),
            task: snapshot.and_then(|s| Some(s.place.as_ref()?.task.clone())),
            socket: snapshot.and_then(|s| socket_of(s.address.as_ref()?)),
            started_at: snapshot.and_then(|s| s.started_at),
            restarts: snapshot.map_or(0, |s| s.restarts),
            last_exit: snapshot.and_then(|s| s.last_exit.clone()),
            memory_bytes: 0,
            cpu_seconds: 0.0,
            last_lines: vec![],
            unhealthy: trouble.map(|t| t.why.clone()),
            draining: batch.left_on(&slot.id),
        }
    })
}

/// A process that runs once, while it runs.
fn process_of_one_off(live: &Live) -> Option<ProcessStatus> {
    let snapshot = live.snapshot.as_ref()?;
    Some(ProcessStatus {
        id: live.record.id.clone(),
        process_type: live.record.process_type().to_owned(),
        state: snapshot.phase,
        release: live.record.release,
        command: Some(live.record.command.clone()),
        pid: snapshot.pid,
        port: None,
        node: snapshot.place.as_ref().and_then(|p| p.node.clone()),
        task: snapshot.place.as_ref().map(|p| p.task.clone()),
        socket: None,
        started_at: snapshot.started_at,
        restarts: 0,
        last_exit: snapshot.last_exit.clone(),
        memory_bytes: 0,
        cpu_seconds: 0.0,
        last_lines: vec![],
        unhealthy: None,
        draining: None,
    })
}

fn warnings_of_processes(batch: &Batch) -> impl Iterator<Item = String> {
    batch.members().flat_map(|(slot, snapshot)| {
        let warning = snapshot.and_then(|s| s.warning.as_ref());
        let trouble = snapshot.and_then(|s| s.trouble.as_ref());
        let is_passed_over = trouble.is_some() && batch.is_passed_over(&slot.id);
        let warning = warning.map(|w| format!("{}: {w}", slot.id));
        let trouble = trouble.map(|t| troubled(&slot.id, t, is_passed_over));
        warning.into_iter().chain(trouble)
    })
}

/// The port of another machine at which a process answers.
fn published(snapshot: &Snapshot) -> Option<u16> {
    match snapshot.address.as_ref()? {
        Address::Tcp(address) => Some(address.port()),
        Address::Unix(_) => None,
    }
}

fn socket_of(address: &Address) -> Option<PathBuf> {
    match address {
        Address::Tcp(_) => None,
        Address::Unix(file) => Some(file.path().to_owned()),
    }
}

/// The warning about a process that fails its checks.
fn troubled(id: &str, trouble: &Trouble, is_passed_over: bool) -> String {
    let why = &trouble.why;
    match (is_passed_over, trouble.is_foreign) {
        (true, _) => format!("{id} gets no request: {why}"),
        (false, true) => format!("{id} is not ready: {why}"),
        (false, false) => {
            format!(
                "{id} is unhealthy, and gets requests only because no other process is healthy: {why}"
            )
        }
    }
}

/// The host of a pattern that matches exactly one: `^a\.b$`.
fn spelled_out(pattern: &str) -> Option<String> {
    let host = pattern.strip_prefix('^')?.strip_suffix('$')?;
    let plain = host.replace("\\.", "");
    let is_label = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (!plain.is_empty() && plain.bytes().all(is_label)).then(|| host.replace('\\', ""))
}

impl Handler<Inspect> for App {
    type Result = View;

    fn handle(&mut self, _: Inspect, _: &mut Self::Context) -> View {
        View {
            document: self.deployer.documents.newest().document.clone(),
            summary: self.summary(),
            status: self.status(),
            deployments: self.deployer.deployments.records().to_vec(),
            releases: self.deployer.releases.records.clone(),
            current: self.deployer.life.current(),
            log: self.children.log.clone(),
            is_going: self.deployer.is_removed(),
            static_directory: self.static_directory(),
            dirs: self.spec.dirs.clone(),
            disk_limit: self.deployer.documents.newest().limits.disk,
            repo: self.deployer.documents.newest().repo.clone(),
        }
    }
}

impl Handler<Processes> for App {
    type Result = MessageResult<Processes>;

    fn handle(&mut self, _: Processes, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.processes())
    }
}

impl Handler<Summarize> for App {
    type Result = MessageResult<Summarize>;

    fn handle(&mut self, _: Summarize, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.summary())
    }
}
