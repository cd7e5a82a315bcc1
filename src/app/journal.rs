//! [`Journal`]: writes an app's `state.json`, its `runs.json` and its records of deployments, in order, off the control thread.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use super::one_offs::Written;
use super::remembered::Remembered;
use crate::app_dirs::AppDirs;
use crate::install::record::{self, DeploymentRecord};

/// Retries a failed write (a full disk) after this time, or earlier when something changes.
const RETRY: Duration = Duration::from_secs(2);

/// Holds only the newest contents of each file, so that it stays small however slow the disk is.
#[derive(Debug, Default)]
struct Pending {
    state: Option<Remembered>,
    one_offs: Option<Written>,
    deployments: BTreeMap<u64, DeploymentRecord>,
    flushed: Vec<oneshot::Sender<()>>,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.state.is_none()
            && self.one_offs.is_none()
            && self.deployments.is_empty()
            && self.flushed.is_empty()
    }

    /// Takes back what could not be written, except where something newer came meanwhile.
    fn take_back(&mut self, unwritten: Self) {
        self.state = self.state.take().or(unwritten.state);
        self.one_offs = self.one_offs.take().or(unwritten.one_offs);
        for (id, record) in unwritten.deployments {
            self.deployments.entry(id).or_insert(record);
        }
    }
}

/// Writes one app's files, off the control thread. After the last one is dropped the task still writes what is pending.
#[derive(Clone, Debug)]
pub struct Journal {
    pending: Rc<RefCell<Pending>>,
    changed: Rc<Notify>,
}

impl Journal {
    /// Starts the writing task on the current thread's runtime.
    #[must_use]
    pub fn start(dirs: AppDirs) -> Self {
        let journal = Self {
            pending: Rc::default(),
            changed: Rc::default(),
        };
        let (pending, changed) = (Rc::clone(&journal.pending), Rc::clone(&journal.changed));
        actix_rt::spawn(async move {
            let mut is_failing = false;
            // Once the journal is gone this holds the last reference.
            while Rc::strong_count(&pending) > 1 {
                changed.notified().await;
                while !pending.borrow().is_empty() {
                    let batch = pending.take();
                    let written = write_all(&dirs, batch).await;
                    tell(&dirs, &written, &mut is_failing);
                    if let Err((unwritten, _)) = written
                        && Rc::strong_count(&pending) > 1
                    {
                        pending.borrow_mut().take_back(unwritten);
                        // Either way it is tried again.
                        let _ = tokio::time::timeout(RETRY, changed.notified()).await;
                    }
                }
            }
        });
        journal
    }

    /// Writes `state.json`.
    pub fn state(&self, state: Remembered) {
        self.pending.borrow_mut().state = Some(state);
        self.changed.notify_one();
    }

    /// Writes `runs.json`.
    pub fn one_offs(&self, written: Written) {
        self.pending.borrow_mut().one_offs = Some(written);
        self.changed.notify_one();
    }

    pub fn deployment(&self, record: DeploymentRecord) {
        self.pending
            .borrow_mut()
            .deployments
            .insert(record.id, record);
        self.changed.notify_one();
    }

    /// Resolves when everything given before is on disk, or a write of it has failed: that is tried again later.
    pub fn flushed(&self) -> impl Future<Output = ()> + use<> {
        let (done, written) = oneshot::channel();
        self.pending.borrow_mut().flushed.push(done);
        self.changed.notify_one();
        async move {
            // An error means that the task is gone: then nothing is pending any more.
            let _gone = written.await;
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.changed.notify_one();
    }
}

/// Writes everything pending. Returns what could not be written, with the reason. Tells those who wait in either case.
async fn write_all(dirs: &AppDirs, mut batch: Pending) -> Result<(), (Pending, io::Error)> {
    let dirs = dirs.clone();
    let flushed = std::mem::take(&mut batch.flushed);
    let written = actix_rt::task::spawn_blocking(move || {
        let result = write(&dirs, &mut batch);
        (batch, result)
    });
    let written = match written.await {
        Ok((_, Ok(()))) => Ok(()),
        Ok((batch, Err(error))) => Err((batch, error)),
        Err(e) => Err((Pending::default(), io::Error::other(e))),
    };
    for waiting in flushed {
        // Nobody waits any more: fine.
        let _unheard = waiting.send(());
    }
    written
}

/// Writes what it can, and takes that out of `batch`. Blocks.
fn write(dirs: &AppDirs, batch: &mut Pending) -> io::Result<()> {
    // The state goes first: it matters most, and is small.
    if let Some(state) = &batch.state {
        state.store(dirs)?;
        batch.state = None;
    }
    if let Some(one_offs) = &batch.one_offs {
        one_offs.store(dirs)?;
        batch.one_offs = None;
    }
    while let Some(record) = batch.deployments.first_entry() {
        record::store(dirs, record.get())?;
        record.remove();
    }
    Ok(())
}

/// Logs the first failure, and the first success after it.
fn tell(dirs: &AppDirs, written: &Result<(), (Pending, io::Error)>, is_failing: &mut bool) {
    let directory = dirs.root().display();
    match written {
        Ok(()) if *is_failing => log::info!("the state of the app in {directory} is written again"),
        Err((_, e)) if !*is_failing => {
            log::error!(
                "the state of the app in {directory} cannot be written, it is tried again: {e}"
            );
        }
        _ => {}
    }
    *is_failing = written.is_err();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::name::AppName;

    #[actix::test]
    async fn what_was_put_before_the_journal_was_dropped_is_written() {
        let root = tempfile::tempdir().unwrap();
        let name = AppName::parse("blog").unwrap();
        let dirs = AppDirs::new(root.path(), root.path(), &name);
        let journal = Journal::start(dirs.clone());
        let state = |current| Remembered {
            current: Some(current),
            ..Remembered::new()
        };
        journal.state(state(1));
        journal.flushed().await;
        assert_eq!(
            Remembered::load(&dirs.state()).unwrap().unwrap().current,
            Some(1)
        );
        journal.state(state(2));
        let last = state(3);
        journal.state(last.clone());
        let flushed = journal.flushed();
        drop(journal);
        flushed.await;
        assert_eq!(Remembered::load(&dirs.state()).unwrap(), Some(last));
    }

    #[actix::test]
    async fn what_could_not_be_written_is_written_when_it_can_be() {
        let root = tempfile::tempdir().unwrap();
        let name = AppName::parse("blog").unwrap();
        let dirs = AppDirs::new(root.path(), root.path(), &name);
        std::fs::create_dir_all(dirs.root().parent().unwrap()).unwrap();
        std::fs::write(dirs.root(), "in the way").unwrap();
        let journal = Journal::start(dirs.clone());
        let mut state = Remembered::new();
        journal.state(state.clone());
        tokio::task::yield_now().await;
        state.current = Some(7);
        journal.state(state.clone());
        std::fs::remove_file(dirs.root()).unwrap();
        let deadline = std::time::Instant::now() + 10 * RETRY;
        while Remembered::load(&dirs.state()).unwrap().as_ref() != Some(&state) {
            assert!(
                std::time::Instant::now() < deadline,
                "it was not tried again"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
