//! The config directory: one document per app, the source of truth. All functions block.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::lifecycle::Wanted;
use super::remembered::Remembered;
use super::runnable::in_words;
use crate::app_dirs::AppDirs;
use crate::document::config::{AppConfig, Rules};
use crate::document::json5;
use crate::document::name::AppName;
use crate::durable;
use crate::failpoint;
use crate::install::release;
use crate::regular;

/// A document larger than this is no document.
const MAX_BYTES: u64 = json5::MAX_SIZE as u64;

#[derive(Clone, Debug)]
pub struct ConfiguredApp {
    pub config: AppConfig,
    /// Set when its file is damaged and this is the last good one.
    pub warning: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub struct Contents {
    pub apps: Vec<ConfiguredApp>,
    /// Files that are no documents, with the reason.
    pub problems: Vec<String>,
    /// Removals that are not over.
    pub removals: BTreeMap<AppName, bool>,
}

/// One file of the directory.
#[derive(Clone, Debug)]
pub struct Document {
    pub path: PathBuf,
    /// The application that it is named for.
    pub name: Option<AppName>,
    /// What it says, or why it is no document, with the path.
    pub config: Result<AppConfig, String>,
}

/// The file of an app.
#[must_use]
pub fn path(directory: &Path, name: &AppName) -> PathBuf {
    directory.join(format!("{name}.json"))
}

/// Whether an app has a file, whatever is in it. Blocks.
#[must_use]
pub fn has_file(directory: &Path, name: &AppName) -> bool {
    path(directory, name).symlink_metadata().is_ok()
}

/// The bytes of an app's file.
///
/// # Errors
/// None that is known of.
pub fn as_written(config: &AppConfig) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(&config.document)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Writes an app's document; 0600, since `env` may hold secrets.
///
/// # Errors
/// The file or the directory cannot be written; what was there is intact.
pub fn write(directory: &Path, config: &AppConfig) -> io::Result<()> {
    let bytes = as_written(config)?;
    durable::replace(&path(directory, &config.name), &bytes, 0o600)
}

/// The extension of a document while its app is being removed.
const REMOVED: &str = "json.removed";
/// As [`REMOVED`], where `storage/` is kept.
const REMOVED_BUT_STORAGE: &str = "json.removed-but-storage";

/// The extension of an edited document that was not in effect when another one replaced it.
const REPLACED: &str = "json.replaced";

/// Keeps what the file of an app's document says under another name, since it is about to be replaced, if it is not what
/// is in effect: somebody edited it, and it is wrong, or was not looked at yet. Blocks.
pub fn set_aside_edit(directory: &Path, in_effect: &AppConfig, rules: &Rules) {
    let document = path(directory, &in_effect.name);
    if read(&document, rules).is_ok_and(|config| config.document == in_effect.document) {
        return;
    }
    let aside = document.with_extension(REPLACED);
    let kept = regular::read(&document, MAX_BYTES)
        .and_then(|bytes| durable::replace(&aside, &bytes, 0o600));
    let what = match kept {
        Ok(()) => format!("is in {}", aside.display()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return,
        Err(e) => format!("is lost: {e}"),
    };
    let document = document.display();
    log::warn!(
        "{document} was not in effect, and a change by the API replaces it: what it said {what}"
    );
}

/// Writes the removal of an app down: its document gets another name, in one step, so that whenever the server is
/// killed the app is there, or its removal goes on at the next start. Where there is no document, an empty one tells.
///
/// # Errors
/// It cannot be written down; the document is what it was.
pub fn write_removal(directory: &Path, name: &AppName, keep_storage: bool) -> io::Result<()> {
    let document = path(directory, name);
    let extension = match keep_storage {
        true => REMOVED_BUT_STORAGE,
        false => REMOVED,
    };
    let removal = document.with_extension(extension);
    failpoint::reach("before a removal is written");
    match std::fs::rename(&document, &removal) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            std::fs::create_dir_all(directory)?;
            std::fs::File::create(&removal)?;
        }
        renamed => renamed?,
    }
    failpoint::reach("after a removal is written");
    durable::sync_directory(directory)
}

/// The removals that are written down, with whether they keep the storage.
///
/// # Errors
/// The directory itself cannot be read.
pub fn removals(directory: &Path) -> io::Result<BTreeMap<AppName, bool>> {
    let mut removals = BTreeMap::new();
    for entry in std::fs::read_dir(directory)? {
        let file = entry?.file_name();
        let Some((stem, extension)) = file.to_str().and_then(|f| f.split_once('.')) else {
            continue;
        };
        if let Ok(name) = AppName::parse(stem)
            && [REMOVED, REMOVED_BUT_STORAGE].contains(&extension)
        {
            removals.insert(name, extension == REMOVED_BUT_STORAGE);
        }
    }
    Ok(removals)
}

