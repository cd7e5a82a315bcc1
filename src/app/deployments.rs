//! The deployments of one app: their records in memory, and every change of one to the journal.

use std::sync::Arc;
use std::time::Duration;

use super::journal::Journal;
use crate::events::{By, Feed, Report};
use crate::install::record::{DeploymentRecord, DeploymentState, Failure, Step, StepRecord};

/// How many records are kept.
pub const KEPT: usize = 50;

/// The records of one app's deployments, oldest first.
#[derive(Debug)]
pub struct Deployments {
    records: Vec<DeploymentRecord>,
    app: Arc<str>,
    journal: Journal,
    events: Feed,
}

impl Deployments {
    #[must_use]
    pub fn new(app: Arc<str>, journal: Journal, events: Feed) -> Self {
        Self {
            records: vec![],
            app,
            journal,
            events,
        }
    }

    /// Takes over the records of the previous server. A deployment that was not over becomes interrupted.
    pub fn recover(&mut self, mut records: Vec<DeploymentRecord>) {
        records.sort_by_key(|r| r.id);
        self.records = records;
        let unfinished = self.records.iter().filter(|r| !r.state.is_over());
        for id in unfinished.map(|r| r.id).collect::<Vec<_>>() {
            self.close(id, DeploymentState::Interrupted, None);
        }
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
    pub fn open(&mut self, by: &By) -> u64 {
        let id = self.records.last().map_or(0, |r| r.id) + 1;
        let record = DeploymentRecord {
            id,
            state: DeploymentState::Waiting,
            release: None,
            commit: None,
            by: Some(by.clone()),
            started: jiff::Timestamp::now(),
            finished: None,
            steps: vec![],
            failure: None,
        };
        self.journal.deployment(record.clone());
        self.events.report(Report::DeploymentStarted {
            app: Arc::clone(&self.app),
            deployment: id,
            by: by.clone(),
        });
        self.records.push(record);
        if self.records.len() > KEPT {
            self.records.remove(0);
        }
        id
    }

    /// Notes that the deployment is at work: it makes or activates `release`.
    pub fn runs(&mut self, id: u64, release: u64) {
        self.change(id, |record| {
            record.state = DeploymentState::Running;
            record.release = Some(release);
        });
    }

    pub fn commit(&mut self, id: u64, commit: String) {
        self.change(id, |record| record.commit = Some(commit));
    }

    pub fn step(&mut self, id: u64, step: Step) {
        let record = StepRecord {
            step,
            started: jiff::Timestamp::now(),
            seconds: None,
        };
        self.change(id, |deployment| deployment.steps.push(record));
    }

    pub fn step_over(&mut self, id: u64, step: Step, took: Option<Duration>) {
        self.change(id, |deployment| {
            if let Some(record) = deployment.steps.iter_mut().rev().find(|s| s.step == step) {
                let took = took.unwrap_or_else(|| since(record.started));
                record.seconds.get_or_insert(took.as_secs_f64());
            }
        });
    }

    pub fn close(&mut self, id: u64, state: DeploymentState, failure: Option<Failure>) {
        self.change(id, |record| {
            record.state = state;
            record.finished = Some(jiff::Timestamp::now());
            record.failure = failure;
            for step in record.steps.iter_mut().filter(|s| s.seconds.is_none()) {
                step.seconds = Some(since(step.started).as_secs_f64());
            }
        });
    }

    fn change(&mut self, id: u64, change: impl FnOnce(&mut DeploymentRecord)) {
        if let Some(record) = self.records.iter_mut().rev().find(|r| r.id == id) {
            let (steps, was_over) = (record.steps.len(), record.state.is_over());
            change(record);
            self.journal.deployment(record.clone());
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
                    release: record.release,
                    commit: record.commit.clone(),
                    by: record.by.clone(),
                    reason: record.failure.as_ref().map(ToString::to_string),
                });
            }
        }
    }
}

fn since(started: jiff::Timestamp) -> Duration {
    Duration::try_from(jiff::Timestamp::now().duration_since(started)).unwrap_or_default()
}
