//! [`Images`]: makes the images of releases, remembers which are whose, and gives them out.
//!
//! ```text
//! DATA/swarm/   blobs/ · bases/KEY.json · images/APP/{N.json, pull_secret} · work/
//! ```

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::base::{Base, Bases, Packages};
use super::blobs::{Blobs, make_directory};
use super::digest::Digest;
use super::layer::Layer;
use super::pull_secret::PullSecret;
use super::registry::Registry;
use super::wish::Wish;
use super::{files, identity, manifest};
use crate::app_dirs::AppDirs;
use crate::document::name::AppName;
use crate::document::size;
use crate::install::install_log::InstallLog;
use crate::install::limits::{StepError, StepLimits};
use crate::install::record::Failure;
use crate::install::tree;
use crate::{durable, regular};

/// Bytes of a record.
const LARGEST: u64 = 1 << 20;

/// An image that nodes can fetch.
#[derive(Clone, PartialEq, Eq)]
pub struct Image {
    /// `HOST:PORT/APP@sha256:…`
    pub reference: String,
    /// With what: the value of `X-Registry-Auth`.
    pub auth: String,
}

impl std::fmt::Debug for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { reference, .. } = self;
        f.debug_struct("Image")
            .field("reference", reference)
            .finish_non_exhaustive()
    }
}

/// `images/APP/N.json`: the image of the release whose directory is N.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Record {
    manifest: Digest,
    config: Digest,
    layers: Vec<Layer>,
    /// Of what it was made.
    of: Digest,
}

impl Record {
    fn blobs(&self) -> impl Iterator<Item = Digest> {
        let own = [self.manifest, self.config].into_iter();
        own.chain(self.layers.iter().map(|layer| layer.digest))
    }

    /// What nodes fetch; bytes.
    fn size(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size).sum()
    }
}

/// Where nodes fetch images.
#[derive(Clone, Debug)]
pub enum Origin {
    /// From this server, as the references of images have it: `HOST:PORT`; `None`: nodes reach it nowhere.
    Here(Option<String>),
    /// From a registry, to which this server pushes them.
    Registry(Registry),
}

/// The images of a server's applications.
#[derive(Clone, Debug)]
pub struct Images(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    data_dir: PathBuf,
    /// Its part for images.
    directory: PathBuf,
    blobs: Blobs,
    bases: Bases,
    origin: Origin,
    /// One image is made at a time, and nothing is swept meanwhile.
    turn: Mutex<()>,
}

impl Images {
    /// The images below the server's data directory. Blocks.
    ///
    /// # Errors
    /// As `mkdir(2)`.
    pub fn open(data_dir: &Path, origin: Origin) -> io::Result<Self> {
        let directory = data_dir.join("swarm");
        make_directory(&directory)?;
        // What a server that was killed was making.
        tree::remove(&directory.join("work"))?;
        Ok(Self(Arc::new(Inner {
            blobs: Blobs::open(directory.join("blobs"))?,
            bases: Bases::open(&directory)?,
            data_dir: data_dir.to_owned(),
            directory,
            origin,
            turn: Mutex::new(()),
        })))
    }

    /// Makes the image that `wish` is for, unless it is there.
    ///
    /// # Errors
    /// The root file system cannot be made, a file cannot be read, the disk is full, or a limit is reached.
    pub async fn prepare(
        &self,
        wish: &Wish,
        log: &InstallLog,
        limits: &StepLimits,
    ) -> Result<Image, StepError> {
        if let Origin::Here(None) = self.0.origin {
            return Err(no_host(log).into());
        }
        let turn = limits.hold(self.0.turn.lock()).await;
        let _turn =
            turn.map_err(|reached| reached.into_error(log.step(), "another image", vec![]))?;
        let record = match self.known(wish, log, limits).await? {
            Some(record) => record,
            None => {
                let packages = Packages::of(&wish.packages);
                let bases = &self.0.bases;
                let base = bases.with(&packages, &self.0.blobs, log, limits).await?;
                self.make(wish, base, log, limits).await?
            }
        };
        let told = format!(
            "image {} of {}",
            record.manifest,
            size::shown(record.size())
        );
        log.line(told).await;
        let app = wish.app.as_str();
        let (repository, auth) = match &self.0.origin {
            Origin::Here(host) => {
                let host = host.as_deref().unwrap_or_default();
                let secret = self.secret(&wish.app, log, limits).await?;
                (format!("{host}/{app}"), secret.for_engine(app, host))
            }
            Origin::Registry(registry) => {
                self.push(registry, app, &record, log, limits).await?;
                (registry.repository(app), registry.for_engine())
            }
        };
        Ok(Image {
            reference: format!("{repository}@{}", record.manifest),
            auth,
        })
    }

