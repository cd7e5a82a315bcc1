//! The units of a batch as their engine is asked to run them.

use actix::Recipient;

use super::App;
use crate::account::Account;
use crate::app::engine::unit::{Around, UnitOf, UnitSpec};
use crate::app::lifecycle::BatchId;
use crate::app::sandbox;
use crate::document::config::AppConfig;
use crate::process::landlock::Landlock;
use crate::process::mounts::Mounts;
use crate::process::worker::ProcessChanged;

impl App {
    pub(super) fn unit_spec(&self, id: BatchId, unit: &str) -> Option<UnitSpec> {
        let batch = self.batches.get(id)?;
        let slot = batch.slots_of(unit).next()?;
        let runnable = &batch.runnable;
        UnitSpec::of(UnitOf {
            context: &self.spec.context,
            dirs: &self.spec.dirs,
            runnable,
            batch: id,
            slot,
            quantity: batch.staying(unit).len() as u64,
            preferred_port: self.batches.preferred_port(&slot.id),
            at_boot: self.batches.at_boot == Some(id),
        })
    }

    /// Whom the actor of a unit talks to.
    pub(super) fn around(&self, parent: Recipient<ProcessChanged>) -> Around {
        Around {
            control: self.spec.context.control.clone(),
            ports: self.spec.context.ports.clone(),
            log: self.children.log.clone(),
            parent,
        }
    }

    pub(super) fn landlock(&self, account: Option<&Account>) -> Option<Landlock> {
        sandbox::landlock(&self.spec.context.settings, &self.spec.dirs, account)
    }

    pub(super) fn mounts(&self, config: &AppConfig, account: Option<&Account>) -> Option<Mounts> {
        let settings = &self.spec.context.settings;
        sandbox::mounts(settings, &self.spec.dirs, config, account)
    }
}
