//! What a process of an App is started with, and what all that runs for it may reach.

use super::App;
use crate::account::Account;
use crate::app::lifecycle::BatchId;
use crate::document::config::AppConfig;
use crate::process::landlock::Landlock;
use crate::process::mounts::Mounts;
use crate::process::worker::ProcessSpec;

impl App {
    pub(super) fn process_spec(&self, id: BatchId, process: &str) -> Option<ProcessSpec> {
        let batch = self.batches.get(id)?;
        let slot = batch.members().find(|(slot, _)| slot.id == process)?.0;
        let runnable = &batch.runnable;
        Some(ProcessSpec {
            app: self.spec.config.name.clone(),
            id: slot.id.clone(),
            process_type: slot.process_type.clone(),
            release: runnable.id(),
            commit: runnable.release.record.commit.clone(),
            batch: id,
            shell: runnable.config.shell,
            command: slot.command.clone(),
            directory: runnable.release.directory.clone(),
            account: runnable.account.clone(),
            one_off: None,
            environment: runnable.environment.clone(),
            routed: slot.routed,
            limits: runnable.config.limits.of(&slot.process_type),
            health: runnable.health.clone(),
            stop: runnable.config.stop.clone(),
            restart: runnable.config.restart.of(&slot.process_type),
            runtime: self.spec.dirs.runtime().to_owned(),
            preferred_port: self.batches.preferred_port(process),
            landlock: self.landlock(runnable.account.as_ref()),
            mounts: self.mounts(&runnable.config, runnable.account.as_ref()),
            start_permits: (self.batches.at_boot == Some(id))
                .then(|| self.spec.context.start_permits.clone()),
        })
    }

    /// Lets the app write to its own places only: to no release, not even its own, and to nothing else of the server.
    pub(super) fn landlock(&self, account: Option<&Account>) -> Option<Landlock> {
        let settings = &self.spec.context.settings;
        let server = [settings.data_dir.as_path(), &settings.runtime_dir];
        Landlock::of_app(account, server, &self.spec.dirs)
    }

    /// Shows the app its own places of the server's directories only, if its document does not say otherwise.
    pub(super) fn mounts(&self, config: &AppConfig, account: Option<&Account>) -> Option<Mounts> {
        let account = account.filter(|_| config.sandbox);
        let settings = &self.spec.context.settings;
        let server = [
            settings.data_dir.as_path(),
            &settings.runtime_dir,
            &settings.config_dir,
        ];
        Mounts::of_app(account, &server, &self.spec.dirs)
    }
}
