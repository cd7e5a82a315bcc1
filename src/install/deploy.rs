//! [`Deploy`]: runs the steps of one deploy, up to a release that can be started. What must be there before is looked at
//! in `prepare`; what is done in the checkout is in `work`, and how in `building`.

mod advised;
mod building;
mod half_made;
mod manifest;
mod prepare;
mod taken;
mod work;

use std::path::PathBuf;
use std::time::Duration;

use actix::Recipient;
use tokio::sync::watch;
use tokio::time::Instant;

use super::built::Built;
use super::dedup;
use super::git_user::GitUser;
use super::hard_links::Earlier;
use super::install_log::{InstallLog, elapsed};
use super::limits::{StepError, StepLimits, blocking};
use super::lines::Mask;
use super::record::{Failure, Step};
use super::release::{self, Release, ReleaseRecord};
use super::remote::Remote;
use super::source::{Fetched, Source};
use super::spec::{InstallEvent, InstallProgress, InstallSpec};
use super::{app_root, build, first_deploy, links, packages, plan, shared};
use crate::document::secrets;
use crate::failpoint;
use crate::logs::log::Append;
use half_made::HalfMade;
use manifest::Manifest;
use work::Work;

#[derive(Debug)]
pub struct Deploy {
    spec: InstallSpec,
    log: InstallLog,
    parent: Recipient<InstallProgress>,
    cancel: watch::Receiver<bool>,
}

/// The warning about a `.env` in a repository.
const COMMITTED: &str = ".env is committed: everybody who can read the repository knows its values; keep secrets in the application's env (procserver env), which wins over it";

impl Deploy {
    /// A deploy of `spec` that ends early when `cancel` becomes true.
    #[must_use]
    pub fn new(
        spec: InstallSpec,
        log: Recipient<Append>,
        parent: Recipient<InstallProgress>,
        cancel: watch::Receiver<bool>,
    ) -> Self {
        let mask = Mask::new(Remote::of(&spec.config.repo.origin).secrets())
            .and(secrets::of_environment(&spec.configured_env));
        Self {
            log: InstallLog::new(log, spec.deployment, mask),
            spec,
            parent,
            cancel,
        }
    }

    /// Runs the deploy. If it fails, or this future is dropped, nothing of the release is left.
    ///
    /// # Errors
    /// The step that failed, or that it was cancelled.
    pub async fn run(self) -> Result<Release, StepError> {
        let half_made = HalfMade::new(&self.spec);
        let result = self.make().await;
        match result {
            Ok(release) if !*self.cancel.borrow() => {
                half_made.keep();
                Ok(release)
            }
            result => {
                let error = result.err().unwrap_or(StepError::Cancelled);
                let error = self.advised(error).await;
                half_made.remove().await;
                Err(error)
            }
        }
    }

    async fn make(&self) -> Result<Release, StepError> {
        let config = &self.spec.config;
        let steps = plan::steps(!config.packages.is_empty());
        if let Err(error) = self.prepare(steps[0]).await {
            if let StepError::Failed(failure) = &error {
                self.log.at(steps[0]).line(&failure.reason).await;
            }
            return Err(error);
        }
        if steps.contains(&Step::Packages) {
            let limit = self.spec.timeouts.packages;
            self.step(Step::Packages, limit, async |log, limits| {
                packages::install(&config.packages, &log, &limits).await
            })
            .await?;
        }
        self.shell(steps[0]).await?;
        let mut fetched = self.fetch().await?;
        let earlier = self.earlier().await?;
        let (mut manifest, work) = self.checkout(&fetched, earlier.as_ref()).await?;
        manifest
            .warnings
            .splice(0..0, std::mem::take(&mut fetched.warnings));
        let (mut last, mut venv) = (Step::Checkout, None);
        if !work.is_nothing() {
            last = Step::Install;
            let warnings = std::mem::take(&mut manifest.warnings);
            (manifest, venv) = self
                .install(manifest, &fetched, earlier.as_ref(), &work)
                .await?;
            manifest.warnings = warnings;
        }
        let phase = manifest.release_phase();
        if !phase.is_empty() {
            last = Step::Release;
            let code = manifest.code(&fetched.commit);
            self.release_phase(&phase, code, earlier.as_ref(), &work)
                .await?;
        }
        let built = self.built(last, &work, venv).await?;
        self.complete(last, fetched.commit, manifest.warnings, built)
            .await
    }

