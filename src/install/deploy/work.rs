//! [`Work`]: what is to be done in a checkout, by its document or by what is in it.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::install::builders::{self, Around, Derived, Files, Part};
use crate::install::built::Built;
use crate::install::record::{Failure, Step};
use crate::install::release_error::ReleaseError;
use crate::install::spec::InstallSpec;
use crate::install::{app_root, manifest, tools};
use crate::process::environment::layered;

/// What is to be done in a checkout.
#[derive(Clone, Debug)]
pub(super) struct Work {
    /// The commands of the document.
    pub(super) commands: Vec<String>,
    /// What builders have found; nothing where the document has `install`.
    pub(super) parts: Vec<Part>,
    /// What stands in for a Procfile that is not there.
    pub(super) derived: Derived,
}

/// The files of a checkout that nobody builds in yet.
struct Checkout<'a> {
    directory: &'a Path,
    document: &'a Value,
}

impl Files for Checkout<'_> {
    fn has(&self, path: &str) -> bool {
        manifest::has(self.directory, &app_root::below(self.document, path))
    }

    fn text(&self, path: &str) -> Option<String> {
        let path = app_root::below(self.document, path);
        let bytes = manifest::read(self.directory, &path).ok()??;
        String::from_utf8(bytes).ok()
    }
}

impl Work {
    /// Looks at the application in the fresh checkout at `directory`. Blocks.
    pub(super) fn of(spec: &InstallSpec, directory: &Path) -> Self {
        let files = Checkout {
            directory,
            document: &spec.config.document,
        };
        let env = layered([&spec.base_env, &spec.configured_env]);
        let path = env.get("PATH").cloned().unwrap_or_default();
        let packages: Vec<&str> = spec
            .config
            .packages
            .iter()
            .map(|p| p.name.as_str())
            .collect();
        let around = Around {
            has_program: &|name| tools::on_path(name, &path).is_some(),
            env: &env,
            packages: &packages,
        };
        let found = builders::look(&files, around);
        let derived = builders::procfile(&files, &found);
        let (commands, parts) = match &spec.config.install {
            Some(commands) => (commands.clone(), vec![]),
            None => (vec![], found),
        };
        Self {
            commands,
            parts,
            derived,
        }
    }

    /// What the record would say of a missing Procfile.
    pub(super) fn stands_in(&self) -> Built {
        let mut built = Built::default();
        match &self.derived {
            Derived::Procfile(text) => built.procfile = Some((*text).to_owned()),
            Derived::Site => built.is_site = true,
            Derived::Unknown(_) => {}
        }
        built
    }

    /// What stands in for a missing Procfile, in words.
    pub(super) fn stand_in_shown(&self) -> Option<String> {
        match &self.derived {
            Derived::Procfile(text) => Some(format!("there is no Procfile, so it is: {}", text.trim_end())),
            Derived::Site => Some("there is no Procfile, but an index.html: the files of the commit are served as a site".to_owned()),
            Derived::Unknown(_) => None,
        }
    }

    /// The failure of a step that cannot read the manifest.
    pub(super) fn without_manifest(&self, step: Step, error: &ReleaseError) -> Failure {
        let failure = Failure::new(step, error.to_string());
        match (&self.derived, error) {
            (Derived::Unknown(Some(line)), ReleaseError::NoProcfile) => {
                failure.hint(format!("for this application most likely: {line}"))
            }
            _ => failure,
        }
    }

    pub(super) fn is_nothing(&self) -> bool {
        self.commands.is_empty() && self.parts.is_empty()
    }

    /// Variables that builders set for install commands and processes.
    pub(super) fn env(&self) -> BTreeMap<String, String> {
        layered(self.parts.iter().map(|part| &part.env))
    }

    /// The directories that the next release takes over.
    pub(super) fn caches<'a>(&'a self, of_document: Option<&'a [String]>) -> Vec<&'a str> {
        match of_document {
            Some(names) => names.iter().map(String::as_str).collect(),
            None => self
                .parts
                .iter()
                .flat_map(|part| &part.cache)
                .map(String::as_str)
                .collect(),
        }
    }

    /// The lines of the log that show what builders do.
    pub(super) fn shown(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for part in &self.parts {
            lines.push(format!("{}, for there is {}:", part.language, part.found));
            let commands = part.install.iter().chain(&part.build);
            lines.extend(commands.map(|command| format!("    {command}")));
        }
        if !lines.is_empty() {
            lines.push(
                "(the document has no install; install: [] would say that nothing is to be done)"
                    .to_owned(),
            );
        }
        lines
    }
}

/// The key of a part's directories, with what its tools are and who may read them. Blocks.
pub(super) fn key(part: &Part, spec: &InstallSpec) -> Option<String> {
    let env = layered([&spec.base_env, &spec.configured_env]);
    let path = env.get("PATH").map(String::as_str).unwrap_or_default();
    let mut hash = Sha256::new();
    hash.update(part.key.as_ref()?);
    hash.update(format!(
        "{:?}",
        spec.account.as_ref().map(|account| account.gid)
    ));
    for tool in &part.tools {
        hash.update(tools::identity(*tool, path));
        hash.update([0]);
    }
    Some(builders::hex(&hash.finalize()))
}
