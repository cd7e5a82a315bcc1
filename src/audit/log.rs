//! [`AuditLog`]: writes the audit log, on a thread of its own.
//!
//! It fails open: where the disk is full or does not answer, the call is done and answered, and the line goes to the
//! server's own log instead. Who is to make room on the disk does so by calls that change something.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::unistd::{Uid, User};
use tokio::sync::{mpsc, oneshot};

use super::entry::{Entry, Outcome, Who};
use super::strangers::Strangers;
use crate::logs::rotating_file::RotatingFile;

/// The name of the file, below the data directory.
const FILE: &str = "logs/audit.log";

/// Lines that wait for the disk.
const WAITING: usize = 1024;

/// How long an answer waits for its line.
const PATIENCE: Duration = Duration::from_secs(1);

/// Refusals by the id of the token, and of all who have none: a token that may only read must not be able to have the log
/// rotated away either. There are no more of these than tokens that were made.
type Refusals = HashMap<String, Strangers>;

/// No token has this id.
const STRANGERS: &str = "";

/// Names of accounts that are remembered.
const NAMES: usize = 256;

/// Where entries go. Cheap to clone; when the last clone is gone, the thread ends.
#[derive(Clone, Debug)]
pub struct AuditLog {
    sender: mpsc::Sender<Job>,
    refusals: Arc<Mutex<Refusals>>,
    path: Arc<Path>,
    /// How many files there are at most.
    files: usize,
}

#[derive(Debug)]
struct Job {
    entry: Entry,
    written: oneshot::Sender<()>,
}

impl AuditLog {
    /// Starts the thread, which writes below `data_dir` in files of `size` bytes, `files` in all.
    ///
    /// # Errors
    /// The machine has no thread for it.
    pub fn start(data_dir: &Path, (size, files): (u64, usize)) -> io::Result<Self> {
        let path: PathBuf = data_dir.join(FILE);
        let (sender, jobs) = mpsc::channel(WAITING);
        let file = RotatingFile::new(path.clone(), size, files).that_is_private();
        std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || keep_writing(file, jobs))?;
        Ok(Self {
            sender,
            refusals: Arc::default(),
            path: path.into(),
            files,
        })
    }

    /// The newest file, and how many there are at most.
    #[must_use]
    pub fn files(&self) -> (Arc<Path>, usize) {
        (Arc::clone(&self.path), self.files)
    }

    /// Writes an entry; it is in the file when this returns.
    pub async fn write(&self, entry: Entry) {
        let Some(entry) = self.bounded(entry) else {
            return;
        };
        let line = entry.line(None);
        match tokio::time::timeout(PATIENCE, self.send(entry)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => instead(&line, "too many lines wait"),
            Err(_elapsed) => instead(&line, "the disk does not answer"),
        }
    }

    /// Writes an entry some time.
    pub fn tell(&self, entry: Entry) {
        if let Some(entry) = self.bounded(entry) {
            // The thread says so itself if it cannot be written.
            drop(self.send(entry));
        }
    }

    /// Puts an entry into the queue. What it returns resolves when the entry is written.
    fn send(&self, entry: Entry) -> oneshot::Receiver<()> {
        let (written, is_written) = oneshot::channel();
        let sent = self.sender.try_send(Job { entry, written });
        if let Err(refused) = sent {
            let Job { entry, .. } = refused.into_inner();
            instead(&entry.line(None), "too many lines wait");
        }
        is_written
    }

    /// The entry, unless it is one of too many refusals.
    fn bounded(&self, mut entry: Entry) -> Option<Entry> {
        let by = match (&entry.who, &entry.outcome) {
            (Who::Stranger | Who::Uninvited { .. }, _) => STRANGERS,
            (Who::Token { id, .. } | Who::Key { id, .. }, Outcome::Status(400..=499)) => id,
            _ => return Some(entry),
        };
        let refusals = self.refusals.lock();
        let mut refusals = refusals.unwrap_or_else(|e| e.into_inner());
        entry.left_out = refusals
            .entry(by.to_owned())
            .or_default()
            .tell(Instant::now())?;
        Some(entry)
    }
}

fn instead(line: &str, why: &str) {
    log::error!("the audit log lacks a line ({why}): {}", line.trim_end());
}

