//! The step `install`: runs what the document or the builders say, on what the release before has left.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::Deploy;
use super::manifest::Manifest;
use super::taken::{self, Taken};
use super::work::{self, Work};
use crate::install::build::{self, Variables};
use crate::install::built::{Built, Kept};
use crate::install::hard_links::Earlier;
use crate::install::install_log::InstallLog;
use crate::install::kept;
use crate::install::limits::{StepError, StepLimits, blocking};
use crate::install::record::{Failure, Step};
use crate::install::source::Fetched;
use crate::install::spec::InstallSpec;
use crate::install::{app_root, history, manifest, programs, shared, tools, venv};
use crate::process::environment::layered;

impl Deploy {
    /// The step `install`. If it fails with what was taken over, it runs once more without.
    pub(super) async fn install(
        &self,
        before: Manifest,
        fetched: &Fetched,
        earlier: Option<&Earlier>,
        work: &Work,
    ) -> Result<(Manifest, Option<u64>), StepError> {
        let limit = self.spec.timeouts.install;
        // What still runs in the checkout may write to all that is there.
        let runs_on = !before.release_phase().is_empty()
            || work.parts.iter().any(|part| !part.build.is_empty());
        let links = earlier.filter(|_| !runs_on);
        self.step(
            Step::Install,
            limit,
            async |log: InstallLog, limits: StepLimits| {
                for line in work.shown() {
                    log.line(line).await;
                }
                self.refuse_missing_tools(work).await?;
                let taken = self
                    .take_over(work, links, self.spec.use_cache, &log)
                    .await?;
                let venv = match self
                    .run_all(work, &taken, (&before, &fetched.commit), &log, &limits)
                    .await
                {
                    Err(StepError::Failed(failure))
                        if taken.from.is_some() && failure.exit_code.is_some() =>
                    {
                        log.line(format!(
                            "{}. Once more, without what release {} has left",
                            failure.reason,
                            taken.from.unwrap_or_default()
                        ))
                        .await;
                        self.write_again(fetched, earlier, &log, &limits).await?;
                        let none = self.take_over(work, links, false, &log).await?;
                        self.run_all(work, &none, (&before, &fetched.commit), &log, &limits)
                            .await?;
                        none.venv
                    }
                    other => {
                        other?;
                        taken.venv
                    }
                };
                history::take_back(log.step(), &self.spec.dirs.release(self.spec.release)).await?;
                // The commands may have written both files.
                let manifest = self.read_manifest(&log, true, work).await?;
                if manifest.release_phase().is_empty() {
                    self.hand_over(earlier, &log).await?;
                }
                Ok((manifest, venv))
            },
        )
        .await
    }

    /// Fails if a builder lacks a program.
    async fn refuse_missing_tools(&self, work: &Work) -> Result<(), StepError> {
        let env = layered([&self.spec.base_env, &self.spec.configured_env]);
        let path = env.get("PATH").cloned().unwrap_or_default();
        let (parts, config) = (work.parts.clone(), self.spec.config.clone());
        let look = move || Ok(tools::missing(&parts, &path, &config.packages));
        let missing = blocking(Step::Install, "cannot look for programs", look).await?;
        missing.map_or(Ok(()), |failure| Err(failure.into()))
    }

    async fn take_over(
        &self,
        work: &Work,
        links: Option<&Earlier>,
        use_cache: bool,
        log: &InstallLog,
    ) -> Result<Taken, StepError> {
        let (spec, work, links) = (self.spec.clone(), work.clone(), links.cloned());
        let take = move || taken::take_over(&spec, &work, links.as_ref(), use_cache);
        let what = "cannot take over what the release before has left";
        let taken = blocking(Step::Install, what, take).await?;
        for line in &taken.lines {
            log.line(line).await;
        }
        Ok(taken)
    }

    /// The checkout as the commit has it.
    async fn write_again(
        &self,
        fetched: &Fetched,
        earlier: Option<&Earlier>,
        log: &InstallLog,
        limits: &StepLimits,
    ) -> Result<(), StepError> {
        let directory = self.spec.dirs.release(self.spec.release);
        let source = self.source(log.clone(), limits.clone());
        source.checkout(fetched, &directory, None).await?;
        self.lend_history(&source, fetched, log).await?;
        self.open_up(earlier.cloned(), log).await?;
        shared::link(&self.spec, log, limits).await
    }

    async fn run_all(
        &self,
        work: &Work,
        taken: &Taken,
        (before, commit): (&Manifest, &str),
        log: &InstallLog,
        limits: &StepLimits,
    ) -> Result<(), StepError> {
        let venv = taken.venv.map(|id| self.spec.dirs.venv(id));
        let variables = Variables {
            builders: &work.env(),
            code: before.code(commit),
            venv: venv.as_deref(),
        };
        for command in &work.commands {
            build::install(&self.spec, command, &variables, log, limits).await?;
        }
        for part in &work.parts {
            let is_current = taken.current.contains(part.language);
            let install = part.install.iter().filter(|_| !is_current);
            for command in install.chain(&part.build) {
                build::install(&self.spec, command, &variables, log, limits).await?;
            }
        }
        Ok(())
    }

    /// What the record says of the finished release.
    pub(super) async fn built(
        &self,
        step: Step,
        work: &Work,
        venv: Option<u64>,
    ) -> Result<Built, StepError> {
        let (spec, work) = (self.spec.clone(), work.clone());
        let look = move || Ok(built(&spec, &work, venv));
        blocking(step, "cannot look at the release", look).await
    }

    /// A failed builder says how to do without it.
    pub(super) fn with_way_out(&self, mut failure: Failure) -> Failure {
        if failure.step == Step::Install
            && self.spec.config.install.is_none()
            && failure.exit_code.is_some()
        {
            const OUT: &str = "a builder ran this, as the document has no install: procserver set NAME install='[]' leaves it out, install='[\"…\"]' says other commands";
            failure.hint = Some(match failure.hint {
                Some(hint) => format!("{hint}; {OUT}"),
                None => OUT.to_owned(),
            });
        }
        failure
    }
}

/// Blocks.
fn built(spec: &InstallSpec, work: &Work, venv_of: Option<u64>) -> Built {
    let checkout = spec.dirs.release(spec.release);
    let document = &spec.config.document;
    let keys: BTreeMap<&str, String> = work
        .parts
        .iter()
        .filter_map(|part| Some((part, work::key(part, spec)?)))
        .flat_map(|(part, key)| {
            part.cache
                .iter()
                .map(move |name| (name.as_str(), key.clone()))
        })
        .collect();
    let names: BTreeSet<&str> = work
        .caches(spec.config.cache.as_deref())
        .into_iter()
        .collect();
    let kept = names.into_iter().filter_map(|name| {
        let inventory = match venv_of.filter(|_| name == venv::NAME) {
            Some(id) => kept::inventory(&spec.dirs.venv(id), Path::new(".")),
            None => kept::inventory(&checkout, &app_root::below(document, name)),
        };
        let key = keys.get(name).cloned();
        Some((
            name.to_owned(),
            Kept {
                key,
                inventory: inventory?,
            },
        ))
    });
    let has_procfile = manifest::has(&checkout, &app_root::below(document, "Procfile"));
    let is_static = spec.config.static_files.is_some();
    let stands_in = match has_procfile || is_static {
        true => Built::default(),
        false => work.stands_in(),
    };
    Built {
        kept: kept.collect(),
        path: programs::of(&app_root::of(&checkout, document)),
        env: work.env(),
        by_builders: !work.parts.is_empty(),
        venv: venv_of,
        ..stands_in
    }
}
