//! Prepares a restore: the backup is read to its end before anything is made, unpacked beside the data, and then it is
//! written down what is to be done with it ([`Plan`]). From then on it is done, whenever the server is killed. All of it
//! blocks.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::BackupError;
use super::extract::{Volume, extract};
use super::manifest::NamedFiles;
use super::place::{self, Place};
use super::reader::{self, Contents};
use crate::document::config::{AppConfig, Rules};
use crate::document::json5;
use crate::document::name::AppName;
use crate::install::tree;
use crate::{durable, failpoint, regular};

/// Below the data directory: a restore that is under way.
pub const WORK: &str = "restore";
/// In it: the file as it came, what was unpacked of it, and what is to be done.
pub const UPLOAD: &str = "upload";
const TREE: &str = "tree";
const PLAN: &str = "plan.json";

/// What stays free of the disk, bytes.
const FLOOR: u64 = 256 << 20;

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Only these applications, and nothing of the server itself; all if there are none.
    pub only: Vec<String>,
    /// Applications that are there are removed first.
    pub replace: bool,
}

/// What is to be done; once it is written it is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub applications: Vec<String>,
    pub replace: bool,
    /// Whether token, certificates and settings are restored too.
    pub whole: bool,
    /// Where the files of certificates were on the old machine.
    #[serde(default)]
    pub certificates: Vec<NamedFiles>,
}

/// The directory of a restore.
#[derive(Clone, Debug)]
pub struct Work(PathBuf);

impl Work {
    #[must_use]
    pub fn new(data_dir: &Path) -> Self {
        Self(data_dir.join(WORK))
    }

    #[must_use]
    pub fn upload(&self) -> PathBuf {
        self.0.join(UPLOAD)
    }

    #[must_use]
    pub fn tree(&self) -> PathBuf {
        self.0.join(TREE)
    }

    /// What was unpacked of an application: its document, and its files until they are moved.
    #[must_use]
    pub fn application(&self, name: &AppName) -> PathBuf {
        self.tree().join("apps").join(name.as_str())
    }

