//! [`Known`]: what was known of each service last, on disk: a server that starts while no manager answers routes on by it.
//!
//! The services themselves, by their labels, are what counts whenever they can be listed. Everything here blocks.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::image::blobs::make_directory;
use super::seen::Seen;
use crate::{durable, regular};

/// A larger file is none of ours; bytes. A hundred tasks take a tenth of it.
const LARGEST: u64 = 1 << 20;

/// A service, and what was seen of it last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub name: String,
    pub app: String,
    pub release: u64,
    pub batch: u64,
    pub process_type: String,
    pub seen: Seen,
}

/// The records of all services: `DATA/swarm/known/NAME.json`.
#[derive(Clone, Debug)]
pub struct Known {
    directory: PathBuf,
}

impl Known {
    /// # Errors
    /// Where the directory cannot be made.
    pub fn open(directory: PathBuf) -> std::io::Result<Self> {
        make_directory(&directory)?;
        durable::sweep(&directory);
        Ok(Self { directory })
    }

    /// The services of an app.
    #[must_use]
    pub fn of_app(&self, app: &str) -> Vec<Record> {
        let entries = std::fs::read_dir(&self.directory).into_iter().flatten();
        let records = entries.flatten().filter_map(|entry| read(entry.path()));
        records.filter(|record| record.app == app).collect()
    }

    /// What is known of a service of this name.
    #[must_use]
    pub fn of(&self, name: &str) -> Option<Record> {
        read(self.file(name)).filter(|record| record.name == name)
    }

    /// The names of all services that there are records of, also of those that cannot be read.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.directory).into_iter().flatten();
        let files = entries.flatten().map(|entry| entry.file_name());
        let name =
            |file: std::ffi::OsString| Some(file.to_str()?.strip_suffix(".json")?.to_owned());
        files.filter_map(name).collect()
    }

    pub fn keep(&self, record: &Record) {
        let file = self.file(&record.name);
        let kept = serde_json::to_vec(record).map_err(std::io::Error::from);
        let kept = kept.and_then(|text| durable::replace(&file, &text, 0o600));
        if let Err(error) = kept {
            log::warn!("{}: {error}", file.display());
        }
    }

    pub fn forget(&self, name: &str) {
        // It may not be there.
        let _gone = std::fs::remove_file(self.file(name));
    }

    /// An app is gone: one that is made anew under its name has none of its services.
    pub fn forget_app(&self, app: &str) {
        let records = self.of_app(app);
        records.iter().for_each(|record| self.forget(&record.name));
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.json"))
    }
}

fn read(file: PathBuf) -> Option<Record> {
    let text = regular::read(&file, LARGEST).ok()?;
    serde_json::from_slice(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_known_is_known_again_until_it_is_forgotten() {
        let home = tempfile::tempdir().unwrap();
        let known = Known::open(home.path().join("known")).unwrap();
        let record = |name: &str, app: &str| Record {
            name: name.to_owned(),
            app: app.to_owned(),
            release: 3,
            batch: 7,
            process_type: "web".to_owned(),
            seen: Seen::default(),
        };
        known.keep(&record("a", "shop"));
        known.keep(&record("b", "blog"));
        assert_eq!(known.of("a"), Some(record("a", "shop")));
        assert_eq!(known.of_app("blog"), [record("b", "blog")]);
        known.forget("a");
        assert_eq!(known.of("a"), None);
        std::fs::write(home.path().join("known/c.json"), "{").unwrap();
        assert_eq!(known.of("c"), None);
        let mut names = known.names();
        names.sort();
        assert_eq!(names, ["b", "c"]);
        known.keep(&record("a", "shop"));
        known.forget_app("shop");
        assert_eq!(known.of("a"), None);
        assert_eq!(known.of_app("blog"), [record("b", "blog")]);
    }
}
