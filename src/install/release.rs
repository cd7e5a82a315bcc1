//! A release: code at a commit and a document, numbered, immutable.
//!
//! A change of the document alone also makes a release, so that a rollback undoes it. Its record names the release
//! whose directory holds the code. A directory is kept as long as a record names it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::app_root;
use super::built::Built;
use super::manifest::manifest_for;
use super::release_error::ReleaseError;
use super::{tree, venv};
use crate::app_dirs::AppDirs;
use crate::document::app_json::AppJson;
use crate::document::formation::RELEASE;
use crate::document::procfile::Procfile;
use crate::{durable, regular};

/// The most bytes of a record. It has a document, whose size the API limits.
const MAX_RECORD: u64 = 16 * 1024 * 1024;

/// `releases/N.json`, written when the release is complete. A directory that no record names is removed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReleaseRecord {
    pub id: u64,
    pub commit: String,
    pub created: jiff::Timestamp,
    /// The document it was made with.
    pub document: serde_json::Value,
    /// The release whose directory holds the code, when only the document is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u64>,
    /// What its owner should know of the code, such as files that git only points to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What builders and caches have made of it.
    #[serde(default, skip_serializing_if = "Built::is_nothing")]
    pub built: Built,
}

impl ReleaseRecord {
    /// The number of the directory that holds its code.
    #[must_use]
    pub fn code(&self) -> u64 {
        self.code.unwrap_or(self.id)
    }
}

/// A release that can be started.
#[derive(Clone, Debug, PartialEq)]
pub struct Release {
    pub record: ReleaseRecord,
    /// The whole repository.
    pub checkout: PathBuf,
    /// Where the application is in it.
    pub directory: PathBuf,
    pub procfile: Procfile,
    /// Its `.env`.
    pub dotenv: BTreeMap<String, String>,
    pub app_json: AppJson,
    /// Warnings of these files, and of the record.
    pub warnings: Vec<String>,
}

impl Release {
    /// Whether something is to be run before it starts, at least the first time.
    #[must_use]
    pub fn has_release_phase(&self) -> bool {
        self.procfile.command(RELEASE).is_some() || self.app_json.postdeploy.is_some()
    }
}

/// Writes the record of a release whose directory is complete. Blocks.
///
/// # Errors
/// As [`durable::replace`].
pub fn complete(dirs: &AppDirs, record: &ReleaseRecord) -> io::Result<()> {
    let text = serde_json::to_vec_pretty(record)?;
    durable::replace(&dirs.release_record(record.id), &text, 0o600)
}

/// Loads release `id` from disk. Blocks.
///
/// # Errors
/// [`ReleaseError`].
pub fn load(dirs: &AppDirs, id: u64) -> Result<Release, ReleaseError> {
    let record = record(dirs, id)?;
    let checkout = dirs.release(record.code());
    let manifest = manifest_for(&checkout, &record.document, &record.built)?;
    let mut warnings = manifest.warnings(&record.document);
    warnings.extend_from_slice(&record.warnings);
    Ok(Release {
        directory: app_root::of(&checkout, &record.document),
        record,
        checkout,
        procfile: manifest.procfile,
        dotenv: manifest.dotenv.variables,
        app_json: manifest.app_json,
        warnings,
    })
}

/// Makes release `id`: the code of `of` with another document. Blocks.
///
/// # Errors
/// The release `of` cannot be read, the record cannot be written.
pub fn derive(
    dirs: &AppDirs,
    of: u64,
    id: u64,
    document: serde_json::Value,
) -> Result<Release, ReleaseError> {
    let source = record(dirs, of)?;
    let derived = ReleaseRecord {
        id,
        code: Some(source.code()),
        warnings: source.warnings,
        built: source.built,
        commit: source.commit,
        created: jiff::Timestamp::now(),
        document,
    };
    // A document without `static` needs a Procfile: check before the record is written.
    manifest_for(
        &dirs.release(derived.code()),
        &derived.document,
        &derived.built,
    )?;
    complete(dirs, &derived).map_err(ReleaseError::io(&dirs.release_record(id)))?;
    load(dirs, id)
}

fn record(dirs: &AppDirs, id: u64) -> Result<ReleaseRecord, ReleaseError> {
    let path = dirs.release_record(id);
    let damaged = |detail: String| ReleaseError::Damaged {
        path: path.clone(),
        detail,
    };
    let text = regular::read_nofollow(&path, MAX_RECORD)
        .and_then(|text| text.ok_or_else(|| io::ErrorKind::NotFound.into()))
        .map_err(ReleaseError::io(&path))?;
    let record: ReleaseRecord =
        serde_json::from_slice(&text).map_err(|e| damaged(e.to_string()))?;
    if record.id != id {
        return Err(damaged(format!(
            "it is the record of release {}",
            record.id
        )));
    }
    Ok(record)
}

