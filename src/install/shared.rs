//! `shared` of the document: directories of the application that are links into its storage, which is writable and kept.
//!
//! A command of the app's user does all of it, in the app's sandbox: checkout and storage are that user's, who may have
//! put links there that root must not follow.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use super::build;
use super::install_log::InstallLog;
use super::limits::{StepError, StepLimits};
use super::spec::InstallSpec;
use crate::document::config::AppConfig;
use crate::process::environment::layered;
use crate::process::exec_spec::Exec;

/// Takes a directory below the working one, its place in the storage, and what the link says, for each of them. What the
/// repository has there is copied first; what is in the storage already stays as it is.
const SCRIPT: &str = r#"
set -eu
while [ $# -gt 0 ]; do
    here=./$1 there=$2 link=$3
    if ! mkdir -p -- "$there" || [ ! -w "$there" ]; then
        echo "shared: $1 cannot be a directory of the storage: look at $there" >&2
        exit 1
    fi
    if [ -d "$here" ] && [ ! -L "$here" ]; then
        tar -C "$here" -cf - . | tar -C "$there" --skip-old-files -xf -
    elif [ -e "$here" ] && [ ! -L "$here" ]; then
        echo "shared: $1 is a file of the repository, and no directory" >&2
        exit 1
    fi
    rm -rf -- "$here"
    mkdir -p -- "$(dirname -- "$here")"
    ln -s -- "$link" "$here"
    shift 3
done
"#;

/// The shared directories as paths below the checkout.
pub(super) fn below(config: &AppConfig) -> Vec<String> {
    let root = Path::new(config.repo.dir.as_deref().unwrap_or_default());
    let dirs = config.shared.iter();
    dirs.map(|dir| root.join(dir).display().to_string())
        .collect()
}

/// Puts the links into a checkout that belongs to the app's user.
///
/// # Errors
/// One of them cannot be made, a limit is reached.
pub(super) async fn link(
    spec: &InstallSpec,
    log: &InstallLog,
    limits: &StepLimits,
) -> Result<(), StepError> {
    let config = &spec.config;
    if config.shared.is_empty() {
        return Ok(());
    }
    let mut words: Vec<String> = ["/bin/sh", "-c", SCRIPT, "sh"].map(str::to_owned).into();
    for dir in &config.shared {
        let place = spec.dirs.storage().join(dir).display().to_string();
        let link = from_release(config.repo.dir.as_deref().unwrap_or_default(), dir);
        words.extend([dir.clone(), place, link]);
    }
    let title = format!("link {} into the storage", config.shared.join(", "));
    let environment: BTreeMap<String, String> = layered([&spec.base_env]);
    build::execute(spec, Exec::Program(words), &title, environment, log, limits).await
}

/// The way from a link in a release to its place in the storage. It is relative: a data directory may be moved.
fn from_release(app_root: &str, dir: &str) -> String {
    let is_named = |part: &Component<'_>| matches!(part, Component::Normal(_));
    let way = Path::new(app_root).join(dir);
    let depth = way.components().filter(is_named).count();
    // Out of the directories that the link is in, then out of `N` and `releases`.
    let up = "../".repeat(depth.saturating_sub(1) + 2);
    format!("{up}storage/{dir}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_from_where_it_lies_to_the_storage() {
        assert_eq!(from_release("", "log"), "../../storage/log");
        assert_eq!(
            from_release("", "public/uploads"),
            "../../../storage/public/uploads"
        );
        assert_eq!(
            from_release("./apps/web/", "tmp"),
            "../../../../storage/tmp"
        );
    }
}
