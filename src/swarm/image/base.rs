//! The lowest layer of images: a root file system of this machine's Debian, from the machine's own package sources, with
//! the packages that a document names. mmdebstrap makes it. Applications with the same packages share one. Where the
//! settings name a base image, its layers are the lowest of all images instead.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::base_image::BaseImage;
use super::blobs::{Blobs, make_directory};
use super::digest::Digest;
use super::identity::Accounts;
use super::layer::{self, Layer};
use super::manifest;
use super::pull::{Files, Pulled, pull};
use super::session::RegistryError;
use crate::document::package::Package;
use crate::durable::{self, TEMPORARY_PREFIX};
use crate::install::command::{self, Program};
use crate::install::failure;
use crate::install::git::system_environment;
use crate::install::install_log::InstallLog;
use crate::install::limits::{StepError, StepLimits};
use crate::install::record::Failure;
use crate::regular;

/// A later deploy makes a new one after this time, so that images get Debian's security updates.
const FRESH: Duration = Duration::from_secs(7 * 24 * 3600);

const MMDEBSTRAP: &str = "mmdebstrap";

/// Before the command line of mmdebstrap, as unshare(1) has it.
const ALONE: [&str; 7] = [
    "--mount",
    "--propagation=private",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
    MMDEBSTRAP,
];

/// Bytes of a record, and of a root file system's passwd or group.
const LARGEST: u64 = 1 << 20;

/// What applications expect of a machine: the certificates of authorities, names of services, time zones.
const ALWAYS: [&str; 3] = ["ca-certificates", "netbase", "tzdata"];

/// Changed when the same packages shall make another file system.
const VERSION: &str = "1";

