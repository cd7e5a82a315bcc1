//! [`Uploads`]: who uploads to which application. Some may send at a time; what they sent is made a commit one by one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use tokio::sync::OwnedMutexGuard;

use super::problem::Problem;
use crate::install::upload::{FAILED, UNDERWAY};

/// Uploads of an application at a time: each may fill half a gigabyte of disk.
const MOST: usize = 3;

/// The uploads of all applications. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Uploads(Arc<Mutex<HashMap<String, Of>>>);

/// Those of one application.
#[derive(Debug, Default)]
struct Of {
    underway: usize,
    /// Of these, those whose caller was answered before they were done.
    late: usize,
    /// Who is being made a commit; the others wait in the order in which they asked.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Why the last late one was not deployed.
    failure: Option<String>,
}

/// An upload, until it is dropped.
pub(super) struct Upload {
    of: Uploads,
    app: String,
    is_late: bool,
}

impl Uploads {
    /// Begins one. What became of those before it is forgotten.
    pub(super) fn begin(&self, app: &str) -> Result<Upload, Problem> {
        let mut all = self.all();
        let of = all.entry(app.to_owned()).or_default();
        if of.underway == MOST {
            let detail =
                format!("{MOST} uploads to {app} are at work already: try again when one is over.");
            return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, detail)
                .with_header(header::RETRY_AFTER, HeaderValue::from_static("10")));
        }
        of.underway += 1;
        of.failure = None;
        Ok(Upload {
            of: self.clone(),
            app: app.to_owned(),
            is_late: false,
        })
    }

    /// What is to be said of uploads whose callers were answered before they were done.
    pub(super) fn warning(&self, app: &str) -> Option<String> {
        let all = self.all();
        let of = all.get(app)?;
        let failed = of.failure.as_ref().map(|why| format!("{FAILED}{why}"));
        failed.or_else(|| (of.late > 0).then(|| UNDERWAY.to_owned()))
    }

    /// The application goes, and with it what is to be said of it.
    pub(super) fn forget(&self, app: &str) {
        if let Some(of) = self.all().get_mut(app) {
            of.failure = None;
        }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Of>> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Upload {
    /// Waits until those that asked before are deployed or refused.
    pub(super) fn turn(&self) -> impl Future<Output = OwnedMutexGuard<()>> + use<> {
        let turn = self.of.all().get(&self.app).map(|of| of.turn.clone());
        // It is there until the last one is dropped.
        turn.unwrap_or_default().lock_owned()
    }

    /// Its caller does not wait any longer: from now on the application's status tells of it.
    pub(super) fn is_late(&mut self) {
        if !std::mem::replace(&mut self.is_late, true)
            && let Some(of) = self.of.all().get_mut(&self.app)
        {
            of.late += 1;
        }
    }

    /// It is not deployed.
    pub(super) fn failed(&self, why: String) {
        if let Some(of) = self.of.all().get_mut(&self.app) {
            of.failure = Some(why);
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let mut all = self.of.all();
        let Some(of) = all.get_mut(&self.app) else {
            return;
        };
        of.underway -= 1;
        of.late -= usize::from(self.is_late);
        if of.underway == 0 && of.failure.is_none() {
            all.remove(&self.app);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_web::test]
    async fn the_next_has_its_turn_when_the_one_before_it_is_over() {
        let uploads = Uploads::default();
        let (first, second) = (uploads.begin("a").unwrap(), uploads.begin("a").unwrap());
        let turn = first.turn().await;
        let mut waiting = std::pin::pin!(second.turn());
        assert!(futures::poll!(&mut waiting).is_pending());
        let other = uploads.begin("b").unwrap();
        let _other_turn = other.turn().await;
        drop(turn);
        waiting.await;
    }

    #[test]
    fn more_than_some_are_refused_until_one_is_over() {
        let uploads = Uploads::default();
        let mut all: Vec<_> = (0..MOST).map(|_| uploads.begin("a").unwrap()).collect();
        assert!(uploads.begin("a").is_err() && uploads.begin("b").is_ok());
        all.pop();
        assert!(uploads.begin("a").is_ok());
        all.clear();
        assert!(uploads.all().is_empty());
    }

    #[test]
    fn a_late_one_is_told_of_until_it_is_over_and_its_failure_until_the_next_begins() {
        let uploads = Uploads::default();
        let mut late = uploads.begin("a").unwrap();
        assert_eq!(uploads.warning("a"), None);
        late.is_late();
        late.is_late();
        assert_eq!(uploads.warning("a").as_deref(), Some(UNDERWAY));
        late.failed("it is damaged".to_owned());
        drop(late);
        let told = uploads.warning("a").unwrap();
        assert!(told.starts_with(FAILED) && told.ends_with("it is damaged"));
        uploads.forget("b");
        assert_eq!(uploads.warning("b"), None);
        drop(uploads.begin("a").unwrap());
        assert_eq!(uploads.warning("a"), None);
        assert!(uploads.all().is_empty());
    }
}
