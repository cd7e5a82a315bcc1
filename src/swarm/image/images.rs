//! [`Images`]: makes the images of releases, one at a time, and gives them out.
//!
//! ```text
//! DATA/swarm/   blobs/ · bases/KEY.json · images/APP/{N.json, pull_secret} · work/
//! ```

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use bollard::auth::DockerCredentials;
use tokio::sync::Mutex;

use super::base::Base;
use super::base_image::BaseImage;
use super::bases::Bases;
use super::blobs::make_directory;
use super::digest::Digest;
use super::mmdebstrap::Packages;
use super::pull_secret::PullSecret;
use super::registry::Registry;
use super::store::{Record, Store};
use super::wish::Wish;
use crate::document::name::AppName;
use crate::document::size;
use crate::failpoint;
use crate::install::install_log::InstallLog;
use crate::install::limits::{StepError, StepLimits};
use crate::install::record::Failure;
use crate::install::tree;

/// An image that nodes can fetch.
#[derive(Clone, PartialEq, Eq)]
pub struct Image {
    /// `HOST:PORT/APP@sha256:…`
    pub reference: String,
    /// With what: the value of `X-Registry-Auth`.
    pub auth: String,
}

impl Image {
    /// What an engine is to log in with.
    #[must_use]
    pub fn credentials(&self) -> Option<DockerCredentials> {
        let text = URL_SAFE.decode(&self.auth).ok()?;
        serde_json::from_slice(&text).ok()
    }
}

impl std::fmt::Debug for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { reference, .. } = self;
        f.debug_struct("Image")
            .field("reference", reference)
            .finish_non_exhaustive()
    }
}

/// What nodes may have of an application.
#[derive(Clone, Debug)]
pub struct OnNodes {
    /// The image of its newest release: the one that most nodes have.
    pub newest: Image,
    /// Of all its images.
    pub repository: String,
    /// Digests of those that releases still need.
    pub kept: Vec<String>,
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
    store: Store,
    bases: Bases,
    origin: Origin,
    /// What images are built on, in the place of this machine's Debian.
    base_image: Option<BaseImage>,
    /// One image is made at a time, and nothing is swept meanwhile.
    turn: Mutex<()>,
}

impl Images {
    /// The images below the server's data directory. Blocks.
    ///
    /// # Errors
    /// As `mkdir(2)`.
    pub fn open(data_dir: &Path, origin: Origin) -> io::Result<Self> {
        Self::open_on(data_dir, origin, None)
    }

