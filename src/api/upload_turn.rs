//! [`Uploads`]: which applications are being uploaded to, each by one at a time.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use actix_web::http::StatusCode;

use super::problem::Problem;

/// Which applications are being uploaded to. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Uploads(Arc<Mutex<HashSet<String>>>);

/// The turn of one upload, until it is dropped.
pub(super) struct Turn {
    of: Uploads,
    app: String,
}

impl Uploads {
    /// Takes the turn, if nobody has it.
    pub(super) fn turn(&self, app: &str) -> Result<Turn, Problem> {
        if !self.apps().insert(app.to_owned()) {
            let detail = format!("Another upload to {app} is at work: try again when it is over.");
            return Err(Problem::new(StatusCode::CONFLICT, detail));
        }
        Ok(Turn {
            of: self.clone(),
            app: app.to_owned(),
        })
    }

    fn apps(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.of.apps().remove(&self.app);
    }
}