    async fn push(
        &self,
        registry: &Registry,
        app: &str,
        record: &Record,
        log: &InstallLog,
        limits: &StepLimits,
    ) -> Result<(), StepError> {
        let repository = registry.repository(app);
        log.line(format!("pushing it to {repository}")).await;
        let parts: Vec<Digest> = record.blobs().skip(1).collect();
        let push = registry.push(app, record.manifest, &parts, &self.0.blobs);
        let pushed = limits.hold(push).await;
        let pushed = pushed
            .map_err(|reached| reached.into_error(log.step(), "pushing the image", vec![]))?;
        pushed.map_err(|error| {
            let hint = "look at registry under [engine.swarm] (procserver.toml), and at the registry itself";
            Failure::new(log.step(), error.to_string()).hint(hint).into()
        })
    }

    /// Whether nodes fetch images from this server.
    #[must_use]
    pub fn are_given_out(&self) -> bool {
        matches!(self.0.origin, Origin::Here(_))
    }

    async fn known(
        &self,
        wish: &Wish,
        log: &InstallLog,
        limits: &StepLimits,
    ) -> Result<Option<Record>, StepError> {
        let (images, wish) = (self.clone(), wish.clone());
        let look = move |_: &StepLimits| images.0.known(&wish);
        let what = "cannot look for the image";
        limits.blocking(log.step(), what, look).await
    }

    async fn make(
        &self,
        wish: &Wish,
        base: Base,
        log: &InstallLog,
        limits: &StepLimits,
    ) -> Result<Record, StepError> {
        let (images, wish) = (self.clone(), wish.clone());
        let make = move |limits: &StepLimits| images.0.make(&wish, &base, &|| limits.check());
        let what = "cannot make the image";
        limits.blocking(log.step(), what, make).await
    }

    async fn secret(
        &self,
        app: &AppName,
        log: &InstallLog,
        limits: &StepLimits,
    ) -> Result<PullSecret, StepError> {
        let path = self.0.secret(app);
        let make = move |_: &StepLimits| PullSecret::read_or_make(&path);
        let what = "cannot make the password of images";
        limits.blocking(log.step(), what, make).await
    }

    /// Whether `password` opens the images of `app`. Blocks.
    #[must_use]
    pub fn opens(&self, app: &AppName, password: &[u8]) -> bool {
        let secret = PullSecret::read(&self.0.secret(app));
        matches!(secret, Ok(Some(secret)) if secret.is(password))
    }

    /// A manifest of `app`; `None`: it has no such image. Blocks.
    ///
    /// # Errors
    /// As `open(2)`.
    pub fn manifest(&self, app: &AppName, digest: &Digest) -> io::Result<Option<File>> {
        let is_manifest = |record: &Record| record.manifest == *digest;
        self.give_out(app, digest, is_manifest)
    }

    /// A layer or configuration of `app`; `None`: none of its images has it. Blocks.
    ///
    /// # Errors
    /// As `open(2)`.
    pub fn blob(&self, app: &AppName, digest: &Digest) -> io::Result<Option<File>> {
        let has = |record: &Record| {
            let mut all = record.blobs();
            all.any(|own| own == *digest && own != record.manifest)
        };
        self.give_out(app, digest, has)
    }

    fn give_out(
        &self,
        app: &AppName,
        digest: &Digest,
        has: impl Fn(&Record) -> bool,
    ) -> io::Result<Option<File>> {
        let records = self.0.records(app)?;
        match records.iter().any(|(_, record)| has(record)) {
            true => self.0.blobs.read(digest),
            false => Ok(None),
        }
    }