    /// Makes it anew and opens the file for the backup.
    ///
    /// # Errors
    /// [`BackupError::Busy`] where a restore is under way.
    pub fn begin(&self) -> Result<File, BackupError> {
        if self.plan()?.is_some() {
            return Err(BackupError::Busy);
        }
        self.clear()?;
        let made = std::fs::DirBuilder::new().mode(0o700).create(&self.0);
        made.map_err(BackupError::at(&self.0))?;
        let path = self.upload();
        let mut options = File::options();
        options.read(true).write(true).create_new(true);
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&path).map_err(BackupError::at(&path))
    }

    /// What is to be done, if anything is.
    ///
    /// # Errors
    /// It cannot be read, or makes no sense.
    pub fn plan(&self) -> Result<Option<Plan>, BackupError> {
        let path = self.0.join(PLAN);
        let text =
            regular::read_nofollow(&path, reader::LARGEST_TEXT).map_err(BackupError::at(&path))?;
        let Some(text) = text else { return Ok(None) };
        let plan = serde_json::from_slice(&text).map_err(|e| BackupError::at(&path)(e.into()))?;
        Ok(Some(plan))
    }

    fn write_plan(&self, plan: &Plan) -> Result<(), BackupError> {
        let path = self.0.join(PLAN);
        let text = serde_json::to_vec(plan).map_err(|e| BackupError::at(&path)(e.into()))?;
        durable::replace(&path, &text, 0o600).map_err(BackupError::at(&path))
    }

    /// Removes all of it; the plan last, so that what is left is told from what is to be done.
    ///
    /// # Errors
    /// As `unlink(2)`.
    pub fn clear(&self) -> Result<(), BackupError> {
        for path in [self.upload(), self.tree(), self.0.clone()] {
            match tree::remove(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(BackupError::at(path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Reads the backup in `file`, unpacks what is asked for, and writes the plan. `is_taken` says what is in the way of an
/// application of this name.
///
/// # Errors
/// Nothing is changed then, and nothing is left.
pub fn prepare(
    work: &Work,
    file: &mut File,
    request: &Request,
    rules: &Rules,
    is_taken: &dyn Fn(&AppName) -> Option<String>,
) -> Result<Plan, BackupError> {
    let prepared = prepare_in(work, file, request, rules, is_taken);
    if prepared.is_err()
        && let Err(error) = work.clear()
    {
        log::warn!("{error}");
    }
    prepared
}

fn prepare_in(
    work: &Work,
    file: &mut File,
    request: &Request,
    rules: &Rules,
    is_taken: &dyn Fn(&AppName) -> Option<String>,
) -> Result<Plan, BackupError> {
    let only: BTreeSet<&[u8]> = request.only.iter().map(|name| name.as_bytes()).collect();
    let wanted = |names: &[&[u8]]| match (only.is_empty(), names) {
        (true, _) | (false, [b"apps"]) => true,
        (false, [b"apps", name, ..]) => only.contains(name),
        (false, _) => false,
    };
    let (contents, names, volume) = look(file, rules, &wanted)?;
    for name in &request.only {
        if !names.iter().any(|known| known.as_str() == name) {
            let all: Vec<_> = names.iter().map(AppName::as_str).collect();
            return Err(BackupError::NotInIt(name.clone(), all.join(" ")));
        }
    }
    let names: Vec<AppName> = names
        .into_iter()
        .filter(|name| wanted(&[b"apps", name.as_str().as_bytes()]))
        .collect();
    if !request.replace {
        let taken: Vec<_> = names.iter().filter_map(is_taken).collect();
        if !taken.is_empty() {
            return Err(BackupError::Exist(taken.join("; ")));
        }
    }
    enough_space(&work.0, volume)?;
    let tree = work.tree();
    let made = std::fs::DirBuilder::new().mode(0o700).create(&tree);
    made.map_err(BackupError::at(&tree))?;
    failpoint::reach("before a restore is unpacked");
    file.seek(SeekFrom::Start(0))
        .map_err(BackupError::at(work.upload()))?;
    extract(BufReader::new(&*file), &tree, &wanted)?;
    let plan = Plan {
        applications: names.iter().map(ToString::to_string).collect(),
        replace: request.replace,
        whole: only.is_empty() && contents.manifest.whole,
        certificates: contents.manifest.certificates,
    };
    failpoint::reach("before a restore is written down");
    work.write_plan(&plan)?;
    failpoint::reach("after a restore is written down");
    Ok(plan)
}

/// Reads all of a backup and makes nothing.
fn look(
    file: &mut File,
    rules: &Rules,
    wanted: &dyn Fn(&[&[u8]]) -> bool,
) -> Result<(Contents, Vec<AppName>, Volume), BackupError> {
    file.seek(SeekFrom::Start(0)).map_err(BackupError::Output)?;
    let (mut names, mut volume) = (Vec::new(), Volume::default());
    let contents = reader::walk(BufReader::new(&*file), |_, entry| {
        let path =
            place::names(&entry.head.path).map_err(|why| reader::refused(&entry.head.path, why))?;
        if let Place::Document(name) = &entry.place {
            let text = reader::text(entry.content)?;
            if wanted(&path) {
                document(name, &text, rules)?;
            }
            names.push(name.clone());
            return Ok(());
        }
        if wanted(&path) {
            volume
                .add(entry)
                .map_err(|e| BackupError::Damaged(e.to_string()))?;
        }
        Ok(())
    })?;
    names.sort();
    Ok((contents, names, volume))
}

/// Reads an application's document as this server would.
///
/// # Errors
/// [`BackupError::Document`].
pub fn document(name: &AppName, text: &[u8], rules: &Rules) -> Result<AppConfig, BackupError> {
    let refused = |why: String| BackupError::Document {
        name: name.to_string(),
        why,
    };
    let mut document = json5::parse_document(text).map_err(|e| refused(e.to_string()))?;
    if let Some(fields) = document.as_object_mut() {
        fields.entry("name").or_insert_with(|| name.as_str().into());
    }
    let config = AppConfig::from_document(document, rules).map_err(|errors| {
        let errors: Vec<_> = errors
            .iter()
            .map(|e| format!("{} {}", e.pointer, e.detail))
            .collect();
        refused(errors.join("; "))
    })?;
    match config.name == *name {
        true => Ok(config),
        false => Err(refused(format!("it is of \"{}\"", config.name))),
    }
}

fn enough_space(work: &Path, volume: Volume) -> Result<(), BackupError> {
    let disk = rustix::fs::statvfs(work).map_err(|e| BackupError::at(work)(e.into()))?;
    let free = (disk.f_bavail * disk.f_frsize)
        .saturating_sub(FLOOR.min(disk.f_blocks * disk.f_frsize / 20));
    // A directory takes a block as well.
    let needed = volume.bytes + volume.entries * 512;
    let inodes = disk.f_files > 0 && disk.f_favail < volume.entries;
    match free < needed || inodes {
        true => Err(BackupError::NoSpace {
            path: work.to_owned(),
            free: free >> 20,
            needed: needed.div_ceil(1 << 20),
            hint: if inodes { ", and more inodes" } else { "" },
        }),
        false => Ok(()),
    }
}

/// Reads the document of a planned application.
///
/// # Errors
/// [`BackupError`].
pub fn planned_document(
    work: &Work,
    name: &AppName,
    rules: &Rules,
) -> Result<AppConfig, BackupError> {
    let path = work.application(name).join(place::DOCUMENT);
    let mut text = Vec::new();
    let file = regular::open(&path).map_err(BackupError::at(&path))?;
    let read = file.take(reader::LARGEST_TEXT).read_to_end(&mut text);
    read.map_err(BackupError::at(&path))?;
    document(name, &text, rules)
}
