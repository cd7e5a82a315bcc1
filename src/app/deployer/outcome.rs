//! Ends operations: records what became of them, and says what who waits is told.

use std::sync::Arc;

use super::Deployer;
use crate::app::lifecycle::{End, Kind, OpId, Wanted};
use crate::app::operations::{Operation, Outcome};
use crate::app::runnable::Runnable;

/// What an operation ended with, as far as it is known at once.
#[derive(Debug)]
pub struct Ended {
    pub operation: Operation,
    pub end: End,
    /// What the serving batch goes back to: a change of its scale has failed.
    pub back_to: Option<Arc<Runnable>>,
}

impl Deployer {
    /// Takes an operation out that has ended. `is_stopping` says whether the server is being stopped: what that
    /// interrupts is tried again.
    pub fn end(&mut self, op: OpId, end: End, is_stopping: bool) -> Option<Ended> {
        let operation = self.operations.take(op)?;
        let back_to = self.take_stand(&operation, &end);
        match operation.made {
            Some(made) if end == End::Done => {
                // Before it is remembered that it was ready, which it may have no process to say.
                self.pushed.prove(made);
                self.prove(made);
            }
            Some(made) => self.moved(made),
            None => {}
        }
        let is_interrupted = end == End::Cancelled && is_stopping;
        if operation.deployment.is_some() && end != End::Superseded && !is_interrupted {
            self.settle(&operation.config);
        }
        Some(Ended {
            operation,
            end,
            back_to,
        })
    }

    /// Lets the newer operation answer for this one: it does the same, and what was asked since.
    pub fn overtaken(&mut self, operation: Operation) {
        let newer = self.life.waiting().or(self.life.active());
        let is_deploy = newer.is_some_and(|(_, kind)| matches!(kind, Kind::Deploy { .. }));
        match newer.and_then(|(op, _)| self.operations.get(op)) {
            // A commit that was pushed is deployed by one that names no other.
            Some(newer)
                if operation.commit.is_none() && !operation.rolls_back
                    || operation.commit.is_some() && is_deploy && newer.commit.is_none() =>
            {
                newer.overtake(operation);
            }
            _ => operation.close(Outcome::Dropped(
                "a newer deployment took its place".to_owned(),
            )),
        }
    }

    /// Why an accepted operation was cancelled. Its document, if it brought one, is kept.
    #[must_use]
    pub fn why_cancelled(&self, deployment: Option<u64>, is_stopping: bool) -> String {
        let what = deployment.map_or("it".to_owned(), |id| format!("deployment {id}"));
        match self.life.wanted() {
            _ if is_stopping => format!("{what} was interrupted: the server is being stopped"),
            Wanted::Removed => format!("{what} was cancelled: the application is being removed"),
            Wanted::Stopped => format!(
                "{what} was cancelled: the application was stopped; it counts when it is started again"
            ),
            Wanted::Running | Wanted::Asleep => format!(
                "{what} was cancelled; the document stays as it is now, and redeploy tries it again"
            ),
        }
    }
}