    /// Removes the images of releases that are gone, and what no image has any more.
    pub async fn sweep(&self) {
        let _turn = self.0.turn.lock().await;
        let own = self.clone();
        let swept = tokio::task::spawn_blocking(move || own.0.sweep()).await;
        // The next time tries again.
        if let Err(error) = swept.unwrap_or_else(|error| Err(io::Error::other(error))) {
            log::warn!("cannot remove old images: {error}");
        }
    }
}

impl Inner {
    fn images(&self) -> PathBuf {
        self.directory.join("images")
    }

    /// The directory of the images of `app`.
    fn of(&self, app: &AppName) -> PathBuf {
        self.images().join(app.as_str())
    }

    fn record(&self, app: &AppName, code: u64) -> PathBuf {
        self.of(app).join(format!("{code}.json"))
    }

    fn secret(&self, app: &AppName) -> PathBuf {
        self.of(app).join("pull_secret")
    }

    /// The image of `wish`, if it was made.
    fn known(&self, wish: &Wish) -> io::Result<Option<Record>> {
        let Some(record) = self.read(&self.record(&wish.app, wish.code))? else {
            return Ok(None);
        };
        let is_whole = record.blobs().all(|digest| self.blobs.has(&digest));
        let is_same = record.of == fingerprint(wish)?;
        Ok(Some(record).filter(|_| is_whole && is_same))
    }

    fn make(
        &self,
        wish: &Wish,
        base: &Base,
        check: &dyn Fn() -> io::Result<()>,
    ) -> io::Result<Record> {
        let (blobs, owner) = (&self.blobs, &wish.owner);
        let mut layers = vec![base.layer.clone()];
        let accounts = base.accounts();
        layers.push(identity::layer_of(blobs, &accounts, owner, &wish.writable)?);
        // The checkout is the highest: it changes with each release.
        for directory in wish.files.iter().rev() {
            layers.push(files::layer_of(blobs, directory, check)?);
        }
        let user = format!("{}:{}", owner.uid, owner.gid);
        let architecture = manifest::architecture(std::env::consts::ARCH);
        let config = blobs.put(&manifest::config(architecture, &user, &layers))?;
        let (manifest, _) = blobs.put(&manifest::manifest(config, &layers))?;
        let record = Record {
            manifest,
            config: config.0,
            layers,
            of: fingerprint(wish)?,
        };
        make_directory(&self.of(&wish.app))?;
        let path = self.record(&wish.app, wish.code);
        durable::replace(&path, &serde_json::to_vec_pretty(&record)?, 0o600)?;
        Ok(record)
    }

    fn read(&self, path: &Path) -> io::Result<Option<Record>> {
        let text = regular::read_nofollow(path, LARGEST)?;
        // What a server of another version has written is made anew.
        Ok(text.and_then(|text| serde_json::from_slice(&text).ok()))
    }

