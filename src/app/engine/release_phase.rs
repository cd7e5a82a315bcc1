//! The release phase of a fresh release, where its engine runs it: on a swarm, once the image is made. On this machine the
//! installer runs it, in the tree that becomes the release.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::Engine;
use super::one_off::{OneOffOf, job};
use crate::app::context::AppContext;
use crate::app::runnable::{Runnable, configured_environment};
use crate::app_dirs::AppDirs;
use crate::document::engine::EngineKind;
use crate::document::formation::RELEASE;
use crate::document::secrets;
use crate::exit_status::ExitStatus;
use crate::install::failure;
use crate::install::first_deploy;
use crate::install::install_log::{InstallLog, elapsed};
use crate::install::record::{Failure, Step};
use crate::swarm::job::output::{Install, Sink};
use crate::swarm::job::run::{Outcome, Run};
use crate::swarm::swarm::Swarm;

/// Whether the installer runs the release phase, for an engine of this kind.
#[must_use]
pub fn is_the_installers(kind: EngineKind) -> bool {
    kind == EngineKind::Local
}

/// The release phase of a fresh release.
#[derive(Clone, Debug)]
pub struct ReleasePhase {
    pub context: AppContext,
    pub dirs: AppDirs,
    pub runnable: Arc<Runnable>,
    pub deployment: u64,
    pub log: InstallLog,
    pub limit: Duration,
}

