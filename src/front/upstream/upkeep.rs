//! Drops connections from a worker's pool that are of no more use, and what was counted for apps that are gone.

use std::rc::Weak;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{broadcast, watch};

use super::asking::Call;
use crate::front::worker::Worker;
use crate::router::table::Table;

/// The time between two looks at idle connections.
const SWEEP: Duration = Duration::from_secs(1);

/// Drops idle connections to the backends that are called.
pub(crate) async fn give_up(worker: Weak<Worker>, mut calls: broadcast::Receiver<Call>) {
    loop {
        let called = calls.recv().await;
        let Some(worker) = worker.upgrade() else {
            return;
        };
        match called {
            Ok(backend) => {
                let count = worker.pool.give_up(&backend.address);
                if count > 0 {
                    backend.load.give_up(count);
                }
            }
            Err(broadcast::error::RecvError::Lagged(_)) => worker.pool.clear(),
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

/// Drops idle connections that ended at intervals, and those to backends that are gone at once; and what was counted
/// for apps that are gone.
pub(crate) async fn tidy(worker: Weak<Worker>, mut table: watch::Receiver<Arc<Table>>) {
    let Some(filled) = worker.upgrade().map(|worker| worker.pool.filled()) else {
        return;
    };
    loop {
        let Some(is_empty) = worker.upgrade().map(|worker| worker.pool.is_empty()) else {
            return;
        };
        // This does not wake a thread that has nothing to do.
        let sweep = async {
            if is_empty {
                filled.notified().await;
            }
            tokio::time::sleep(SWEEP).await;
        };
        let changed = tokio::select! {
            changed = table.changed() => Some(changed),
            () = sweep => None,
        };
        let Some(worker) = worker.upgrade() else {
            return;
        };
        match changed {
            Some(Ok(())) => {
                let table = table.borrow_and_update();
                worker.pool.keep_only(&table);
                worker.request_counter.keep_only(&table);
            }
            Some(Err(_)) => return,
            None => worker.pool.sweep(Instant::now()),
        }
    }
}