    /// As [`Self::open`], with images that are built on another.
    ///
    /// # Errors
    /// As `mkdir(2)`.
    pub fn open_on(
        data_dir: &Path,
        origin: Origin,
        base_image: Option<BaseImage>,
    ) -> io::Result<Self> {
        let directory = data_dir.join("swarm");
        make_directory(&directory)?;
        // What a server that was killed was making.
        tree::remove(&directory.join("work"))?;
        Ok(Self(Arc::new(Inner {
            store: Store::open(data_dir, &directory)?,
            bases: Bases::open(&directory)?,
            origin,
            base_image,
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
        let turn =
            turn.map_err(|reached| reached.into_error(log.step(), "another image", vec![]))?;
        let record = match self.known(wish, log, limits).await? {
            Some(record) => record,
            None => {
                let base = self.base(wish, log, limits).await?;
                self.make(wish, base, log, limits).await?
            }
        };
        let told = format!(
            "image {} of {}",
            record.manifest,
            size::shown(record.size())
        );
        log.line(told).await;
        // The release keeps its image from here on. A registry may take its time.
        drop(turn);
        let app = wish.app.as_str();
        let (repository, auth) = match &self.0.origin {
            Origin::Here(host) => {
                let host = host.as_deref().unwrap_or_default();
                let secret = self.secret(&wish.app, log, limits).await?;
                (format!("{host}/{app}"), secret.for_engine(app, host))
            }
            Origin::Registry(registry) => {
                self.push(registry, wish, &record, log, limits).await?;
                (registry.repository(app), registry.for_engine())
            }
        };
        Ok(Image {
            reference: format!("{repository}@{}", record.manifest),
            auth,
        })
    }

    async fn base(
        &self,
        wish: &Wish,
        log: &InstallLog,
        limits: &StepLimits,
    ) -> Result<Base, StepError> {
        let (bases, blobs) = (&self.0.bases, &self.0.store.blobs);
        let Some(image) = &self.0.base_image else {
            let all = [&wish.packages[..], &wish.found].concat();
            return bases.with(&Packages::of(&all), blobs, log, limits).await;
        };
        let base = bases.of_image(image, blobs, log, limits).await?;
        let lacks = base.lacks(&wish.packages).join(", ");
        if !lacks.is_empty() {
            let reason = format!("the base image {image} lacks packages of the document: {lacks}");
            let hint = "put them into that image, or take base_image out of [engine.swarm] (procserver.toml)";
            return Err(Failure::new(log.step(), reason).hint(hint).into());
        }
        // It may have a language from elsewhere.
        let lacks = base.lacks(&wish.found).join(", ");
        if !lacks.is_empty() {
            let told = format!(
                "remark: the base image has no Debian package of {lacks}, which the release looks to need"
            );
            log.line(told).await;
        }
        Ok(base)
    }

    /// Sees to it that the registry has it. One that had it, and does not answer now, holds nothing up: what runs of the
    /// release is to be found again when the server starts.
    async fn push(
        &self,
        registry: &Registry,
        wish: &Wish,
        record: &Record,
        log: &InstallLog,
        limits: &StepLimits,
    ) -> Result<(), StepError> {
        let app = wish.app.as_str();
        let repository = registry.repository(app);
        log.line(format!("pushing it to {repository}")).await;
        let parts: Vec<Digest> = record.blobs().skip(1).collect();
        let push = registry.push(app, record.manifest, &parts, &self.0.store.blobs);
        let pushed = limits.hold(push).await;
        let pushed = pushed
            .map_err(|reached| reached.into_error(log.step(), "pushing the image", vec![]))?;
        failpoint::reach("an image is pushed");
        let had_it = record.pushed.as_ref() == Some(&repository);
        match pushed {
            Ok(()) if had_it => Ok(()),
            Ok(()) => {
                let (images, wish) = (self.clone(), wish.clone());
                let record = record.pushed_to(repository);
                let note = move |_: &StepLimits| images.0.store.write(&wish, &record);
                let what = "cannot note that the image was pushed";
                limits.blocking(log.step(), what, note).await
            }
            Err(error) if had_it => {
                log.line(format!("remark: {error}; it was pushed before"))
                    .await;
                Ok(())
            }
            Err(error) => {
                let hint = "look at registry under [engine.swarm] (procserver.toml), and at the registry itself";
                Err(Failure::new(log.step(), error.to_string())
                    .hint(hint)
                    .into())
            }
        }
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
        let look = move |_: &StepLimits| images.0.store.known(&wish);
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
        let make = move |limits: &StepLimits| images.0.store.make(&wish, &base, &|| limits.check());
        let what = "cannot make the image";
        limits.blocking(log.step(), what, make).await
    }

    async fn secret(
        &self,
        app: &AppName,
        log: &InstallLog,
        limits: &StepLimits,
    ) -> Result<PullSecret, StepError> {
        let path = self.0.store.secret(app);
        let make = move |_: &StepLimits| PullSecret::read_or_make(&path);
        let what = "cannot make the password of images";
        limits.blocking(log.step(), what, make).await
    }

    /// Whether `password` opens the images of `app`. Blocks.
    #[must_use]
    pub fn opens(&self, app: &AppName, password: &[u8]) -> bool {
        let secret = PullSecret::read(&self.0.store.secret(app));
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
        let records = self.0.store.records(app)?;
        match records.iter().any(|(_, record)| has(record)) {
            true => self.0.store.blobs.read(digest),
            false => Ok(None),
        }
    }

    /// What nodes may have of `app`; `None`: none of its images is here. Blocks.
    ///
    /// # Errors
    /// As `open(2)`.
    pub fn on_nodes(&self, app: &AppName) -> io::Result<Option<OnNodes>> {
        let mut records = self.0.store.records(app)?;
        records.sort_by_key(|(code, _)| *code);
        let Some((_, newest)) = records.last() else {
            return Ok(None);
        };
        let name = app.as_str();
        let (repository, auth) = match &self.0.origin {
            Origin::Here(host) => {
                let host = host.as_deref().unwrap_or_default();
                let secret = PullSecret::read_or_make(&self.0.store.secret(app))?;
                (format!("{host}/{name}"), secret.for_engine(name, host))
            }
            Origin::Registry(registry) => (registry.repository(name), registry.for_engine()),
        };
        Ok(Some(OnNodes {
            newest: Image {
                reference: format!("{repository}@{}", newest.manifest),
                auth,
            },
            repository,
            kept: records
                .iter()
                .map(|(_, record)| record.manifest.to_string())
                .collect(),
        }))
    }

    /// As [`Self::on_nodes`] where no image of `app` is here any more: with that of another app nodes remove what is left
    /// of this one. Blocks.
    ///
    /// # Errors
    /// As `open(2)`.
    pub fn of_another(&self, app: &AppName) -> io::Result<Option<OnNodes>> {
        for other in self.0.store.apps()? {
            if let Some(found) = self.on_nodes(&other)? {
                let repository = match &self.0.origin {
                    Origin::Here(host) => format!("{}/{app}", host.as_deref().unwrap_or_default()),
                    Origin::Registry(registry) => registry.repository(app.as_str()),
                };
                return Ok(Some(OnNodes {
                    repository,
                    kept: Vec::new(),
                    ..found
                }));
            }
        }
        Ok(None)
    }

    /// Removes the images of releases that are gone, and what no image has any more.
    pub async fn sweep(&self) {
        // Who makes an image sweeps behind it.
        let Ok(_turn) = self.0.turn.try_lock() else {
            return;
        };
        let own = self.clone();
        let sweep = move || {
            let Inner { store, bases, .. } = &*own.0;
            store.sweep(bases.layers().into_iter().collect())?;
            bases.sweep(&store.blobs)
        };
        let swept = tokio::task::spawn_blocking(sweep).await;
        // The next time tries again.
        if let Err(error) = swept.unwrap_or_else(|error| Err(io::Error::other(error))) {
            log::warn!("cannot remove old images: {error}");
        }
    }
}

fn no_host(log: &InstallLog) -> Failure {
    let reason = "the nodes of the swarm have no address at which they fetch images";
    let hint = "name this server in api_hosts (procserver.toml), with a certificate that the nodes trust and a port in listen or tls_listen, or a registry in [engine.swarm]";
    Failure::new(log.step(), reason).hint(hint)
}

#[cfg(test)]
impl Images {
    /// Makes the image of `wish` without a root file system of Debian. Returns its manifest, and the password.
    pub(crate) fn plant(&self, wish: &Wish) -> io::Result<(Digest, PullSecret)> {
        let base = Base::bare(&self.0.store.blobs)?;
        let record = self.0.store.make(wish, &base, &|| Ok(()))?;
        Ok((
            record.manifest,
            PullSecret::read_or_make(&self.0.store.secret(&wish.app))?,
        ))
    }
}

#[cfg(test)]
pub(crate) mod tests;