    /// The images of `app`, by release.
    fn records(&self, app: &AppName) -> io::Result<Vec<(u64, Record)>> {
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

    fn sweep(&self) -> io::Result<()> {
        let mut kept: HashSet<Digest> = self.bases.layers().into_iter().collect();
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

fn no_host(log: &InstallLog) -> Failure {
    let reason = "the nodes of the swarm have no address at which they fetch images";
    let hint = "name this server in api_hosts (procserver.toml), with a certificate that the nodes trust, or a registry in [engine.swarm]";
    Failure::new(log.step(), reason).hint(hint)
}

#[cfg(test)]
impl Images {
    /// Makes the image of `wish` without a root file system of Debian. Returns its manifest, and the password.
    pub(crate) fn plant(&self, wish: &Wish) -> io::Result<(Digest, PullSecret)> {
        let base = Base::bare(&self.0.blobs)?;
        let record = self.0.make(wish, &base, &|| Ok(()))?;
        Ok((
            record.manifest,
            PullSecret::read_or_make(&self.0.secret(&wish.app))?,
        ))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;

    use super::super::wish::Owner;
    use super::*;

    /// A release of an application, with one file.
    pub(crate) fn release(data_dir: &Path, app: &str, code: u64) -> Wish {
        let app = AppName::parse(app).unwrap();
        let dirs = AppDirs::new(data_dir, data_dir, &app);
        let checkout = dirs.release(code);
        fs::create_dir_all(&checkout).unwrap();
        fs::write(checkout.join("file"), format!("{code} of {app}")).unwrap();
        Wish {
            app,
            code,
            files: vec![checkout],
            writable: vec![],
            owner: Owner {
                user: "shop".into(),
                group: "shop".into(),
                uid: 998,
                gid: 997,
                home: "/".into(),
            },
            packages: vec![],
        }
    }

    fn blobs(images: &Images) -> usize {
        fs::read_dir(images.0.directory.join("blobs"))
            .unwrap()
            .count()
    }

    #[actix_web::test]
    async fn an_image_lives_as_long_as_the_directory_of_its_release() {
        let home = tempfile::tempdir().unwrap();
        let images = Images::open(home.path(), Origin::Here(None)).unwrap();
        let all = [("shop", 1), ("shop", 2), ("blog", 1)];
        let all = all.map(|(app, code)| release(home.path(), app, code));
        let manifests = all.each_ref().map(|wish| images.plant(wish).unwrap().0);
        // The root file system, the account, and of each image files, configuration and manifest.
        assert_eq!(blobs(&images), 2 + 9);
        images.sweep().await;
        assert_eq!(blobs(&images), 2 + 9);
        fs::remove_dir_all(&all[0].files[0]).unwrap();
        fs::remove_dir_all(home.path().join("apps/blog")).unwrap();
        images.sweep().await;
        assert_eq!(blobs(&images), 2 + 3);
        let given = |wish: &Wish, digest| images.manifest(&wish.app, digest).unwrap().is_some();
        assert!(given(&all[1], &manifests[1]));
        assert!(!given(&all[0], &manifests[0]) && !given(&all[2], &manifests[2]));
        assert!(!images.0.of(&all[2].app).exists(), "its password is gone");
    }

    #[test]
    fn an_image_is_made_once_and_anew_for_another_release_of_the_same_number() {
        let home = tempfile::tempdir().unwrap();
        let images = Images::open(home.path(), Origin::Here(None)).unwrap();
        let wish = release(home.path(), "shop", 1);
        assert!(images.0.known(&wish).unwrap().is_none());
        let (manifest, secret) = images.plant(&wish).unwrap();
        let known = images.0.known(&wish).unwrap().map(|record| record.manifest);
        assert_eq!(known, Some(manifest));
        assert_eq!(images.plant(&wish).unwrap(), (manifest, secret));
        let other = Wish {
            owner: Owner {
                uid: 5,
                ..wish.owner.clone()
            },
            ..wish.clone()
        };
        assert!(images.0.known(&other).unwrap().is_none());
        // The application was removed, and one of that name was made.
        fs::rename(&wish.files[0], home.path().join("old")).unwrap();
        release(home.path(), "shop", 1);
        assert!(images.0.known(&wish).unwrap().is_none());
    }

    #[test]
    fn an_image_that_lacks_a_blob_is_made_anew() {
        let home = tempfile::tempdir().unwrap();
        let images = Images::open(home.path(), Origin::Here(None)).unwrap();
        let wish = release(home.path(), "shop", 1);
        let (manifest, _) = images.plant(&wish).unwrap();
        images.0.blobs.retain(&HashSet::from([manifest])).unwrap();
        assert!(images.0.known(&wish).unwrap().is_none());
    }

    #[test]
    fn nobody_gets_what_is_another_s() {
        let home = tempfile::tempdir().unwrap();
        let images = Images::open(home.path(), Origin::Here(None)).unwrap();
        let (shop, blog) = (
            release(home.path(), "shop", 1),
            release(home.path(), "blog", 1),
        );
        let (manifest, secret) = images.plant(&shop).unwrap();
        let (_, other) = images.plant(&blog).unwrap();
        assert_ne!(secret, other);
        let record = images.0.known(&shop).unwrap().unwrap();
        let own = record.layers.last().unwrap().digest;
        assert!(images.blob(&shop.app, &own).unwrap().is_some());
        assert!(images.blob(&blog.app, &own).unwrap().is_none());
        assert!(images.manifest(&blog.app, &manifest).unwrap().is_none());
        // A manifest is no blob, nor a blob a manifest.
        assert!(images.blob(&shop.app, &manifest).unwrap().is_none());
        assert!(images.manifest(&shop.app, &own).unwrap().is_none());
        assert!(!images.opens(&blog.app, b"") && !images.opens(&shop.app, b"wrong"));
    }
}