/// What nobody reads in a container; licences stay.
const LEFT_OUT: [&str; 5] = [
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/lintian/*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
];

/// A root file system in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// The lowest layer.
    pub layer: Layer,
    /// Those above it, where it is an image that was fetched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    above: Vec<Layer>,
    /// The variables of that image, `NAME=value`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// The packages of that image, `NAME=version`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    installed: BTreeSet<String>,
    /// Its `/etc/passwd` and `/etc/group`.
    passwd: String,
    group: String,
    made: Timestamp,
}

impl Base {
    /// From the lowest on.
    pub fn layers(&self) -> impl Iterator<Item = &Layer> {
        std::iter::once(&self.layer).chain(&self.above)
    }

    fn is_in(&self, blobs: &Blobs) -> bool {
        self.layers().all(|layer| blobs.has(&layer.digest))
    }

    /// The packages that an image which was fetched does not have.
    #[must_use]
    pub fn lacks(&self, packages: &[Package]) -> Vec<String> {
        let has = |package: &Package| {
            let mut found = self
                .installed
                .iter()
                .filter_map(|known| known.split_once('='));
            found.any(|(name, version)| {
                let wanted = package.version.as_deref();
                name == package.name && wanted.is_none_or(|wanted| wanted == version)
            })
        };
        let lacking = packages.iter().filter(|package| !has(package));
        lacking.map(|package| package.name.clone()).collect()
    }

    fn of(pulled: Pulled) -> io::Result<Self> {
        let mut layers = pulled.layers.into_iter();
        let Some(layer) = layers.next() else {
            return Err(io::Error::other("it has no layer"));
        };
        let Files {
            passwd,
            group,
            status,
        } = pulled.files;
        Ok(Self {
            layer,
            above: layers.collect(),
            env: pulled.env,
            installed: status.as_deref().map(installed).unwrap_or_default(),
            // Without one, what runs there knows root by its number alone.
            passwd: passwd.unwrap_or_else(|| "root:x:0:0:root:/root:/bin/sh\n".to_owned()),
            group: group.unwrap_or_else(|| "root:x:0:\n".to_owned()),
            made: Timestamp::now(),
        })
    }

    #[must_use]
    pub fn accounts(&self) -> Accounts {
        Accounts {
            passwd: self.passwd.clone(),
            group: self.group.clone(),
        }
    }

    /// One with nothing but its accounts.
    #[cfg(test)]
    pub(super) fn bare(blobs: &Blobs) -> io::Result<Self> {
        let mut layer = layer::LayerWriter::new(blobs)?;
        let accounts = "root:x:0:0::/root:/bin/sh\n";
        let content = (accounts.as_bytes(), accounts.len() as u64);
        layer.file("/etc/passwd".as_ref(), layer::Rights::OF_ROOT, 0, content)?;
        Ok(Self {
            layer: layer.store()?,
            above: Vec::new(),
            env: Vec::new(),
            installed: BTreeSet::new(),
            passwd: accounts.to_owned(),
            group: String::new(),
            made: Timestamp::now(),
        })
    }

    fn is_fresh(&self, now: Timestamp) -> bool {
        let age = now.duration_since(self.made).unsigned_abs();
        age < FRESH
    }
}

/// The packages of a root file system: each set makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packages(BTreeSet<String>);

impl Packages {
    #[must_use]
    pub fn of(wanted: &[Package]) -> Self {
        let named = wanted.iter().map(|package| match &package.version {
            Some(version) => format!("{}={version}", package.name),
            None => package.name.clone(),
        });
        let always = ALWAYS.iter().map(|name| (*name).to_owned());
        Self(always.chain(named).collect())
    }

    /// The name of the record of their file system.
    fn key(&self) -> String {
        let all = [&[VERSION, std::env::consts::ARCH], &self.all()[..]].concat();
        Digest::of(all.join("\n").as_bytes()).hex()
    }

    fn all(&self) -> Vec<&str> {
        self.0.iter().map(String::as_str).collect()
    }
}

/// The root file systems of a server, below `directory`.
#[derive(Clone, Debug)]
pub struct Bases {
    records: PathBuf,
    /// Where they are made; each server begins with an empty one.
    work: PathBuf,
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
            let Some(base) = read(&entry.path()).filter(|base| base.is_fresh(Timestamp::now()))
            else {
                continue;
            };
            let mut is_whole = true;
            for layer in base.layers() {
                is_whole &= take_blob(&from.join("blobs"), &blobs, layer.digest)?;
            }
            if is_whole {
                let record = own.records.join(entry.file_name());
                durable::replace(&record, &serde_json::to_vec_pretty(&base)?, 0o600)?;
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
        let known = entries.flatten().filter_map(|entry| read(&entry.path()));
        known
            .filter(|base| base.is_fresh(now))
            .flat_map(|base| base.layers().map(|layer| layer.digest).collect::<Vec<_>>())
            .collect()
    }

    /// The one with these packages; it is made where there is none, or only an old one. One at a time.
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
        let make = async |record: &Path| self.make(packages, record, blobs, log, limits).await;
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
        let fetch = async |record: &Path| fetch(image, record, blobs, log, limits).await;
        let (key, around) = (Digest::of(key.as_bytes()).hex(), (blobs, log, limits));
        self.kept(&key, told, around, fetch).await
    }

    /// The one whose record has the name `key`, as [`Self::with`] says; `told` is what `make` does.
    async fn kept(
        &self,
        key: &str,
        told: String,
        (blobs, log, limits): (&Blobs, &InstallLog, &StepLimits),
        make: impl AsyncFnOnce(&Path) -> Result<Base, StepError>,
    ) -> Result<Base, StepError> {
        let path = self.records.join(format!("{key}.json"));
        let (own, blobs_of) = (path.clone(), blobs.clone());
        let look = move |_: &StepLimits| Ok(read(&own).filter(|base| base.is_in(&blobs_of)));
        let known = limits.blocking(log.step(), "cannot look for the root file system", look);
        let known = known.await?;
        if let Some(base) = known.as_ref().filter(|b| b.is_fresh(Timestamp::now())) {
            log.line(format!("root file system of {}", base.made)).await;
            return Ok(base.clone());
        }
        log.line(told).await;
        match (make(&path).await, known) {
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
            if is_whole && read(&path).is_none_or(|base| !base.is_in(blobs)) {
                std::fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    async fn make(
        &self,
        packages: &Packages,
        record: &Path,
        blobs: &Blobs,
        log: &InstallLog,
        limits: &StepLimits,
    ) -> Result<Base, StepError> {
        let failed = |error: io::Error| failure::io(log.step(), "cannot make it", &error);
        let work = tempfile::tempdir_in(&self.work).map_err(failed)?;
        let archive = work.path().join("root.tar");
        let sources = sources(Path::new("/etc/apt"));
        let program = program(packages, &sources, work.path(), &archive);
        let finished = command::run(&program, log, limits).await?;
        if !finished.succeeded() {
            return Err(not_made(log, packages, finished.tail).into());
        }
        let (blobs, record) = (blobs.clone(), record.to_owned());
        let store = move |limits: &StepLimits| {
            let _work = work;
            store(&blobs, &archive, &record, limits)
        };
        let what = "cannot store the root file system";
        limits.blocking(log.step(), what, store).await
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
    record: &Path,
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
    let record = record.to_owned();
    let note = move |_: &StepLimits| {
        let base = Base::of(pulled)?;
        durable::replace(&record, &serde_json::to_vec_pretty(&base)?, 0o600)?;
        Ok(base)
    };
    limits
        .blocking(log.step(), "cannot note the base image", note)
        .await
}

fn not_fetched(log: &InstallLog, image: &BaseImage, error: &RegistryError) -> Failure {
    let reason = format!("the base image {image} cannot be fetched: {error}");
    let hint =
        "look at base_image under [engine.swarm] (procserver.toml), and at the registry itself";
    Failure::new(log.step(), reason).hint(hint)
}

/// The packages that dpkg has installed, by its status file.
fn installed(status: &str) -> BTreeSet<String> {
    let stanzas = status.split("\n\n").filter_map(|stanza| {
        let field = |name: &str| {
            let mut lines = stanza.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        };
        let is_there = field("Status")?.ends_with(" installed");
        let (name, version) = (field("Package")?, field("Version")?);
        is_there.then(|| format!("{name}={version}"))
    });
    stanzas.collect()
}

fn not_made(log: &InstallLog, packages: &Packages, tail: Vec<String>) -> Failure {
    let reason = format!(
        "no root file system with these packages: {}",
        packages.all().join(" ")
    );
    let hint = "the lines above say what apt misses; mmdebstrap (apt-get install mmdebstrap) uses this machine's package sources (/etc/apt)";
    Failure::new(log.step(), reason).hint(hint).tail(tail)
}

/// The files that name this machine's package sources. Blocks.
fn sources(apt: &Path) -> Vec<PathBuf> {
    let is_source = |path: &PathBuf| {
        let kind = path.extension().and_then(|kind| kind.to_str());
        matches!(kind, Some("list" | "sources"))
    };
    let parts = std::fs::read_dir(apt.join("sources.list.d"));
    let parts = parts.into_iter().flatten().flatten().map(|e| e.path());
    let mut parts: Vec<PathBuf> = parts.filter(is_source).collect();
    parts.sort_unstable();
    let main = apt.join("sources.list");
    let all = std::iter::once(main).chain(parts);
    all.filter(|path| std::fs::metadata(path).is_ok_and(|found| found.len() > 0))
        .collect()
}

/// mmdebstrap, which root runs in namespaces of its own: what it mounts goes with it, also when it is killed. `work` is
/// its temporary directory.
fn program(packages: &Packages, sources: &[PathBuf], work: &Path, archive: &Path) -> Program {
    let is_root = nix::unistd::geteuid().is_root();
    let (name, before) = match is_root {
        true => ("unshare", &ALONE[..]),
        false => (MMDEBSTRAP, &[][..]),
    };
    let mut arguments: Vec<String> = before.iter().map(|word| (*word).to_owned()).collect();
    arguments.extend(["--variant=minbase", "--format=tar"].map(str::to_owned));
    arguments.extend(LEFT_OUT.map(|line| format!("--dpkgopt={line}")));
    arguments.push(format!("--include={}", packages.all().join(",")));
    // Package sources may have passwords in them.
    arguments.push(r#"--customize-hook=rm -rf "$1"/etc/apt/sources.list*"#.to_owned());
    // The suite is what the sources say.
    arguments.extend([
        "--".to_owned(),
        String::new(),
        archive.display().to_string(),
    ]);
    arguments.extend(sources.iter().map(|path| path.display().to_string()));
    let mut environment = system_environment();
    environment.insert("TMPDIR".to_owned(), work.display().to_string());
    Program {
        name,
        arguments,
        environment,
        ..Program::default()
    }
}

fn store(blobs: &Blobs, archive: &Path, record: &Path, limits: &StepLimits) -> io::Result<Base> {
    let (passwd, group) = accounts_in(archive)?;
    let mut content = File::open(archive)?;
    let layer = layer::of_archive(blobs, &mut content, &|| limits.check())?;
    let base = Base {
        layer,
        above: Vec::new(),
        env: Vec::new(),
        installed: BTreeSet::new(),
        passwd,
        group,
        made: Timestamp::now(),
    };
    durable::replace(record, &serde_json::to_vec_pretty(&base)?, 0o600)?;
    Ok(base)
}

/// `/etc/passwd` and `/etc/group` of a root file system in an archive.
fn accounts_in(archive: &Path) -> io::Result<(String, String)> {
    let mut archive = tar::Archive::new(File::open(archive)?);
    let (mut passwd, mut group) = (None, None);
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        let path = entry.path()?.into_owned();
        let found = match path.strip_prefix(".").unwrap_or(&path).to_str() {
            Some("etc/passwd") => &mut passwd,
            Some("etc/group") => &mut group,
            _ => continue,
        };
        let mut text = String::new();
        entry.take(LARGEST).read_to_string(&mut text)?;
        *found = Some(text);
    }
    let missing = || io::Error::other("it has no /etc/passwd and /etc/group");
    passwd.zip(group).ok_or_else(missing)
}

fn read(record: &Path) -> Option<Base> {
    let text = regular::read_nofollow(record, LARGEST * 3).ok()??;
    serde_json::from_slice(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, version: Option<&str>) -> Package {
        Package {
            name: name.to_owned(),
            version: version.map(str::to_owned),
        }
    }

    #[test]
    fn the_same_packages_share_one_in_whatever_order() {
        let one = Packages::of(&[package("jq", None), package("python3", None)]);
        let other = Packages::of(&[package("python3", None), package("jq", None)]);
        assert_eq!(one.key(), other.key());
        let version = Packages::of(&[package("jq", Some("1.6")), package("python3", None)]);
        assert_ne!(one.key(), version.key());
        assert_ne!(one.key(), Packages::of(&[]).key());
        assert_eq!(
            version.all().join(" "),
            "ca-certificates jq=1.6 netbase python3 tzdata"
        );
    }

    #[test]
    fn an_old_one_is_made_anew() {
        let base = Base {
            layer: Layer {
                digest: Digest::of(b""),
                size: 0,
                diff_id: Digest::of(b""),
            },
            above: Vec::new(),
            env: Vec::new(),
            installed: BTreeSet::new(),
            passwd: String::new(),
            group: String::new(),
            made: Timestamp::UNIX_EPOCH,
        };
        let day = jiff::SignedDuration::from_hours(24);
        assert!(base.is_fresh(Timestamp::UNIX_EPOCH + day * 6));
        assert!(!base.is_fresh(Timestamp::UNIX_EPOCH + day * 7));
    }

    #[test]
    fn young_ones_of_another_server_are_taken_over_whole() {
        let home = tempfile::tempdir().unwrap();
        let (from, to) = (home.path().join("from"), home.path().join("to"));
        let theirs = Bases::open(&from).unwrap();
        let blobs = Blobs::open(from.join("blobs")).unwrap();
        let young = Base::bare(&blobs).unwrap();
        let old = Base {
            made: Timestamp::UNIX_EPOCH,
            ..young.clone()
        };
        let lost = Base {
            layer: Layer {
                digest: Digest::of(b"lost"),
                ..young.layer.clone()
            },
            ..young.clone()
        };
        for (name, base) in [("young", &young), ("old", &old), ("lost", &lost)] {
            let record = theirs.records.join(format!("{name}.json"));
            std::fs::write(record, serde_json::to_vec(base).unwrap()).unwrap();
        }
        assert_eq!(Bases::take_over(&from, &to).unwrap(), 1);
        assert_eq!(read(&to.join("bases/young.json")), Some(young.clone()));
        let taken = Blobs::open(to.join("blobs")).unwrap();
        assert!(taken.has(&young.layer.digest));
        assert_eq!(Bases::take_over(&home.path().join("none"), &to).unwrap(), 0);
    }

    #[test]
    fn an_image_has_the_packages_that_its_dpkg_says() {
        let home = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(home.path().to_owned()).unwrap();
        let status = "Package: jq\nStatus: install ok installed\nVersion: 1.6\nDescription: x\n more\n\n\
            Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n\
            Package: held\nStatus: hold ok installed\nVersion: 2\n";
        let base = Base {
            installed: installed(status),
            ..Base::bare(&blobs).unwrap()
        };
        let lacks = |name, version| base.lacks(&[package(name, version)]);
        assert_eq!(lacks("jq", None), [""; 0]);
        assert_eq!(lacks("jq", Some("1.6")), [""; 0]);
        assert_eq!(lacks("held", None), [""; 0]);
        assert_eq!(lacks("jq", Some("1.7")), ["jq"]);
        assert_eq!(lacks("gone", None), ["gone"]);
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

    #[test]
    fn package_sources_are_those_of_the_machine() {
        let apt = tempfile::tempdir().unwrap();
        std::fs::create_dir(apt.path().join("sources.list.d")).unwrap();
        for (name, text) in [
            ("sources.list", ""),
            ("sources.list.d/b.sources", "Types: deb"),
            ("sources.list.d/a.list", "deb …"),
            ("sources.list.d/c.list.disabled", "deb …"),
        ] {
            std::fs::write(apt.path().join(name), text).unwrap();
        }
        let told: Vec<_> = sources(apt.path());
        let below = |name: &str| apt.path().join("sources.list.d").join(name);
        assert_eq!(told, [below("a.list"), below("b.sources")]);
    }

    #[test]
    fn accounts_are_found_in_a_root_file_system() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("root.tar");
        let mut archive = tar::Builder::new(File::create(&path).unwrap());
        for (name, text) in [("./etc/passwd", "root:x:0"), ("./etc/group", "root:x")] {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            archive
                .append_data(&mut header, name, text.as_bytes())
                .unwrap();
        }
        archive.finish().unwrap();
        let (passwd, group) = accounts_in(&path).unwrap();
        assert_eq!((&*passwd, &*group), ("root:x:0", "root:x"));
    }
}
