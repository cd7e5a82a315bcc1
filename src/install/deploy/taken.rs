//! [`Taken`]: what a deploy takes over from the release before.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use super::work::{self, Work};
use crate::install::built::Built;
use crate::install::hard_links::Earlier;
use crate::install::kept::{self, Takeover};
use crate::install::release::ReleaseRecord;
use crate::install::spec::InstallSpec;
use crate::install::tree::Owner;
use crate::install::{app_root, release, venv};

/// The release before, whose directories may be taken over.
struct Former {
    id: u64,
    built: Built,
    directory: PathBuf,
}

/// What was taken over.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// Languages whose packages are there already.
    pub(super) current: BTreeSet<&'static str>,
    /// The release that has made the Python environment.
    pub(super) venv: Option<u64>,
    /// The release that it comes from.
    pub(super) from: Option<u64>,
    pub(super) lines: Vec<String>,
}

/// Takes over what is of use, and makes what is not there. With `links`, nobody will write to what is current. Blocks.
pub(super) fn take_over(
    spec: &InstallSpec,
    work: &Work,
    links: Option<&Earlier>,
    use_cache: bool,
) -> io::Result<Taken> {
    let dirs = &spec.dirs;
    let document = &spec.config.document;
    let newest = release::list(dirs).pop().filter(|_| use_cache);
    // Where the application is another directory, it is another application.
    let is_same =
        |record: &ReleaseRecord| app_root::named(&record.document) == app_root::named(document);
    let former = newest.filter(is_same).map(|record| Former {
        id: record.id,
        directory: dirs.release(record.code()),
        built: record.built,
    });
    let mut taken = Taken::default();
    let caches = work.caches(spec.config.cache.as_deref());
    let mut handled = BTreeSet::new();
    for part in &work.parts {
        let names: Vec<&str> = part
            .cache
            .iter()
            .map(String::as_str)
            .filter(|name| caches.contains(name))
            .collect();
        handled.extend(names.iter().copied());
        let key = work::key(part, spec);
        let is_kept = |former: &Former| names.iter().all(|name| former.has(name, key.as_ref()));
        let same = former
            .as_ref()
            .filter(|former| key.is_some() && !names.is_empty() && is_kept(former));
        if part.has_venv {
            taken.environment(spec, same, part.language)?;
        } else if let Some(former) = same {
            let all: Vec<bool> = names
                .iter()
                .map(|name| taken.directory(spec, former, name, Some(links)))
                .collect();
            if all.iter().all(|is_there| *is_there) {
                taken.current.insert(part.language);
            }
        } else if let Some(former) = former.as_ref() {
            for name in &names {
                taken.directory(spec, former, name, None);
            }
        }
    }
    for name in caches.iter().filter(|name| !handled.contains(*name)) {
        if let Some(former) = former.as_ref() {
            taken.directory(spec, former, name, None);
        }
    }
    Ok(taken)
}

impl Former {
    /// Whether the directory `name` is the one that `key` stands for.
    fn has(&self, name: &str, key: Option<&String>) -> bool {
        self.built
            .kept
            .get(name)
            .is_some_and(|kept| kept.key.as_ref() == key)
    }

    /// Whether it is still as it was left. Blocks.
    fn is_whole(&self, spec: &InstallSpec, name: &str) -> bool {
        let found = match self.built.venv.filter(|_| name == venv::NAME) {
            Some(id) => kept::inventory(&spec.dirs.venv(id), Path::new(".")),
            None => {
                let path = app_root::below(&spec.config.document, name);
                kept::inventory(&self.directory, &path)
            }
        };
        self.built
            .kept
            .get(name)
            .is_some_and(|kept| found == Some(kept.inventory))
    }
}

impl Taken {
    /// The environment of the release before, else a new one.
    fn environment(
        &mut self,
        spec: &InstallSpec,
        same: Option<&Former>,
        language: &'static str,
    ) -> io::Result<()> {
        let former = same.filter(|former| self.is_whole(former, spec, venv::NAME));
        let id = match former.and_then(|former| Some((former.id, former.built.venv?))) {
            Some((release, id)) => {
                self.lines.push(format!(
                    "{language}: nothing has changed, {} is the one of release {release}",
                    venv::NAME
                ));
                self.current.insert(language);
                self.from = Some(release);
                id
            }
            None => {
                venv::make(&spec.dirs, spec.release, spec.account.as_ref())?;
                spec.release
            }
        };
        self.venv = Some(id);
        venv::link(
            &spec.dirs,
            id,
            &spec.dirs.release(spec.release),
            &app_root::below(&spec.config.document, "."),
            spec.account.as_ref(),
        )
    }

    /// Takes `name` over; with `links`, nobody will write to it. `false`: it was not. What is damaged, or cannot be taken
    /// over, is left out.
    fn directory(
        &mut self,
        spec: &InstallSpec,
        former: &Former,
        name: &str,
        links: Option<Option<&Earlier>>,
    ) -> bool {
        if !former.built.kept.contains_key(name) || !self.is_whole(former, spec, name) {
            return false;
        }
        let to = spec.dirs.release(spec.release);
        let owner = spec.account.as_ref().map(|a| Owner {
            uid: a.uid,
            gid: a.gid,
        });
        let path = app_root::below(&spec.config.document, name);
        let takeover = Takeover {
            from: &former.directory,
            to: &to,
            owner,
        };
        let line = match takeover.take(&path, links.flatten()) {
            Ok(true) => {
                self.from = Some(former.id);
                let why = if links.is_some() {
                    "nothing has changed, it is the one"
                } else {
                    "begins as the one"
                };
                self.lines
                    .push(format!("{name}: {why} of release {}", former.id));
                return true;
            }
            Ok(false) => format!(
                "{name}: the commit has one, so that of release {} is left out",
                former.id
            ),
            Err(error) => format!("{name}: that of release {} is left out: {error}", former.id),
        };
        self.lines.push(line);
        false
    }

    fn is_whole(&mut self, former: &Former, spec: &InstallSpec, name: &str) -> bool {
        let is_whole = former.is_whole(spec, name);
        if !is_whole {
            self.lines.push(format!(
                "{name}: that of release {} is damaged, files of it are missing or cut off: it is made anew",
                former.id
            ));
        }
        is_whole
    }
}
