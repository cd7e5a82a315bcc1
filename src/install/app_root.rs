//! Where in the checkout the application is: `repo.dir` of the document.
//!
//! No part of the way may be a link: where a link leads may change while install commands run.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::release_error::ReleaseError;
use super::tree;

/// How many directories a refusal lists.
const MAX_NAMES: usize = 20;

/// `repo.dir` of a document that was read as valid.
#[must_use]
pub(super) fn named(document: &Value) -> Option<&str> {
    document.get("repo")?.get("dir")?.as_str()
}

/// The application's directory in a checkout.
#[must_use]
pub(super) fn of(checkout: &Path, document: &Value) -> PathBuf {
    match named(document) {
        Some(dir) => checkout.join(dir),
        None => checkout.to_owned(),
    }
}

/// The path of a file of the application, below the checkout.
#[must_use]
pub(super) fn below(document: &Value, name: &str) -> PathBuf {
    Path::new(named(document).unwrap_or_default()).join(name)
}

/// Makes sure that the application's directory is there. Blocks.
///
/// # Errors
/// [`ReleaseError::NoDirectory`], with those that are.
pub(super) fn check(checkout: &Path, document: &Value) -> Result<(), ReleaseError> {
    match named(document) {
        Some(dir) if !tree::is_directory_below(checkout, dir) => Err(ReleaseError::NoDirectory {
            dir: dir.to_owned(),
            there: there(checkout, dir),
        }),
        _ => Ok(()),
    }
}

/// What is there instead, in the nearest directory that is.
fn there(checkout: &Path, dir: &str) -> String {
    let parts: Vec<&str> = dir.split('/').collect();
    let is_there = |count: &usize| tree::is_directory_below(checkout, &parts[..*count].join("/"));
    let known = (1..parts.len()).rev().find(is_there).unwrap_or(0);
    let parent = parts[..known].join("/");
    let at = checkout.join(&parent);
    let place = match known {
        0 => "it".to_owned(),
        _ => parent,
    };
    let next = at.join(parts[known]);
    if next.is_symlink() {
        let shown = next.strip_prefix(checkout).unwrap_or(&next).display();
        return format!("{shown} is a symbolic link, name the directory that it leads to");
    }
    if next.exists() {
        let shown = next.strip_prefix(checkout).unwrap_or(&next).display();
        return format!("{shown} is a file");
    }
    let entries = std::fs::read_dir(at).into_iter().flatten().flatten();
    let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let names = directories.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<_> = names.filter(|name| !name.starts_with('.')).collect();
    names.sort();
    if names.len() > MAX_NAMES {
        names.truncate(MAX_NAMES);
        names.push("…".to_owned());
    }
    match names.is_empty() {
        true => format!("{place} has no directories"),
        false => format!("{place} has {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_not_there_is_told_with_those_that_are() {
        let home = tempfile::tempdir().unwrap();
        for name in ["apps/web", "apps/api", ".git"] {
            std::fs::create_dir_all(home.path().join(name)).unwrap();
        }
        std::fs::write(home.path().join("apps/README"), "").unwrap();
        std::os::unix::fs::symlink("apps/web", home.path().join("web")).unwrap();
        let refused = |dir: &str| {
            let document = serde_json::json!({"repo": {"dir": dir}});
            check(home.path(), &document).err().map(|e| e.to_string())
        };
        assert_eq!(refused("apps/web"), None);
        assert_eq!(refused("./apps/web/"), None);
        for (dir, says) in [
            ("backend", "names: it has apps"),
            ("apps/worker", "names: apps has api, web"),
            ("apps/web/x/y", "apps/web has no directories"),
            ("apps/README", "apps/README is a file"),
            ("web", "web is a symbolic link"),
            ("web/x", "web is a symbolic link"),
        ] {
            let told = refused(dir).unwrap_or_default();
            assert!(told.contains(says), "{dir}: {told}");
        }
    }
}