/// Notes that an app's removal is over. An edited document goes as well that was replaced.
///
/// # Errors
/// The file that says that it is under way cannot be removed.
pub fn removal_is_over(directory: &Path, name: &AppName) -> io::Result<()> {
    for extension in [REPLACED, REMOVED, REMOVED_BUT_STORAGE] {
        match std::fs::remove_file(path(directory, name).with_extension(extension)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    Ok(())
}

/// Reads all documents, at the start of the server. A bad one harms no other; its app goes on with the
/// document that was good last, if it had one.
///
/// # Errors
/// The directory itself cannot be read.
pub fn read_all(
    directory: &Path,
    rules: &Rules,
    dirs: impl Fn(&AppName) -> AppDirs,
) -> io::Result<Contents> {
    durable::sweep(directory);
    let mut contents = Contents {
        removals: removals(directory)?,
        ..Contents::default()
    };
    for document in look(directory, rules)? {
        let name = document.name.as_ref();
        if name.is_some_and(|name| contents.removals.contains_key(name)) {
            // Whoever wrote it did so while the one before was being removed: its turn comes after that.
            continue;
        }
        match document.config {
            Ok(config) => contents.apps.push(ConfiguredApp {
                config,
                warning: None,
            }),
            Err(problem) => match last_good(&document.path, rules, &dirs) {
                Some(config) => contents.apps.push(ConfiguredApp {
                    config,
                    warning: Some(last_good_is_used(&problem)),
                }),
                None => contents.problems.push(problem),
            },
        }
    }
    Ok(contents)
}

#[must_use]
pub fn last_good_is_used(problem: &str) -> String {
    format!("{problem}; the last good document is used")
}

/// Reads all files of the directory that should be documents, by name.
///
/// # Errors
/// The directory itself cannot be read.
pub fn look(directory: &Path, rules: &Rules) -> io::Result<Vec<Document>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        paths.push(entry?.path());
    }
    paths.retain(|path| path.extension().is_some_and(|e| e == "json"));
    paths.sort();
    let documents = paths.into_iter().map(|path| Document {
        name: name_of(&path).ok(),
        config: read(&path, rules).map_err(|problem| format!("{}: {problem}", path.display())),
        path,
    });
    Ok(documents.collect())
}

fn name_of(path: &Path) -> Result<AppName, String> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    AppName::parse(&stem).map_err(|e| format!("the file's name is the app's name: {e}"))
}

fn read(path: &Path, rules: &Rules) -> Result<AppConfig, String> {
    let name = name_of(path)?;
    let bytes = regular::read(path, MAX_BYTES).map_err(|e| e.to_string())?;
    let mut document = json5::parse_document(&bytes).map_err(|e| e.to_string())?;
    match document.as_object_mut() {
        Some(fields) if !fields.contains_key("name") => {
            fields.insert("name".to_owned(), Value::from(name.as_str()));
        }
        _ => {}
    }
    let config = AppConfig::from_document(document, rules).map_err(|errors| in_words(&errors))?;
    if config.name != name {
        return Err(format!(
            "is named for \"{name}\" but says name \"{}\": rename one of them",
            config.name
        ));
    }
    Ok(config)
}

/// Whether the document in `file` has comments; one that cannot be read has none.
#[must_use]
pub fn has_comments(file: &Path) -> bool {
    let bytes = regular::read(file, MAX_BYTES).unwrap_or_default();
    json5::has_comments(&String::from_utf8_lossy(&bytes))
}

fn last_good(path: &Path, rules: &Rules, dirs: &impl Fn(&AppName) -> AppDirs) -> Option<AppConfig> {
    let name = name_of(path).ok()?;
    let dirs = dirs(&name);
    let remembered = Remembered::load(&dirs.state()).ok().flatten()?;
    // That of the release lacks what was changed without a deploy: a server before this one may have noted nothing else.
    let of_release = release::list(&dirs)
        .into_iter()
        .find(|r| Some(r.id) == remembered.current)
        .map(|record| record.document);
    let documents = remembered.last_good().into_iter().chain(of_release);
    let mut configs = documents.filter_map(|one| AppConfig::from_document(one, rules).ok());
    configs.find(|config| config.name == name)
}

/// Apps that have files but no document: those whose removal was under way, with whether it keeps their storage, and
/// the others.
#[must_use]
pub fn orphans(data_dir: &Path, known: &[AppName]) -> (Vec<(AppName, bool)>, Vec<AppName>) {
    let entries = std::fs::read_dir(data_dir.join("apps"))
        .into_iter()
        .flatten()
        .flatten();
    let names = entries.filter_map(|e| AppName::parse(&e.file_name().to_string_lossy()).ok());
    let known: HashSet<&AppName> = known.iter().collect();
    let (mut removed, mut others) = (vec![], vec![]);
    for name in names.filter(|name| !known.contains(name)) {
        let state = data_dir.join("apps").join(name.as_str()).join("state.json");
        match Remembered::load(&state).ok().flatten() {
            Some(r) if r.wanted == Wanted::Removed => removed.push((name, r.keep_storage)),
            _ => others.push(name),
        }
    }
    (removed, others)
}