/// The records of all complete releases, by id. Blocks.
#[must_use]
pub fn list(dirs: &AppDirs) -> Vec<ReleaseRecord> {
    let mut records = Vec::new();
    for id in Contents::of(dirs).records {
        match record(dirs, id) {
            Ok(record) if dirs.release(record.code()).is_dir() => records.push(record),
            Ok(_) => {}
            // It was removed after the directory was read.
            Err(ReleaseError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            Err(error) => log::warn!("release {id} is left out: {error}"),
        }
    }
    records
}

/// The directory that each record names. If a record cannot be read, the release's own directory may hold its code.
fn code_of(dirs: &AppDirs, records: &[u64]) -> BTreeMap<u64, u64> {
    let named = |id: &u64| (*id, record(dirs, *id).map_or(*id, |r| r.code()));
    records.iter().map(named).collect()
}

/// Removes the oldest releases beyond `keep`, and what [`sweep`] removes. Blocks.
pub fn prune(dirs: &AppDirs, keep: usize, in_use: &[u64], newest: u64) {
    sweep(dirs, in_use, newest);
    let complete = Contents::of(dirs).records;
    let surplus = complete.len().saturating_sub(keep);
    for id in complete
        .iter()
        .take(surplus)
        .filter(|id| !in_use.contains(id))
    {
        discard(dirs, *id);
    }
}

/// Removes what interrupted deploys have left: directories without a record, records without a directory, temporary
/// files of other daemons. Releases of `in_use` stay, and so do those above `newest`: a deploy may be making them.
/// Blocks.
pub fn sweep(dirs: &AppDirs, in_use: &[u64], newest: u64) {
    let contents = Contents::of(dirs);
    let code = code_of(dirs, &contents.records);
    let records = code
        .iter()
        .filter(|(_, code)| !dirs.release(**code).is_dir())
        .map(|(id, _)| id);
    let directories = contents
        .directories
        .iter()
        .filter(|id| !code.values().any(|code| code == *id));
    let left = |id: &&u64| !in_use.contains(id) && **id <= newest;
    for id in records.chain(directories).filter(left) {
        discard(dirs, *id);
    }
    for id in venv::list(dirs).iter().filter(left) {
        discard_venv(dirs, *id);
    }
    for file in contents.temporary {
        warn(&file, tree::remove(&file));
    }
}

/// Removes release `id`: first the record, so that an interrupted removal is completed by [`sweep`], then the
/// directory with its code, unless another record names it. Blocks.
pub fn discard(dirs: &AppDirs, id: u64) {
    let path = dirs.release_record(id);
    let own = record(dirs, id).ok();
    let code = own.as_ref().map_or(id, ReleaseRecord::code);
    match std::fs::remove_file(&path) {
        Ok(()) => warn(&path, durable::sync_directory(&dirs.releases())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return warn(&path, Err(error)),
    }
    let others = code_of(dirs, &Contents::of(dirs).records);
    if !others.values().any(|other| *other == code) {
        let directory = dirs.release(code);
        warn(&directory, tree::remove(&directory));
    }
    discard_venv(dirs, own.and_then(|own| own.built.venv).unwrap_or(id));
}

/// Removes a Python environment that no release has any more.
fn discard_venv(dirs: &AppDirs, id: u64) {
    let path = dirs.venv(id);
    // A record that cannot be read may name it.
    let is_named = |release: u64| record(dirs, release).map_or(true, |r| r.built.venv == Some(id));
    if path.is_dir() && !Contents::of(dirs).records.into_iter().any(is_named) {
        warn(&path, tree::remove(&path));
    }
}

fn warn(path: &Path, result: io::Result<()>) {
    if let Err(error) = result {
        log::warn!("cannot remove {}: {error}", path.display());
    }
}

/// What lies in `releases/`, by id.
#[derive(Default)]
struct Contents {
    records: Vec<u64>,
    directories: Vec<u64>,
    temporary: Vec<PathBuf>,
}

impl Contents {
    fn of(dirs: &AppDirs) -> Self {
        let mut contents = Self::default();
        let own = format!("{}{}-", durable::TEMPORARY_PREFIX, std::process::id());
        for entry in std::fs::read_dir(dirs.releases())
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(durable::TEMPORARY_PREFIX) && !name.starts_with(&own) {
                contents.temporary.push(entry.path());
            } else if let Some(id) = name.strip_suffix(".json").and_then(|n| n.parse().ok()) {
                contents.records.push(id);
            } else if let Ok(id) = name.parse() {
                contents.directories.push(id);
            }
        }
        contents.records.sort_unstable();
        contents.directories.sort_unstable();
        contents
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::name::AppName;

    fn dirs(home: &Path) -> AppDirs {
        let dirs = AppDirs::new(home, home, &AppName::parse("a").unwrap());
        std::fs::create_dir_all(dirs.releases()).unwrap();
        dirs
    }

    fn make(dirs: &AppDirs, id: u64) {
        std::fs::create_dir(dirs.release(id)).unwrap();
        let record = ReleaseRecord {
            id,
            commit: "c".repeat(40),
            created: jiff::Timestamp::UNIX_EPOCH,
            document: serde_json::json!({"name": "a"}),
            code: None,
            warnings: Vec::new(),
            built: Built::default(),
        };
        complete(dirs, &record).unwrap();
    }

    fn ids(dirs: &AppDirs) -> Vec<u64> {
        list(dirs).iter().map(|r| r.id).collect()
    }

    #[test]
    fn the_oldest_go_and_those_in_use_stay() {
        let home = tempfile::tempdir().unwrap();
        let dirs = dirs(home.path());
        for id in [1, 2, 9, 10, 11] {
            make(&dirs, id);
        }
        prune(&dirs, 2, &[1], u64::MAX);
        assert_eq!(ids(&dirs), [1, 10, 11]);
        assert!(!dirs.release(2).exists() && !dirs.release_record(2).exists());
    }

    #[test]
    fn code_lives_as_long_as_a_release_has_it() {
        let home = tempfile::tempdir().unwrap();
        let dirs = dirs(home.path());
        make(&dirs, 1);
        std::fs::write(dirs.release(1).join("Procfile"), "web: ./a\n").unwrap();
        let document = serde_json::json!({"name": "a", "env": {"A": "1"}});
        let second = derive(&dirs, 1, 2, document.clone()).unwrap();
        let third = derive(&dirs, 2, 3, document).unwrap();
        assert_eq!(second.directory, dirs.release(1));
        assert_eq!(third.directory, dirs.release(1));
        assert_eq!(ids(&dirs), [1, 2, 3]);
        prune(&dirs, 2, &[], u64::MAX);
        assert_eq!(ids(&dirs), [2, 3]);
        assert!(dirs.release(1).is_dir());
        sweep(&dirs, &[], u64::MAX);
        assert!(dirs.release(1).is_dir());
        discard(&dirs, 3);
        discard(&dirs, 2);
        assert!(!dirs.release(1).exists());
    }

    #[test]
    fn an_environment_lives_as_long_as_a_release_names_it() {
        let home = tempfile::tempdir().unwrap();
        let dirs = dirs(home.path());
        for id in [1, 2, 3, 9] {
            std::fs::create_dir_all(dirs.venv(id).join("lib")).unwrap();
        }
        for (id, venv) in [(1, Some(1)), (2, Some(1)), (3, None)] {
            make(&dirs, id);
            let mut own = record(&dirs, id).unwrap();
            own.built.venv = venv;
            complete(&dirs, &own).unwrap();
        }
        // The one with number 9 is being made.
        sweep(&dirs, &[9], u64::MAX);
        let left = || {
            let mut left = venv::list(&dirs);
            left.sort_unstable();
            left
        };
        assert_eq!(left(), [1, 9]);
        discard(&dirs, 1);
        assert_eq!(left(), [1, 9]);
        discard(&dirs, 2);
        assert_eq!(left(), [9]);
        discard(&dirs, 9);
        assert!(left().is_empty());
    }

    #[test]
    fn rubbish_goes_but_not_what_is_being_made() {
        let home = tempfile::tempdir().unwrap();
        let dirs = dirs(home.path());
        make(&dirs, 1);
        make(&dirs, 4);
        std::fs::remove_dir(dirs.release(4)).unwrap();
        for id in [2, 3] {
            std::fs::create_dir(dirs.release(id)).unwrap();
            std::fs::write(dirs.release(id).join("x"), "x").unwrap();
        }
        let left = dirs
            .releases()
            .join(format!("{}0-7", durable::TEMPORARY_PREFIX));
        std::fs::write(&left, "half").unwrap();
        sweep(&dirs, &[3], u64::MAX);
        assert_eq!(ids(&dirs), [1]);
        assert!(!dirs.release(2).exists() && dirs.release(3).exists());
        assert!(!left.exists() && !dirs.release_record(4).exists());
    }

    #[test]
    fn a_damaged_record_is_named_and_left_out() {
        let home = tempfile::tempdir().unwrap();
        let dirs = dirs(home.path());
        make(&dirs, 1);
        make(&dirs, 2);
        std::fs::write(dirs.release_record(1), "{").unwrap();
        std::fs::copy(dirs.release_record(2), dirs.release_record(3)).unwrap();
        std::fs::create_dir(dirs.release(3)).unwrap();
        assert_eq!(ids(&dirs), [2]);
        assert!(matches!(load(&dirs, 1), Err(ReleaseError::Damaged { .. })));
        assert!(matches!(load(&dirs, 3), Err(ReleaseError::Damaged { .. })));
        assert!(matches!(load(&dirs, 8), Err(ReleaseError::Io { .. })));
    }
}
