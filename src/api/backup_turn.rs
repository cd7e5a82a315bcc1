//! [`Backups`]: how backups are made and restored, one at a time.

use std::sync::Arc;

use actix_web::http::StatusCode;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::problem::Problem;
use crate::backup::carry::Carrier;

/// How backups are made and restored, one at a time.
#[derive(Clone, Debug)]
pub struct Backups {
    pub carrier: Carrier,
    turn: Arc<Mutex<()>>,
}

impl Backups {
    #[must_use]
    pub fn new(carrier: Carrier) -> Self {
        Self {
            carrier,
            turn: Arc::default(),
        }
    }

    /// Takes the turn, if nobody has it.
    pub(super) fn turn(&self) -> Result<OwnedMutexGuard<()>, Problem> {
        let busy = |_| {
            let detail = "Another backup or restore is at work: try again when it is over.";
            Problem::new(StatusCode::CONFLICT, detail)
        };
        Arc::clone(&self.turn).try_lock_owned().map_err(busy)
    }
}
