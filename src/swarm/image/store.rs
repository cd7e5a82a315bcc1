//! [`Store`]: the images of releases on disk, which are whose, and of what each was made. All of it blocks.

use std::collections::HashSet;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::base::Base;
use super::blobs::{Blobs, make_directory};
use super::digest::Digest;
use super::layer::Layer;
use super::wish::Wish;
use super::{files, identity, manifest};
use crate::app_dirs::AppDirs;
use crate::document::name::AppName;
use crate::install::tree;
use crate::{durable, regular};

/// Bytes of a record.
const LARGEST: u64 = 1 << 20;

/// `images/APP/N.json`: the image of the release whose directory is N.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) manifest: Digest,
    config: Digest,
    pub(super) layers: Vec<Layer>,
    /// Of what it was made.
    of: Digest,
    /// Where it was pushed, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pushed: Option<String>,
}

impl Record {
    pub(super) fn blobs(&self) -> impl Iterator<Item = Digest> {
        let own = [self.manifest, self.config].into_iter();
        own.chain(self.layers.iter().map(|layer| layer.digest))
    }

    pub(super) fn pushed_to(&self, repository: String) -> Self {
        Self {
            pushed: Some(repository),
            ..self.clone()
        }
    }

    /// What nodes fetch; bytes.
    pub(super) fn size(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size).sum()
    }
}

/// What is on disk.
#[derive(Debug)]
pub(super) struct Store {
    data_dir: PathBuf,
    /// Its part for images.
    pub(super) directory: PathBuf,
    pub(super) blobs: Blobs,
}

impl Store {
    /// Blocks.
    ///
    /// # Errors
    /// As `mkdir(2)`.
    pub(super) fn open(data_dir: &Path, directory: &Path) -> io::Result<Self> {
        Ok(Self {
            data_dir: data_dir.to_owned(),
            directory: directory.to_owned(),
            blobs: Blobs::open(directory.join("blobs"))?,
        })
    }

    fn images(&self) -> PathBuf {
        self.directory.join("images")
    }

    /// The directory of the images of `app`.
    pub(super) fn of(&self, app: &AppName) -> PathBuf {
        self.images().join(app.as_str())
    }

    /// The apps that may have images.
    pub(super) fn apps(&self) -> io::Result<impl Iterator<Item = AppName>> {
        let names = names(&self.images())?.into_iter();
        Ok(names.filter_map(|name| AppName::parse(&name).ok()))
    }

    fn record(&self, app: &AppName, code: u64) -> PathBuf {
        self.of(app).join(format!("{code}.json"))
    }

    /// The file of the password that opens the images of `app`.
    pub(super) fn secret(&self, app: &AppName) -> PathBuf {
        self.of(app).join("pull_secret")
    }

    /// The image of `wish`, if it was made.
    pub(super) fn known(&self, wish: &Wish) -> io::Result<Option<Record>> {
        let Some(record) = self.read(&self.record(&wish.app, wish.code))? else {
            return Ok(None);
        };
        let is_whole = record.blobs().all(|digest| self.blobs.has(&digest));
        let is_same = record.of == fingerprint(wish)?;
        Ok(Some(record).filter(|_| is_whole && is_same))
    }

    /// Makes it, on `base`.
    pub(super) fn make(
        &self,
        wish: &Wish,
        base: &Base,
        check: &dyn Fn() -> io::Result<()>,
    ) -> io::Result<Record> {
        let (blobs, owner) = (&self.blobs, &wish.owner);
        let mut layers: Vec<Layer> = base.layers().cloned().collect();
        let accounts = base.accounts();
        layers.push(identity::layer_of(blobs, &accounts, owner, &wish.writable)?);
        // The checkout is the highest: it changes with each release.
        for directory in wish.files.iter().rev() {
            layers.push(files::layer_of(blobs, directory, check)?);
        }
        let user = format!("{}:{}", owner.uid, owner.gid);
        let architecture = manifest::architecture(std::env::consts::ARCH);
        let config = blobs.put(&manifest::config(architecture, &user, &base.env, &layers))?;
        let (manifest, _) = blobs.put(&manifest::manifest(config, &layers))?;
        let record = Record {
            manifest,
            config: config.0,
            layers,
            of: fingerprint(wish)?,
            pushed: None,
        };
        make_directory(&self.of(&wish.app))?;
        self.write(wish, &record)?;
        Ok(record)
    }

    pub(super) fn write(&self, wish: &Wish, record: &Record) -> io::Result<()> {
        let path = self.record(&wish.app, wish.code);
        durable::replace(&path, &serde_json::to_vec_pretty(record)?, 0o600)
    }

    fn read(&self, path: &Path) -> io::Result<Option<Record>> {
        let text = regular::read_nofollow(path, LARGEST)?;
        // What a server of another version has written is made anew.
        Ok(text.and_then(|text| serde_json::from_slice(&text).ok()))
    }

    /// The images of `app`, by release.
    pub(super) fn records(&self, app: &AppName) -> io::Result<Vec<(u64, Record)>> {
        let mut found = Vec::new();
        for name in names(&self.of(app))? {
            let code = name.strip_suffix(".json");
            if let Some(code) = code.and_then(|code| code.parse().ok())
                && let Some(record) = self.read(&self.record(app, code))?
            {
                found.push((code, record));
            }
        }
        Ok(found)
    }

    /// Removes the images of releases that are gone, and the blobs that no image has any more, but those that are to be
    /// `kept`.
    pub(super) fn sweep(&self, mut kept: HashSet<Digest>) -> io::Result<()> {
        for name in names(&self.images())? {
            let Ok(app) = AppName::parse(&name) else {
                continue;
            };
            let dirs = AppDirs::new(&self.data_dir, &self.data_dir, &app);
            if !dirs.root().is_dir() {
                tree::remove(&self.of(&app))?;
                continue;
            }
            for (code, record) in self.records(&app)? {
                match dirs.release(code).is_dir() {
                    true => kept.extend(record.blobs()),
                    false => std::fs::remove_file(self.record(&app, code))?,
                }
            }
        }
        self.blobs.retain(&kept)
    }
}

/// The names of what is in a directory; none where there is no such directory.
fn names(directory: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let name = |entry: std::fs::DirEntry| entry.file_name().into_string().ok();
    Ok(entries.flatten().filter_map(name).collect())
}

/// Of what an image is made. A release never changes, but another application may get its name and number. Blocks.
fn fingerprint(wish: &Wish) -> io::Result<Digest> {
    let mut all = format!("{wish:?}");
    for directory in &wish.files {
        let found = std::fs::symlink_metadata(directory)?;
        let (ino, mtime) = (found.ino(), (found.mtime(), found.mtime_nsec()));
        all += &format!(" {ino} {mtime:?}");
    }
    Ok(Digest::of(all.as_bytes()))
}