/// The type, and the command, of each part.
type Part = (&'static str, String);

/// Whether a fresh release has one that its engine runs.
#[must_use]
pub fn is_due(runnable: &Runnable) -> bool {
    matches!(runnable.engine, Engine::Swarm(..)) && runnable.release.has_release_phase()
}

impl ReleasePhase {
    /// Runs it to its end; dropped before, it is ended.
    ///
    /// # Errors
    /// The command that failed.
    pub async fn run(self) -> Result<(), Failure> {
        let Engine::Swarm(swarm, _) = self.runnable.engine.clone() else {
            return Ok(());
        };
        let configured = configured_environment(&self.context, &self.runnable.config);
        let secret = secrets::of_environment(&configured).collect();
        let log = self.log.hiding(secret).at(Step::Release);
        log.line("=== release").await;
        let began = Instant::now();
        let done = self.parts(&swarm, &log).await;
        match &done {
            Ok(()) => {
                let took = elapsed(began.elapsed());
                log.line(format!("=== release done in {took}")).await;
            }
            Err(failure) => {
                log.line(format!("=== release failed: {}", failure.reason))
                    .await;
                if let Some(hint) = &failure.hint {
                    log.line(format!("    {hint}")).await;
                }
            }
        }
        done
    }

    async fn parts(&self, swarm: &Arc<Swarm>, log: &InstallLog) -> Result<(), Failure> {
        let dirs = self.dirs.clone();
        let look = move || first_deploy::is_due(&dirs);
        let is_first = actix_rt::task::spawn_blocking(look).await;
        let until = Instant::now() + self.limit;
        self.ends_of_before(swarm).await?;
        for (kind, command) in self.commands(is_first.unwrap_or_default()) {
            let left = until.saturating_duration_since(Instant::now());
            self.part(swarm, (kind, &command), left, log).await?;
        }
        let dirs = self.dirs.clone();
        let done = actix_rt::task::spawn_blocking(move || first_deploy::done(&dirs)).await;
        let done = done.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        done.map_err(|e| failure::io(Step::Release, "cannot note the first deploy", &e))
    }

    fn commands(&self, is_first: bool) -> Vec<Part> {
        let release = &self.runnable.release;
        let first = release.procfile.command(RELEASE);
        let first = first.map(|command| (RELEASE, command.to_owned()));
        let postdeploy = release.app_json.postdeploy.clone().filter(|_| is_first);
        let postdeploy = postdeploy.map(|command| ("postdeploy", command));
        first.into_iter().chain(postdeploy).collect()
    }

    /// Waits until nothing runs any more of a release phase that was left: two of them would disturb each other.
    async fn ends_of_before(&self, swarm: &Swarm) -> Result<(), Failure> {
        let app = self.runnable.config.name.as_str();
        let ended = swarm.end_jobs(app, |process| {
            process.starts_with("release.") || process.starts_with("postdeploy.")
        });
        let late = Failure::new(
            Step::Release,
            "a release phase that was interrupted has not ended on the swarm",
        );
        let late = late.hint("\"docker service ls\" shows it, \"docker node ls\" the machines");
        match tokio::time::timeout(self.limit, ended).await {
            Ok(ended) => ended.map_err(|e| Failure::new(Step::Release, e.to_string())),
            Err(_) => Err(late),
        }
    }

    async fn part(
        &self,
        swarm: &Arc<Swarm>,
        (kind, command): (&'static str, &str),
        left: Duration,
        log: &InstallLog,
    ) -> Result<(), Failure> {
        let of = OneOffOf {
            context: &self.context,
            dirs: &self.dirs,
            runnable: &self.runnable,
            number: self.deployment,
            id: &format!("{kind}.1"),
            process_type: kind,
            command,
            env: &BTreeMap::new(),
            time_limit: None,
        };
        let mut run = job(of, swarm, true);
        run.spec.service.limits = self.runnable.config.limits.of(RELEASE);
        log.line(format!("$ {command}")).await;
        let mut sink = Sink::Install(Box::new(Install::new(log.clone())));
        let began = Instant::now();
        let outcome = within(run, &mut sink, left).await;
        let tail = match sink {
            Sink::Install(install) => install.finish().await,
            Sink::Log { .. } | Sink::Pipes(_) => vec![],
        };
        let Some(outcome) = outcome else {
            log.line("ended: the step took too long").await;
            return Err(failure::timed_out(Step::Release, command, self.limit, tail));
        };
        if let Outcome::Ended { status, .. } = &outcome {
            let took = elapsed(began.elapsed());
            log.line(format!("{status} after {took}")).await;
        }
        of_outcome(command, outcome, tail)
    }
}

/// What became of a command, as that of a step.
fn of_outcome(command: &str, outcome: Outcome, tail: Vec<String>) -> Result<(), Failure> {
    match outcome {
        Outcome::Ended {
            status: ExitStatus::Code(0),
            ..
        } => Ok(()),
        Outcome::Ended {
            status: ExitStatus::Unknown,
            reason: Some(why),
            ..
        } => Err(Failure::new(Step::Release, format!("`{command}`: {why}")).tail(tail)),
        Outcome::Ended { status, .. } => Err(failure::exited(Step::Release, command, status, tail)),
        Outcome::NotStarted(why) => {
            let reason = format!("`{command}` was not started: {why}");
            Err(Failure::new(Step::Release, reason))
        }
    }
}

/// Ends a job whose deploy is cancelled.
struct EndsIt {
    swarm: Arc<Swarm>,
    name: Option<String>,
}

impl Drop for EndsIt {
    fn drop(&mut self) {
        if let Some(name) = self.name.take() {
            let swarm = Arc::clone(&self.swarm);
            // The call to make it may be under way still.
            actix_rt::spawn(async move {
                swarm.end(&name).await;
                swarm.remove_late(&name).await;
            });
        }
    }
}

/// Runs a job; `None`: it took too long, and is ended.
async fn within(run: Run, sink: &mut Sink, limit: Duration) -> Option<Outcome> {
    let mut ends = EndsIt {
        swarm: Arc::clone(&run.swarm),
        name: Some(run.spec.name()),
    };
    // Kept: nobody ends it but by dropping this.
    let (_stays, mut stops) = mpsc::channel(1);
    let outcome = run.to_end(sink, &mut stops, |_| {});
    let outcome = tokio::time::timeout(limit, outcome).await.ok()?;
    ends.name = None;
    Some(outcome)
}
