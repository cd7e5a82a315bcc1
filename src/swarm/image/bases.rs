//! [`Bases`]: the lowest layers of images, kept by what is in them: applications with the same packages share a root file
//! system of this machine's Debian ([`mmdebstrap`]). Where the settings name a base image, its layers are the lowest of
//! all images instead.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::base::Base;
use super::base_image::BaseImage;
use super::blobs::{Blobs, make_directory};
use super::digest::Digest;
use super::manifest;
use super::mmdebstrap::{self, Packages};
use super::pull::pull;
use super::session::RegistryError;
use crate::durable::{self, TEMPORARY_PREFIX};
use crate::install::failure;
use crate::install::install_log::InstallLog;
use crate::install::limits::{StepError, StepLimits};
use crate::install::record::Failure;
use crate::regular;

/// The root file systems of a server, below `directory`.
#[derive(Clone, Debug)]
pub struct Bases {
    records: PathBuf,
    /// Where they are made; each server begins with an empty one.
    work: PathBuf,
    /// One is made at a time. Who needs one that is there does not wait.
    turn: Arc<Mutex<()>>,
}

impl Bases {
    /// Blocks.
    ///
    /// # Errors
    /// As `mkdir(2)`.
    pub fn open(directory: &Path) -> io::Result<Self> {
        let bases = Self {
            records: directory.join("bases"),
            work: directory.join("work"),
            turn: Arc::default(),
        };
        make_directory(&bases.records)?;
        durable::sweep(&bases.records);
        make_directory(&bases.work)?;
        Ok(bases)
    }

    /// Takes over the young ones of another server, whose directory is `from`. Blocks.
    ///
    /// # Errors
    /// A file cannot be copied.
    pub fn take_over(from: &Path, to: &Path) -> io::Result<usize> {
        let own = Self::open(to)?;
        let (theirs, blobs) = (from.join("bases"), Blobs::open(to.join("blobs"))?);
        let entries = std::fs::read_dir(theirs).into_iter().flatten();
        let mut taken = 0;
        for entry in entries.flatten() {
            let Some(base) =
                Base::read(&entry.path()).filter(|base| base.is_fresh(Timestamp::now()))
            else {
                continue;
            };
            let mut is_whole = true;
            for layer in base.layers() {
                is_whole &= take_blob(&from.join("blobs"), &blobs, layer.digest)?;
            }
            if is_whole {
                let record = own.records.join(entry.file_name());
                base.write(&record)?;
                taken += 1;
            }
        }
        Ok(taken)
    }

    /// The layers of all of them that are young, so that the next image may want them. Blocks.
    #[must_use]
    pub fn layers(&self) -> Vec<Digest> {
        let entries = std::fs::read_dir(&self.records).into_iter().flatten();
        let now = Timestamp::now();
        let known = entries
            .flatten()
            .filter_map(|entry| Base::read(&entry.path()));
        known
            .filter(|base| base.is_fresh(now))
            .flat_map(|base| base.layers().map(|layer| layer.digest).collect::<Vec<_>>())
            .collect()
    }

    /// The one with these packages; it is made where there is none, or only an old one.
    ///
    /// # Errors
    /// It cannot be made, and there is not even an old one; a limit is reached.
    pub async fn with(
        &self,
        packages: &Packages,
        blobs: &Blobs,
        log: &InstallLog,
        limits: &StepLimits,
    ) -> Result<Base, StepError> {
        let told = format!("making a root file system: {}", packages.all().join(" "));
        let make = mmdebstrap::make(packages, &self.work, blobs, log, limits);
        let (key, around) = (packages.key(), (blobs, log, limits));
        self.kept(&key, told, around, make).await
    }

    /// That of an image, which is fetched where there is none, or only an old one: a tag may name another by then.
    ///
    /// # Errors
    /// As [`Self::with`].
    pub async fn of_image(
        &self,
        image: &BaseImage,
        blobs: &Blobs,
        log: &InstallLog,
        limits: &StepLimits,
    ) -> Result<Base, StepError> {
        let key = format!("image\n{}\n{image}", std::env::consts::ARCH);
        let told = format!("fetching the base image {image}");
        let fetch = fetch(image, blobs, log, limits);
        let (key, around) = (Digest::of(key.as_bytes()).hex(), (blobs, log, limits));
        self.kept(&key, told, around, fetch).await
    }

    /// The one whose record has the name `key`, as [`Self::with`] says; `told` is what `make` does.
    async fn kept(
        &self,
        key: &str,
        told: String,
        (blobs, log, limits): (&Blobs, &InstallLog, &StepLimits),
        make: impl Future<Output = Result<Base, StepError>>,
    ) -> Result<Base, StepError> {
        let path = self.records.join(format!("{key}.json"));
        let look = async || {
            let (own, blobs_of) = (path.clone(), blobs.clone());
            let look =
                move |_: &StepLimits| Ok(Base::read(&own).filter(|base| base.is_in(&blobs_of)));
            let what = "cannot look for the root file system";
            limits.blocking(log.step(), what, look).await
        };
        let fresh = async |known: Option<&Base>| {
            let fresh = known.filter(|base| base.is_fresh(Timestamp::now()))?;
            log.line(format!("root file system of {}", fresh.made))
                .await;
            Some(fresh.clone())
        };
        if let Some(base) = fresh(look().await?.as_ref()).await {
            return Ok(base);
        }
        let _turn = self.wait(log, limits).await?;
        // Another may have made it meanwhile.
        let known = look().await?;
        if let Some(base) = fresh(known.as_ref()).await {
            return Ok(base);
        }
        log.line(told).await;
        let made = async {
            let base = make.await?;
            let note = move |_: &StepLimits| base.write(&path).map(|()| base);
            let what = "cannot note the root file system";
            limits.blocking(log.step(), what, note).await
        };
        match (made.await, known) {
            (Err(StepError::Failed(failure)), Some(old)) => {
                let told = format!(
                    "remark: {}; the root file system of {} stays",
                    failure.reason, old.made
                );
                log.line(told).await;
                Ok(old)
            }
            (made, _) => made,
        }
    }

