//! [`make`]: a root file system of this machine's Debian, from the machine's own package sources, with the packages that a
//! document names. mmdebstrap makes it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::base::Base;
use super::blobs::Blobs;
use super::digest::Digest;
use super::identity::Accounts;
use super::layer;
use crate::document::package::Package;
use crate::install::command::{self, Program};
use crate::install::failure;
use crate::install::git::system_environment;
use crate::install::install_log::InstallLog;
use crate::install::limits::{StepError, StepLimits};
use crate::install::record::Failure;

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

/// Bytes of a root file system's passwd or group.
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
    pub(super) fn key(&self) -> String {
        let all = [&[VERSION, std::env::consts::ARCH], &self.all()[..]].concat();
        Digest::of(all.join("\n").as_bytes()).hex()
    }

    pub(super) fn all(&self) -> Vec<&str> {
        self.0.iter().map(String::as_str).collect()
    }
}

/// Makes one, in a directory of its own in `work`.
pub(super) async fn make(
    packages: &Packages,
    work: &Path,
    blobs: &Blobs,
    log: &InstallLog,
    limits: &StepLimits,
) -> Result<Base, StepError> {
    let failed = |error: io::Error| failure::io(log.step(), "cannot make it", &error);
    let work = tempfile::tempdir_in(work).map_err(failed)?;
    let archive = work.path().join("root.tar");
    let sources = sources(Path::new("/etc/apt"));
    let program = program(packages, &sources, work.path(), &archive);
    let finished = command::run(&program, log, limits).await?;
    if !finished.succeeded() {
        return Err(not_made(log, packages, finished.tail).into());
    }
    let blobs = blobs.clone();
    let store = move |limits: &StepLimits| {
        let _work = work;
        let accounts = accounts_in(&archive)?;
        let mut content = File::open(&archive)?;
        let layer = layer::of_archive(&blobs, &mut content, &|| limits.check())?;
        Ok(Base::new(layer, accounts))
    };
    let what = "cannot store the root file system";
    limits.blocking(log.step(), what, store).await
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

/// `/etc/passwd` and `/etc/group` of a root file system in an archive.
fn accounts_in(archive: &Path) -> io::Result<Accounts> {
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
    let (passwd, group) = passwd.zip(group).ok_or_else(missing)?;
    Ok(Accounts { passwd, group })
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
        let Accounts { passwd, group } = accounts_in(&path).unwrap();
        assert_eq!((&*passwd, &*group), ("root:x:0", "root:x"));
    }
}
