//! The deployments of one app: their records in memory, and every change of one to the journal.

use std::sync::Arc;
use std::time::Duration;

use super::journal::Journal;
use crate::events::{Feed, Report};
use crate::install::record::{DeploymentRecord, DeploymentState, Failure, Step, StepRecord};

/// How many records are kept.
pub const KEPT: usize = 50;

/// The records of one app's deployments, oldest first.
#[derive(Debug, Default)]
pub struct Deployments {
    records: Vec<DeploymentRecord>,
    app: Arc<str>,
    events: Feed,
}

impl Deployments {
    /// Takes over the records of the previous daemon. A deployment that was not over becomes interrupted.
    #[must_use]
    pub fn recovered(
        mut records: Vec<DeploymentRecord>,
        (app, events): (Arc<str>, Feed),
        journal: &Journal,
    ) -> Self {
        records.sort_by_key(|r| r.id);
        let mut recovered = Self {
            records,
            app,
            events,
        };
        let unfinished = recovered.records.iter().filter(|r| !r.state.is_over());
        for id in unfinished.map(|r| r.id).collect::<Vec<_>>() {
            recovered.close(id, DeploymentState::Interrupted, None, journal);
        }
        recovered
    }

    #[must_use]
    pub fn records(&self) -> &[DeploymentRecord] {
        &self.records
    }

    /// The newest record.
    #[must_use]
    pub fn last(&self) -> Option<&DeploymentRecord> {
        self.records.last()
    }

    /// Opens a record and returns its id.
    pub fn open(&mut self, journal: &Journal) -> u64 {
        let id = self.records.last().map_or(0, |r| r.id) + 1;
        let record = DeploymentRecord {
            id,
            state: DeploymentState::Waiting,
            release: None,
            commit: None,
            started: jiff::Timestamp::now(),
            finished: None,
            steps: vec![],
            failure: None,
        };
        journal.deployment(record.clone());
        self.events.report(Report::DeploymentStarted {
            app: Arc::clone(&self.app),
            deployment: id,
        });
        self.records.push(record);
        if self.records.len() > KEPT {
            self.records.remove(0);
        }
        id
    }

    /// Notes that the deployment is at work: it makes or activates `release`.
    pub fn runs(&mut self, id: u64, release: u64, journal: &Journal) {
        self.change(id, journal, |record| {
            record.state = DeploymentState::Running;
            record.release = Some(release);
        });
    }

    pub fn commit(&mut self, id: u64, commit: String, journal: &Journal) {
        self.change(id, journal, |record| record.commit = Some(commit));
    }

    pub fn step(&mut self, id: u64, step: Step, journal: &Journal) {
        let record = StepRecord {
            step,
            started: jiff::Timestamp::now(),
            seconds: None,
        };
        self.change(id, journal, |deployment| deployment.steps.push(record));
    }

    pub fn step_over(&mut self, id: u64, step: Step, took: Option<Duration>, journal: &Journal) {
        self.change(id, journal, |deployment| {
            if let Some(record) = deployment.steps.iter_mut().rev().find(|s| s.step == step) {
                let took = took.unwrap_or_else(|| since(record.started));
                record.seconds.get_or_insert(took.as_secs_f64());
            }
        });
    }

    pub fn close(
        &mut self,
        id: u64,
        state: DeploymentState,
        failure: Option<Failure>,
        journal: &Journal,
    ) {
        self.change(id, journal, |record| {
            record.state = state;
            record.finished = Some(jiff::Timestamp::now());
            record.failure = failure;
            for step in record.steps.iter_mut().filter(|s| s.seconds.is_none()) {
                step.seconds = Some(since(step.started).as_secs_f64());
            }
        });
    }

    fn change(&mut self, id: u64, journal: &Journal, change: impl FnOnce(&mut DeploymentRecord)) {
        if let Some(record) = self.records.iter_mut().rev().find(|r| r.id == id) {
            let (steps, was_over) = (record.steps.len(), record.state.is_over());
            change(record);
            journal.deployment(record.clone());
            let app = Arc::clone(&self.app);
            if let Some(newest) = record.steps.get(steps) {
                self.events.report(Report::DeploymentStep {
                    app,
                    deployment: id,
                    step: newest.step.name(),
                });
            } else if record.state.is_over() && !was_over {
                self.events.report(Report::DeploymentFinished {
                    app,
                    deployment: id,
                    state: record.state.name(),
                    reason: record.failure.as_ref().map(ToString::to_string),
                });
            }
        }
    }
}

fn since(started: jiff::Timestamp) -> Duration {
    Duration::try_from(jiff::Timestamp::now().duration_since(started)).unwrap_or_default()
}