    /// Waits until no other one is made.
    async fn wait(
        &self,
        log: &InstallLog,
        limits: &StepLimits,
    ) -> Result<OwnedMutexGuard<()>, StepError> {
        if let Ok(turn) = Arc::clone(&self.turn).try_lock_owned() {
            return Ok(turn);
        }
        log.line("waiting: a root file system of other packages is being made")
            .await;
        let turn = limits.hold(Arc::clone(&self.turn).lock_owned()).await;
        turn.map_err(|reached| reached.into_error(log.step(), "another root file system", vec![]))
    }

    /// Removes the records of those whose layers are gone. Blocks.
    ///
    /// # Errors
    /// The directory cannot be read, or a record not be removed.
    pub fn sweep(&self, blobs: &Blobs) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.records)? {
            let entry = entry?;
            let path = entry.path();
            let is_whole = !entry
                .file_name()
                .to_string_lossy()
                .starts_with(TEMPORARY_PREFIX);
            if is_whole && Base::read(&path).is_none_or(|base| !base.is_in(blobs)) {
                std::fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

/// Whether the blob of another server could be taken over: that may be removing it.
fn take_blob(from: &Path, to: &Blobs, digest: Digest) -> io::Result<bool> {
    let Ok(mut content) = regular::open(&from.join(digest.hex())) else {
        return Ok(false);
    };
    let mut writer = to.write()?;
    io::copy(&mut content, &mut writer)?;
    Ok(writer.store_as(digest)?.is_some())
}

async fn fetch(
    image: &BaseImage,
    blobs: &Blobs,
    log: &InstallLog,
    limits: &StepLimits,
) -> Result<Base, StepError> {
    let architecture = manifest::architecture(std::env::consts::ARCH);
    let tell = async |line| log.line(line).await;
    let pulled = limits.hold(pull(image, architecture, blobs, tell)).await;
    let pulled = pulled
        .map_err(|reached| reached.into_error(log.step(), "fetching the base image", vec![]))?
        .map_err(|error| not_fetched(log, image, &error))?;
    log.line(format!("the base image is {}", pulled.digest))
        .await;
    let base = Base::of(pulled);
    base.map_err(|error| failure::io(log.step(), "cannot use the base image", &error).into())
}

fn not_fetched(log: &InstallLog, image: &BaseImage, error: &RegistryError) -> Failure {
    let reason = format!("the base image {image} cannot be fetched: {error}");
    let hint =
        "look at base_image under [engine.swarm] (procserver.toml), and at the registry itself";
    Failure::new(log.step(), reason).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn young_ones_of_another_server_are_taken_over_whole() {
        let home = tempfile::tempdir().unwrap();
        let (from, to) = (home.path().join("from"), home.path().join("to"));
        let theirs = Bases::open(&from).unwrap();
        let blobs = Blobs::open(from.join("blobs")).unwrap();
        let young = Base::bare(&blobs).unwrap();
        let (mut old, mut lost) = (young.clone(), young.clone());
        old.made = Timestamp::UNIX_EPOCH;
        lost.layer.digest = Digest::of(b"lost");
        for (name, base) in [("young", &young), ("old", &old), ("lost", &lost)] {
            let record = theirs.records.join(format!("{name}.json"));
            std::fs::write(record, serde_json::to_vec(base).unwrap()).unwrap();
        }
        assert_eq!(Bases::take_over(&from, &to).unwrap(), 1);
        assert_eq!(
            Base::read(&to.join("bases/young.json")),
            Some(young.clone())
        );
        let taken = Blobs::open(to.join("blobs")).unwrap();
        assert!(taken.has(&young.layer.digest));
        assert_eq!(Bases::take_over(&home.path().join("none"), &to).unwrap(), 0);
    }

    #[test]
    fn records_whose_layers_are_gone_go_too() {
        let home = tempfile::tempdir().unwrap();
        let bases = Bases::open(home.path()).unwrap();
        let blobs = Blobs::open(home.path().join("blobs")).unwrap();
        let base = Base::bare(&blobs).unwrap();
        let record = bases.records.join("a.json");
        std::fs::write(&record, serde_json::to_vec(&base).unwrap()).unwrap();
        std::fs::write(bases.records.join("b.json"), "of another version").unwrap();
        bases.sweep(&blobs).unwrap();
        assert!(record.exists() && !bases.records.join("b.json").exists());
        blobs.retain(&std::collections::HashSet::new()).unwrap();
        bases.sweep(&blobs).unwrap();
        assert!(!record.exists());
    }
}
