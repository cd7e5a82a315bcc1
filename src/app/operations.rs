//! The operations of one app that are not over, and who waits for them.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use super::lifecycle::OpId;
use super::runnable::Runnable;
use crate::document::config::AppConfig;
use crate::events::By;
use crate::install::record::Failure;

#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Done,
    Failed(Box<Failure>),
    /// It never came to its end; the text says why: cancelled, the app was stopped or removed, or a newer operation
    /// does something else in its place.
    Dropped(String),
    /// A newer operation took its place and did the same. Carries the deployment of that one and how it ended.
    Overtaken(Option<u64>, Box<Outcome>),
}

/// Lets the caller wait for an operation that was accepted.
#[derive(Clone, Debug)]
pub struct Ticket {
    /// The deployment, when it is one.
    pub deployment: Option<u64>,
    /// Set once, when the operation is over.
    pub outcome: watch::Receiver<Option<Outcome>>,
}

/// One operation that is not over.
#[derive(Debug)]
pub struct Operation {
    pub config: Arc<AppConfig>,
    pub deployment: Option<u64>,
    /// The commit that it deploys, of an app that is pushed to; `None`: that of the branch.
    pub commit: Option<String>,
    /// The release to start, once made or loaded.
    pub runnable: Option<Arc<Runnable>>,
    /// The release that it makes, of a deploy.
    pub made: Option<u64>,
    /// What the serving batch was before a change of scale, to go back to.
    pub before: Option<Arc<Runnable>>,
    /// The reason, when it is known before the operation ends.
    pub failure: Option<Failure>,
    /// A rollback: an operation that takes its place does not do what it was asked for.
    pub rolls_back: bool,
    /// What the release before has left may be used, of a deploy.
    pub use_cache: bool,
    /// Who asked for it.
    pub by: By,
    done: watch::Sender<Option<Outcome>>,
    /// Who waits for the operations whose place it took.
    overtaken: Vec<watch::Sender<Option<Outcome>>>,
}

/// The operations of one app that are not over.
#[derive(Debug, Default)]
pub struct Operations {
    last: OpId,
    open: BTreeMap<OpId, Operation>,
}

impl Operations {
    pub fn open(
        &mut self,
        config: Arc<AppConfig>,
        deployment: Option<u64>,
        by: By,
    ) -> (OpId, Ticket) {
        self.last += 1;
        let (done, outcome) = watch::channel(None);
        let operation = Operation {
            config,
            deployment,
            commit: None,
            runnable: None,
            made: None,
            before: None,
            failure: None,
            rolls_back: false,
            use_cache: true,
            by,
            done,
            overtaken: vec![],
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

    /// The releases that open operations make or start.
    pub fn releases(&self) -> impl Iterator<Item = u64> + '_ {
        let all = self.open.values();
        all.flat_map(|o| [o.made, o.runnable.as_ref().map(|runnable| runnable.id())])
            .flatten()
    }

    /// The commits that are to be deployed, of an app that is pushed to.
    pub fn commits(&self) -> impl Iterator<Item = &String> {
        self.open.values().filter_map(|o| o.commit.as_ref())
    }

    /// Puts an operation back that has ended but is not closed yet.
    pub fn leave_open(&mut self, op: OpId, operation: Operation) {
        self.open.insert(op, operation);
    }

    /// Takes an operation out, to be closed with [`Operation::close`].
    pub fn take(&mut self, op: OpId) -> Option<Operation> {
        self.open.remove(&op)
    }
}

impl Operation {
    /// Takes the place of an older operation. Who waits for that one is told how this one ends.
    pub fn overtake(&mut self, older: Self) {
        self.commit = self.commit.take().or(older.commit);
        self.use_cache &= older.use_cache;
        self.overtaken.extend(older.overtaken);
        self.overtaken.push(older.done);
    }

    pub fn close(self, outcome: Outcome) {
        let overtaken = Outcome::Overtaken(self.deployment, Box::new(outcome.clone()));
        for waiting in self.overtaken {
            waiting.send_replace(Some(overtaken.clone()));
        }
        self.done.send_replace(Some(outcome));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::document::config::Rules;

    #[test]
    fn who_was_overtaken_twice_hears_of_the_last() {
        let document = json!({"name": "a", "repo": {"url": "https://h/a.git"}});
        let config = AppConfig::from_document(document, &Rules::default()).unwrap();
        let config = Arc::new(config);
        let mut operations = Operations::default();
        let opened =
            [1, 2, 3].map(|id| operations.open(Arc::clone(&config), Some(id), By::server()));
        let mut last = operations.take(opened[0].0).unwrap();
        for (op, _) in &opened[1..] {
            let mut newer = operations.take(*op).unwrap();
            newer.overtake(last);
            last = newer;
        }
        last.close(Outcome::Done);
        let told = |index: usize| opened[index].1.outcome.borrow().clone();
        let overtaken = Outcome::Overtaken(Some(3), Box::new(Outcome::Done));
        assert_eq!(told(0), Some(overtaken.clone()));
        assert_eq!(told(1), Some(overtaken));
        assert_eq!(told(2), Some(Outcome::Done));
    }
}