    /// Where the application is in the checkout.
    fn app_root(&self) -> PathBuf {
        let checkout = self.spec.dirs.release(self.spec.release);
        app_root::of(&checkout, &self.spec.config.document)
    }

    fn source(&self, log: InstallLog, limits: StepLimits) -> Source<'_> {
        let user = GitUser::of(self.spec.account.as_ref());
        let commit = self.spec.commit.as_deref();
        Source::new(
            &self.spec.dirs,
            user,
            &self.spec.config.repo,
            commit,
            log,
            limits,
        )
    }

    async fn fetch(&self) -> Result<Fetched, StepError> {
        let limit = self.spec.timeouts.fetch;
        let fetched = self
            .step(Step::Fetch, limit, async |log: InstallLog, limits| {
                let source = self.source(log.clone(), limits);
                let fetched = source.fetch().await?;
                log.line(format!("commit {}", fetched.commit)).await;
                for warning in &fetched.warnings {
                    log.line(format!("remark: {warning}")).await;
                }
                Ok(fetched)
            })
            .await?;
        self.report(InstallEvent::Commit(fetched.commit.clone()));
        Ok(fetched)
    }

    /// The release whose files this one may share.
    async fn earlier(&self) -> Result<Option<Earlier>, StepError> {
        let (dirs, account) = (self.spec.dirs.clone(), self.spec.account.clone());
        let found = move || Ok(Earlier::find(&dirs, account.as_ref()));
        blocking(Step::Checkout, "cannot look at the releases", found).await
    }

    async fn checkout(
        &self,
        fetched: &Fetched,
        earlier: Option<&Earlier>,
    ) -> Result<(Manifest, Work), StepError> {
        let spec = &self.spec;
        let directory = spec.dirs.release(spec.release);
        self.step(
            Step::Checkout,
            spec.timeouts.fetch,
            async |log: InstallLog, limits| {
                let source = self.source(log.clone(), limits.clone());
                let links = !spec.config.shared.is_empty();
                // A tree that is built in belongs to the app's user meanwhile, so it has no links.
                let has_commands = !spec.config.install_commands().is_empty();
                let same = earlier.filter(|earlier| {
                    !(has_commands || links || earlier.by_builders || earlier.has_release_phase)
                });
                let mut warnings = source.checkout(fetched, &directory, same).await?;
                let work = self.look(&log).await?;
                let builds = !work.is_nothing();
                // A mistake in the Procfile is found before the build.
                let mut manifest = self.read_manifest(&log, !builds, &work).await?;
                let runs = builds || !manifest.release_phase().is_empty();
                if runs && same.is_some() {
                    // This is the first build or release phase of the app: the tree must not have links.
                    warnings = source.checkout(fetched, &directory, None).await?;
                }
                manifest.warnings = warnings;
                if !manifest.dotenv.is_empty() {
                    manifest.warnings.push(COMMITTED.to_owned());
                }
                if builds {
                    self.lend_history(&source, fetched, &log).await?;
                }
                if runs || links {
                    self.open_up(earlier.cloned(), &log).await?;
                    shared::link(spec, &log, &limits).await?;
                }
                if !runs {
                    let earlier = earlier.filter(|_| links);
                    self.hand_over(earlier, &log).await?;
                }
                Ok((manifest, work))
            },
        )
        .await
    }

    /// Gives the checkout a `.git` for what is run in it.
    async fn lend_history(
        &self,
        source: &Source<'_>,
        fetched: &Fetched,
        log: &InstallLog,
    ) -> Result<(), StepError> {
        let directory = self.spec.dirs.release(self.spec.release);
        let shared = shared::below(&self.spec.config);
        let lent = source.lend_history(fetched, &directory, &shared);
        if let Some(remark) = lent.await? {
            log.line(format!("remark: {remark}")).await;
        }
        Ok(())
    }

    /// Looks at what is to be done in the fresh checkout.
    async fn look(&self, log: &InstallLog) -> Result<Work, StepError> {
        let (spec, directory) = (self.spec.clone(), self.spec.dirs.release(self.spec.release));
        let look = move || Ok(Work::of(&spec, &directory));
        blocking(log.step(), "cannot look at the checkout", look).await
    }

    async fn release_phase(
        &self,
        phase: &[(&str, &str)],
        code: build::Code<'_>,
        earlier: Option<&Earlier>,
        work: &Work,
    ) -> Result<(), StepError> {
        let limit = self.spec.timeouts.release;
        self.step(Step::Release, limit, async |log: InstallLog, limits| {
            let variables = build::Variables {
                builders: &work.env(),
                code,
                venv: None,
            };
            for command in phase {
                build::release_phase(&self.spec, *command, &variables, &log, &limits).await?;
            }
            self.hand_over(earlier, &log).await
        })
        .await
    }

    /// Gives the checkout to the app's user.
    async fn open_up(&self, earlier: Option<Earlier>, log: &InstallLog) -> Result<(), StepError> {
        let directory = self.spec.dirs.release(self.spec.release);
        let account = self.spec.account.clone();
        let what = "cannot give the checkout to the app's user";
        blocking(log.step(), what, move || {
            if let Some(earlier) = earlier {
                dedup::carry_times(&directory, &earlier);
            }
            build::open_up(&directory, account.as_ref())
        })
        .await
    }

    /// Takes the tree from the app's user for good, and shares with `earlier` what they have in common.
    async fn hand_over(
        &self,
        earlier: Option<&Earlier>,
        log: &InstallLog,
    ) -> Result<(), StepError> {
        let directory = self.spec.dirs.release(self.spec.release);
        let (account, earlier) = (self.spec.account.clone(), earlier.cloned());
        let venv = self.spec.dirs.venv(self.spec.release);
        let what = "cannot make the release read-only";
        blocking(log.step(), what, move || {
            if venv.is_dir() {
                build::hand_over(&venv, account.as_ref(), None)?;
            }
            build::hand_over(&directory, account.as_ref(), earlier.as_ref())
        })
        .await
    }

    /// Writes the record. From then on the release exists.
    async fn complete(
        &self,
        step: Step,
        commit: String,
        mut warnings: Vec<String>,
        built: Built,
    ) -> Result<Release, StepError> {
        if *self.cancel.borrow() {
            return Err(StepError::Cancelled);
        }
        if let Some(files) = &self.spec.config.static_files {
            let (root, dir) = (self.app_root(), files.dir.clone());
            let look = move || Ok(links::leading_out(&root, &dir));
            warnings.extend(blocking(step, "cannot look at the files", look).await?);
        }
        let record = ReleaseRecord {
            id: self.spec.release,
            commit,
            created: jiff::Timestamp::now(),
            document: self.spec.config.document.clone(),
            code: None,
            warnings,
            built,
        };
        let dirs = self.spec.dirs.clone();
        let is_run = self.spec.runs_release_phase;
        let loaded = blocking(step, "cannot write the release's record", move || {
            release::complete(&dirs, &record)?;
            let loaded = release::load(&dirs, record.id);
            let follows = loaded.as_ref().is_ok_and(Release::has_release_phase);
            if is_run || !follows {
                first_deploy::done(&dirs)?;
            }
            Ok(loaded)
        })
        .await?;
        loaded.map_err(|e| Failure::new(step, e.to_string()).into())
    }

    /// Runs `work` as `step`, and reports it to the parent and in the log.
    async fn step<T>(
        &self,
        step: Step,
        limit: Duration,
        work: impl AsyncFnOnce(InstallLog, StepLimits) -> Result<T, StepError>,
    ) -> Result<T, StepError> {
        self.report(InstallEvent::Started(step));
        failpoint::reach(&format!("before {}", step.name()));
        let log = self.log.at(step);
        log.line(format!("=== {}", step.name())).await;
        let began = Instant::now();
        let result = work(log.clone(), StepLimits::new(limit, self.cancel.clone())).await;
        let time = began.elapsed();
        match &result {
            Ok(_) => {
                failpoint::reach(&format!("after {}", step.name()));
                log.line(format!("=== {} done in {}", step.name(), elapsed(time)))
                    .await;
                self.report(InstallEvent::Finished(step, time));
            }
            Err(StepError::Failed(failure)) => {
                log.line(format!("=== {} failed: {}", step.name(), failure.reason))
                    .await;
                if let Some(hint) = &failure.hint {
                    log.line(format!("    {hint}")).await;
                }
            }
            Err(StepError::Cancelled) => {
                log.line(format!("=== {} cancelled", step.name())).await;
            }
        }
        result
    }

    fn report(&self, event: InstallEvent) {
        // A whole deploy sends a dozen, which do not fill the parent's mailbox.
        self.parent.do_send(InstallProgress {
            deployment: self.spec.deployment,
            event,
        });
    }
}
