//! [`JobNotes`]: which jobs there are, on disk: a server that starts while no manager answers goes on with them.
//!
//! The services themselves, by their labels, are what counts whenever they can be listed. Everything here blocks.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::swarm::image::blobs::make_directory;
use crate::{durable, regular};

/// A larger file is none of ours; bytes.
const LARGEST: u64 = 1 << 16;

/// A job that there is, or is about to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobNote {
    pub name: String,
    pub app: String,
    pub number: u64,
    /// `run.3`.
    pub process: String,
}

/// The notes of all jobs: `DATA/swarm/jobs/NAME.json`.
#[derive(Clone, Debug)]
pub struct JobNotes {
    directory: PathBuf,
}

impl JobNotes {
    /// # Errors
    /// Where the directory cannot be made.
    pub fn open(directory: PathBuf) -> std::io::Result<Self> {
        make_directory(&directory)?;
        durable::sweep(&directory);
        Ok(Self { directory })
    }

    /// The jobs of an app.
    #[must_use]
    pub fn of_app(&self, app: &str) -> Vec<JobNote> {
        let entries = std::fs::read_dir(&self.directory).into_iter().flatten();
        let read = |file: PathBuf| {
            let text = regular::read(&file, LARGEST).ok()?;
            serde_json::from_slice::<JobNote>(&text).ok()
        };
        let notes = entries.flatten().filter_map(|entry| read(entry.path()));
        notes.filter(|note| note.app == app).collect()
    }

    /// # Errors
    /// Where it cannot be written.
    pub fn keep(&self, note: &JobNote) -> std::io::Result<()> {
        durable::replace(&self.file(&note.name), &serde_json::to_vec(note)?, 0o600)
    }

    pub fn forget(&self, name: &str) {
        // It may not be there.
        let _gone = std::fs::remove_file(self.file(name));
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_known_to_the_next_server_until_it_is_forgotten() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("jobs");
        let notes = JobNotes::open(directory.clone()).unwrap();
        let note = |name: &str, app: &str| JobNote {
            name: name.to_owned(),
            app: app.to_owned(),
            number: 3,
            process: "run.3".to_owned(),
        };
        notes.keep(&note("job-a", "shop")).unwrap();
        notes.keep(&note("job-b", "blog")).unwrap();
        std::fs::write(directory.join("half.json"), "{").unwrap();
        let next = JobNotes::open(directory).unwrap();
        assert_eq!(next.of_app("shop"), [note("job-a", "shop")]);
        next.forget("job-a");
        assert!(next.of_app("shop").is_empty());
        assert_eq!(next.of_app("blog"), [note("job-b", "blog")]);
    }
}
