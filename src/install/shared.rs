//! `shared` of the document: directories of the application that are links into its storage, which is writable and kept.
//!
//! A command of the app's user does all of it, in the app's sandbox: checkout and storage are that user's, who may have
//! put links there that root must not follow.
//!
//! The machines of a swarm have no storage of this one: what the repository has is kept in the release too ([`KEPT`]), and
//! each process there begins with what [`in_volume`] says.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use super::build;
use super::install_log::InstallLog;
use super::limits::{StepError, StepLimits};
use super::spec::InstallSpec;
use super::ssh::quoted;
use crate::document::config::AppConfig;
use crate::document::engine::EngineKind;
use crate::process::environment::layered;
use crate::process::exec_spec::Exec;

/// Where a release for a swarm keeps what the repository has in shared directories, below the application's root.
const KEPT: &str = ".procserver-shared";

/// Takes where to keep what the repository has, or nothing; then a directory below the working one, its place in the
/// storage, and what the link says, for each of them. What the repository has there is copied first; what is in the
/// storage already stays as it is.
const SCRIPT: &str = r#"
set -eu
kept=$1
shift
[ -z "$kept" ] || rm -rf -- "$kept"
while [ $# -gt 0 ]; do
    here=./$1 there=$2 link=$3
    if ! mkdir -p -- "$there" || [ ! -w "$there" ]; then
        echo "shared: $1 cannot be a directory of the storage: look at $there" >&2
        exit 1
    fi
    if [ -d "$here" ] && [ ! -L "$here" ]; then
        if [ -n "$kept" ]; then
            mkdir -p -- "$kept/$1"
            tar -C "$here" -cf - . | tar -C "$kept/$1" -xf -
        fi
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
    let kept = match config.engine {
        EngineKind::Local => "",
        EngineKind::Swarm => KEPT,
    };
    let mut words: Vec<String> = ["/bin/sh", "-c", SCRIPT, "sh", kept]
        .map(str::to_owned)
        .into();
    for dir in &config.shared {
        let place = spec.dirs.storage().join(dir).display().to_string();
        let link = from_release(config.repo.dir.as_deref().unwrap_or_default(), dir);
        words.extend([dir.clone(), place, link]);
    }
    let title = format!("link {} into the storage", config.shared.join(", "));
    let environment: BTreeMap<String, String> = layered([&spec.base_env]);
    build::execute(spec, Exec::Program(words), &title, environment, log, limits).await
}

/// What a shell in a container does before a command: it makes the shared directories in the volume, which is empty at
/// first, and copies there what the repository has and the volume lacks, all of it writable, as it is not in a release.
/// Nothing, where none is shared.
#[must_use]
pub fn in_volume(config: &AppConfig, storage: &Path) -> String {
    if config.shared.is_empty() {
        return String::new();
    }
    let dirs: Vec<_> = config.shared.iter().map(|dir| quoted(dir)).collect();
    let (dirs, storage) = (dirs.join(" "), quoted(&storage.to_string_lossy()));
    format!(
        "(for dir in {dirs}; do there={storage}/$dir kept={KEPT}/$dir; mkdir -p -- \"$there\" || exit; \
         [ ! -d \"$kept\" ] || tar -C \"$kept\" --mode=u+w -cf - . | tar -C \"$there\" --skip-old-files -xf - || exit; \
         done) || exit\n"
    )
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
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::process::Command;

    use serde_json::json;

    use super::*;
    use crate::document::config::Rules;

    #[test]
    fn a_volume_gets_what_it_lacks_of_what_the_release_has() {
        let document = json!({
            "name": "a", "repo": {"url": "https://h/a.git"}, "shared": ["log", "it's/up"],
        });
        let config = AppConfig::from_document(document, &Rules::default()).unwrap();
        let home = tempfile::tempdir().unwrap();
        let (release, volume) = (home.path().join("1"), home.path().join("a b"));
        let kept = release.join(KEPT).join("log");
        std::fs::create_dir_all(&kept).unwrap();
        std::fs::write(kept.join("old"), "of the repository").unwrap();
        std::fs::write(kept.join("new"), "of the repository").unwrap();
        std::fs::set_permissions(kept.join("new"), PermissionsExt::from_mode(0o444)).unwrap();
        std::fs::create_dir_all(volume.join("log")).unwrap();
        std::fs::write(volume.join("log/old"), "written").unwrap();
        let command = format!("{}echo runs", in_volume(&config, &volume));
        for shell in ["sh", "bash"] {
            let mut shell = Command::new(shell);
            let ran = shell.args(["-c", &command]).current_dir(&release).output();
            assert_eq!(ran.unwrap().stdout, b"runs\n");
        }
        let read = |name: &str| std::fs::read_to_string(volume.join("log").join(name)).unwrap();
        assert_eq!(
            (&*read("old"), &*read("new")),
            ("written", "of the repository")
        );
        assert!(volume.join("it's/up").is_dir());
        let new = std::fs::metadata(volume.join("log/new")).unwrap();
        assert_eq!(new.mode() & 0o777, 0o644);

        std::fs::remove_dir_all(&volume).unwrap();
        std::fs::write(&volume, "no directory").unwrap();
        let mut shell = Command::new("sh");
        let ran = shell
            .args(["-c", &command])
            .current_dir(&release)
            .output()
            .unwrap();
        assert!(!ran.status.success() && ran.stdout.is_empty(), "{ran:?}");
    }

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
