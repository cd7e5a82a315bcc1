//! The operations of one app that are not over, and who waits for them.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use super::config::AppConfig;
use super::lifecycle::OpId;
use super::runnable::Runnable;
use crate::install::record::Failure;

/// How something accepted ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Well.
    Done,
    /// Not.
    Failed(Box<Failure>),
    /// A newer one took its place, it was cancelled, or the app was deleted; the text says which.
    Dropped(String),
}

/// Something accepted that takes time.
#[derive(Clone, Debug)]
pub struct Ticket {
    /// The deployment, when it is one.
    pub deployment: Option<u64>,
    /// Set once, when it is over.
    pub outcome: watch::Receiver<Option<Outcome>>,
}

/// One operation that is not over.
#[derive(Debug)]
pub struct Operation {
    /// The document to deploy.
    pub config: Arc<AppConfig>,
    /// Its deployment, when it is one.
    pub deployment: Option<u64>,
    /// The release to start, once made or loaded.
    pub runnable: Option<Arc<Runnable>>,
    /// The release that it makes, if it does.
    pub made: Option<u64>,
    /// What the serving batch ran as before a change of its scale.
    pub before: Option<Arc<Runnable>>,
    /// Why it fails, when that is known before it ends.
    pub failure: Option<Failure>,
    done: watch::Sender<Option<Outcome>>,
}

/// The operations of one app that are not over.
#[derive(Debug, Default)]
pub struct Operations {
    last: OpId,
    open: BTreeMap<OpId, Operation>,
}

impl Operations {
    /// Opens an operation.
    pub fn open(&mut self, config: Arc<AppConfig>, deployment: Option<u64>) -> (OpId, Ticket) {
        self.last += 1;
        let (done, outcome) = watch::channel(None);
        let operation = Operation {
            config,
            deployment,
            runnable: None,
            made: None,
            before: None,
            failure: None,
            done,
        };
        self.open.insert(self.last, operation);
        (
            self.last,
            Ticket {
                deployment,
                outcome,
            },
        )
    }

    /// An open operation.
    pub fn get(&mut self, op: OpId) -> Option<&mut Operation> {
        self.open.get_mut(&op)
    }

    /// The open operation that is deployment `id`.
    #[must_use]
    pub fn of_deployment(&self, id: u64) -> Option<OpId> {
        self.open
            .iter()
            .find(|(_, o)| o.deployment == Some(id))
            .map(|(op, _)| *op)
    }

    /// Takes an operation out, to be closed with [`Operation::close`].
    pub fn take(&mut self, op: OpId) -> Option<Operation> {
        self.open.remove(&op)
    }
}

impl Operation {
    /// Tells those who wait.
    pub fn close(self, outcome: Outcome) {
        self.done.send_replace(Some(outcome));
    }
}
