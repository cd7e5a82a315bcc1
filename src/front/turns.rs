//! Tells requests that are held when to look again, in the order in which they came.

use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{Notify, watch};

use crate::router::table::Table;

/// Tells those who wait on this worker when there is a newer table, first those who have waited longest, as the table's
/// own channel does not. Needs this thread's runtime.
pub(super) fn follow(mut table: watch::Receiver<Arc<Table>>) -> Rc<Notify> {
    let turns = Rc::<Notify>::default();
    let weak = Rc::downgrade(&turns);
    actix_rt::spawn(async move {
        loop {
            let is_over = table.changed().await.is_err();
            let Some(turns) = weak.upgrade() else { return };
            turns.notify_waiters();
            if is_over {
                return;
            }
        }
    });
    turns
}
