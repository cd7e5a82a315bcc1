//! What the API shows of an app, taken at one moment.

use std::path::PathBuf;

use actix::prelude::*;

use super::App;
use crate::app::directories::AppDirs;
use crate::app::lifecycle::{Kind, Wanted};
use crate::app::status::{AppState, ProcessStatus, Status, Summary};
use crate::install::record::DeploymentRecord;
use crate::install::release::ReleaseRecord;
use crate::logs::log::Log;
use crate::process::health::Trouble;
use crate::process::held;
use crate::process::worker::Phase;
use crate::router::address::Address;
use crate::supervision::ChildRef;

/// One of several views of the app.
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "View")]
pub struct Inspect;

/// One line of the list of all apps.
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "Summary")]
pub struct Summarize;

/// Everything the API shows of an app, taken at one moment.
#[derive(Clone, Debug, MessageResponse)]
pub struct View {
    /// The document, as PUT takes it.
    pub document: serde_json::Value,
    /// One line.
    pub summary: Summary,
    /// Live state; memory and CPU are filled in by the caller (`process::usage`), last lines by [`View::log`],
    /// the deploy key from [`View::dirs`].
    pub status: Status,
    /// All kept records, oldest first.
    pub deployments: Vec<DeploymentRecord>,
    /// All kept releases, oldest first.
    pub releases: Vec<ReleaseRecord>,
    /// The current release.
    pub current: Option<u64>,
    /// The log actor.
    pub log: ChildRef<Log>,
    /// Where its files are.
    pub dirs: AppDirs,
}

impl App {
    fn state(&self) -> AppState {
        let serving = self.life.serving().and_then(|id| self.batches.get(&id));
        match self.life.active() {
            Some((_, Kind::Deploy { .. })) => return AppState::Deploying,
            _ if self.life.wanted() != Wanted::Running => return AppState::Stopped,
            _ => {}
        }
        match serving {
            Some(batch) if batch.is_crashlooping() => AppState::Crashlooping,
            Some(batch) if self.unproven.contains(&batch.runnable.id()) => AppState::Failed,
            Some(_) => AppState::Running,
            None if self.life.active().is_some() => AppState::Running,
            None => AppState::Failed,
        }
    }

    /// Why nothing has got ready, of an app that is [`AppState::Failed`].
    fn why_failed(&self) -> Option<String> {
        let last = self.deployments.last()?;
        let failure = last.failure.as_ref()?;
        let told = || format!("deployment {} failed: {failure}", last.id);
        (self.state() == AppState::Failed).then(told)
    }

    fn summary(&self) -> Summary {
        Summary {
            name: self.name().to_owned(),
            state: self.state(),
            release: self.life.current(),
        }
    }

    fn status(&self) -> Status {
        let mut warnings = [&self.spec.warnings[..], &self.warnings].concat();
        warnings.extend(self.left_out());
        warnings.extend(self.why_failed());
        warnings.extend(held::warnings(self.spec.dirs.runtime()));
        let mut processes = Vec::new();
        for batch in self.batches.values() {
            let runnable = &batch.runnable;
            for warning in runnable.warnings.iter().chain(&runnable.scale_warnings) {
                if !warnings.contains(warning) {
                    warnings.push(warning.clone());
                }
            }
            for (slot, snapshot) in batch.members() {
                warnings.extend(
                    snapshot
                        .and_then(|s| s.warning.as_ref())
                        .map(|w| format!("{}: {w}", slot.id)),
                );
                let trouble = snapshot.and_then(|s| s.trouble.as_ref());
                let is_passed_over = trouble.is_some() && batch.is_passed_over(&slot.id);
                warnings.extend(trouble.map(|t| troubled(&slot.id, t, is_passed_over)));
                processes.push(ProcessStatus {
                    id: slot.id.clone(),
                    process_type: slot.process_type.clone(),
                    state: snapshot.map_or(Phase::Starting, |s| s.phase),
                    release: batch.runnable.id(),
                    pid: snapshot.and_then(|s| s.pid),
                    port: snapshot.and_then(|s| s.port),
                    socket: snapshot.and_then(|s| socket_of(s.address.as_ref()?)),
                    started_at: snapshot.and_then(|s| s.started_at),
                    restarts: snapshot.map_or(0, |s| s.restarts),
                    last_exit: snapshot.and_then(|s| s.last_exit.clone()),
                    memory_bytes: 0,
                    cpu_seconds: 0.0,
                    last_lines: vec![],
                    unhealthy: trouble.map(|t| t.why.clone()),
                });
            }
        }
        let commit = self
            .life
            .current()
            .and_then(|id| self.releases.iter().find(|r| r.id == id));
        Status {
            name: self.name().to_owned(),
            state: self.state(),
            release: self.life.current(),
            commit: commit.map(|r| r.commit.clone()),
            deployment: self.deployments.last().map(|r| r.id),
            processes,
            warnings,
            deploy_key: None,
        }
    }
}

fn socket_of(address: &Address) -> Option<PathBuf> {
    match address {
        Address::Tcp(_) => None,
        Address::Unix(file) => Some(file.path().to_owned()),
    }
}

/// What a person should know of a process that fails its checks.
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

impl Handler<Inspect> for App {
    type Result = View;

    fn handle(&mut self, _: Inspect, _: &mut Self::Context) -> View {
        View {
            document: self.spec.config.document.clone(),
            summary: self.summary(),
            status: self.status(),
            deployments: self.deployments.records().to_vec(),
            releases: self.releases.clone(),
            current: self.life.current(),
            log: self.log.clone(),
            dirs: self.spec.dirs.clone(),
        }
    }
}

impl Handler<Summarize> for App {
    type Result = MessageResult<Summarize>;

    fn handle(&mut self, _: Summarize, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.summary())
    }
}