fn keep_writing(mut file: RotatingFile, mut jobs: mpsc::Receiver<Job>) {
    let mut names = Names::default();
    while let Some(Job { entry, written }) = jobs.blocking_recv() {
        let user = match entry.who {
            Who::Account { uid } | Who::Uninvited { uid } => names.of(uid),
            _ => None,
        };
        let line = entry.line(user.as_deref());
        if let Err(error) = file.append(line.as_bytes()) {
            instead(&line, &error.to_string());
        }
        // Who no longer waits needs no word.
        let _nobody = written.send(());
    }
}

/// Names of accounts. To look one up may ask a network.
#[derive(Default)]
struct Names(HashMap<u32, Option<String>>);

impl Names {
    fn of(&mut self, uid: u32) -> Option<String> {
        if self.0.len() >= NAMES {
            self.0.clear();
        }
        let look_up = || Some(User::from_uid(Uid::from_raw(uid)).ok()??.name);
        self.0.entry(uid).or_insert_with(look_up).clone()
    }
}

/// What a status means for the log: `None` for a call that changed nothing and was not refused.
#[must_use]
pub fn is_told(is_change: bool, outcome: &Outcome) -> bool {
    is_change || matches!(outcome, Outcome::Status(401 | 403 | 429))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::audit::reader;

    fn entry(path: &str, app: Option<&str>) -> Entry {
        Entry {
            time: jiff::Timestamp::UNIX_EPOCH,
            who: Who::Account { uid: 0 },
            from: Some("socket".to_owned()),
            method: "POST".to_owned(),
            path: path.to_owned(),
            app: app.map(str::to_owned),
            outcome: Outcome::Status(200),
            request_id: None,
            left_out: 0,
        }
    }

    #[tokio::test]
    async fn a_line_is_in_the_file_when_it_is_answered_and_is_read_back_over_files() {
        let home = tempfile::tempdir().unwrap();
        let log = AuditLog::start(home.path(), (400, 3)).unwrap();
        for number in 0..8 {
            let app = if number % 2 == 0 { "even" } else { "odd" };
            log.write(entry(&format!("/{number}"), Some(app))).await;
            let text = std::fs::read_to_string(home.path().join(FILE)).unwrap();
            assert!(text.contains(&format!("\"/{number}\"")) && text.contains("\"who\":\"root\""));
        }
        let mode = home
            .path()
            .join(FILE)
            .metadata()
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let paths = |most, app: Option<&str>| -> Vec<String> {
            let (path, files) = log.files();
            let lines = reader::newest(&path, files, most, app).unwrap();
            lines.iter().map(|line| line["path"].to_string()).collect()
        };
        assert_eq!(paths(3, None), ["\"/5\"", "\"/6\"", "\"/7\""]);
        assert_eq!(paths(2, Some("even")), ["\"/4\"", "\"/6\""]);
        assert_eq!(paths(100, Some("none")).len(), 0);
    }

    #[test]
    fn a_token_that_is_refused_again_and_again_hides_nothing() {
        let home = tempfile::tempdir().unwrap();
        let log = AuditLog::start(home.path(), (400, 3)).unwrap();
        let told = |id: &str, status, times: usize| {
            let entry = Entry {
                who: Who::Token {
                    name: "ci".to_owned(),
                    id: id.to_owned(),
                },
                outcome: Outcome::Status(status),
                ..entry("/", None)
            };
            let all = (0..times).filter_map(|_| log.bounded(entry.clone()));
            all.count()
        };
        assert_eq!(told("1", 403, 5000), 1000);
        assert_eq!(told("2", 403, 5), 5, "it has lines of its own");
        assert_eq!(told("1", 200, 5000), 5000, "what it changes is told");
    }

    #[tokio::test]
    async fn a_line_that_cannot_be_written_keeps_nobody() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("logs"), "in the way").unwrap();
        let log = AuditLog::start(home.path(), (400, 3)).unwrap();
        log.write(entry("/", None)).await;
    }

    #[test]
    fn changes_and_refusals_are_told() {
        for (is_change, status, told) in [
            (true, 200, true),
            (true, 422, true),
            (false, 200, false),
            (false, 404, false),
            (false, 401, true),
            (false, 403, true),
            (false, 429, true),
        ] {
            assert_eq!(
                is_told(is_change, &Outcome::Status(status)),
                told,
                "{status}"
            );
        }
    }
}
