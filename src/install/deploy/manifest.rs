//! [`Manifest`]: what the files of a checkout say is to be run.

use std::collections::BTreeMap;

use super::Deploy;
use super::work::Work;
use crate::document::formation::RELEASE;
use crate::document::procfile::Procfile;
use crate::install::install_log::InstallLog;
use crate::install::limits::{StepError, blocking};
use crate::install::{app_root, build, first_deploy, manifest};

/// What the files of a checkout say, and warnings about it.
pub(super) struct Manifest {
    pub(super) procfile: Procfile,
    pub(super) dotenv: BTreeMap<String, String>,
    /// Of `app.json`, in the first deploy.
    pub(super) postdeploy: Option<String>,
    pub(super) warnings: Vec<String>,
    /// Whether the deploy runs the release phase.
    runs_release_phase: bool,
}

impl Manifest {
    /// The commands of the release phase, each with its `PS`. Like the install commands, they run in the tree of the
    /// app's user, and what they make there (collected assets, a cached configuration) is part of the release.
    pub(super) fn release_phase(&self) -> Vec<(&'static str, &str)> {
        if !self.runs_release_phase {
            return vec![];
        }
        let release = self.procfile.command(RELEASE);
        let release = release.map(|command| ("release.1", command));
        let postdeploy = self.postdeploy.as_deref();
        let postdeploy = postdeploy.map(|command| ("postdeploy.1", command));
        release.into_iter().chain(postdeploy).collect()
    }

    pub(super) fn code<'a>(&'a self, commit: &'a str) -> build::Code<'a> {
        build::Code {
            commit,
            dotenv: &self.dotenv,
        }
    }
}

impl Deploy {
    pub(super) async fn read_manifest(
        &self,
        log: &InstallLog,
        warn: bool,
        work: &Work,
    ) -> Result<Manifest, StepError> {
        let directory = self.spec.dirs.release(self.spec.release);
        let (config, dirs) = (self.spec.config.clone(), self.spec.dirs.clone());
        let stands_in = work.stands_in();
        let read = blocking(log.step(), "cannot read the release", move || {
            let read = manifest::manifest_for(&directory, &config.document, &stands_in);
            let procfile = app_root::below(&config.document, "Procfile");
            let has_procfile = manifest::has(&directory, &procfile);
            Ok((read, has_procfile, first_deploy::is_due(&dirs)))
        })
        .await?;
        let (read, has_procfile, is_first) = read;
        let read = read.map_err(|e| work.without_manifest(log.step(), &e))?;
        if warn {
            if !has_procfile && let Some(line) = work.stand_in_shown() {
                log.line(line).await;
            }
            for warning in read.warnings(&self.spec.config.document) {
                log.line(format!("remark: {warning}")).await;
            }
        }
        Ok(Manifest {
            procfile: read.procfile,
            dotenv: read.dotenv.variables,
            postdeploy: read.app_json.postdeploy.filter(|_| is_first),
            warnings: Vec::new(),
            runs_release_phase: self.spec.runs_release_phase,
        })
    }
}
