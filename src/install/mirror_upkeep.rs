//! Puts mirrors aside and removes what killed processes left in them. Only one deploy at a time works in a mirror, and
//! nothing in the background.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::tree;

/// The name of the directory for the mirror of `url`.
#[must_use]
pub(super) fn name(url: &str) -> String {
    let digest = Sha256::digest(url.as_bytes());
    digest
        .iter()
        .take(16)
        .fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// Where a mirror is while a new one is made in its place.
fn aside(mirror: &Path) -> PathBuf {
    mirror.with_extension("aside")
}

/// Puts a mirror aside. Blocks.
///
/// # Errors
/// As `rename(2)`.
pub(super) fn put_aside(mirror: &Path) -> io::Result<()> {
    drop_aside(mirror)?;
    std::fs::rename(mirror, aside(mirror))
}

/// Moves a mirror that was put aside back into its place, if there is one. Blocks.
///
/// # Errors
/// As `rename(2)`; the new mirror cannot be removed.
pub(super) fn take_back(mirror: &Path) -> io::Result<()> {
    let aside = aside(mirror);
    if aside.symlink_metadata().is_err() {
        return Ok(());
    }
    tree::remove(mirror)?;
    std::fs::rename(aside, mirror)
}

/// Removes a mirror that was put aside. Blocks.
///
/// # Errors
/// The first entry that cannot be removed.
pub(super) fn drop_aside(mirror: &Path) -> io::Result<()> {
    tree::remove(&aside(mirror))
}

/// Removes what a killed git has left in the mirror at `path`. Returns the lock files that it removed. Blocks.
///
/// # Errors
/// The first entry that cannot be removed.
pub(super) fn clear(path: &Path) -> io::Result<Vec<String>> {
    if !path.symlink_metadata().is_ok_and(|m| m.is_dir()) {
        return Ok(Vec::new());
    }
    let is_lock = |name: &str| name.ends_with(".lock");
    let mut locks = remove_where(path, &is_lock)?;
    remove_below(&path.join("refs"), &is_lock, &mut locks)?;
    // git never repacks a pack with a .keep file, which it makes during a fetch.
    let is_left = |name: &str| {
        let halves = ["tmp_", ".tmp-", "incoming-"];
        halves.iter().any(|half| name.starts_with(half)) || name.ends_with(".keep")
    };
    let objects = path.join("objects");
    remove_where(&objects, &is_left)?;
    for directory in directories(&objects)? {
        remove_where(&directory, &is_left)?;
        locks.extend(remove_where(&directory, &is_lock)?);
    }
    Ok(locks)
}

/// Removes the entries of `directory` whose names are `unwanted`, if it is a directory.
fn remove_where(directory: &Path, unwanted: &dyn Fn(&str) -> bool) -> io::Result<Vec<String>> {
    let mut removed = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten() {
        let entry = entry?;
        if let Some(name) = entry.file_name().to_str().filter(|name| unwanted(name)) {
            tree::remove(&entry.path())?;
            removed.push(name.to_owned());
        }
    }
    Ok(removed)
}

/// As [`remove_where`], for everything below.
fn remove_below(
    directory: &Path,
    unwanted: &dyn Fn(&str) -> bool,
    removed: &mut Vec<String>,
) -> io::Result<()> {
    removed.extend(remove_where(directory, unwanted)?);
    for inner in directories(directory)? {
        remove_below(&inner, unwanted, removed)?;
    }
    Ok(())
}

fn directories(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).into_iter().flatten() {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Removes the mirrors of submodules but those in `used`, which are the new release's. Blocks.
///
/// # Errors
/// The first entry that cannot be removed.
pub(super) fn prune_modules(modules: &Path, used: &BTreeSet<PathBuf>) -> io::Result<()> {
    for home in directories(modules)? {
        if !used.contains(&home.join("repo.git")) {
            tree::remove(&home)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "x").unwrap();
    }

    #[test]
    fn locks_and_halves_go_and_the_rest_stays() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        let kept = [
            "HEAD",
            "refs/heads/a",
            "objects/ab/cdef",
            "objects/pack/pack-1.pack",
        ];
        let left = [
            "packed-refs.lock",
            "refs/heads/a/b.lock",
            "objects/info/commit-graph.lock",
            "objects/pack/tmp_pack_1",
            "objects/pack/pack-1.keep",
            "objects/ab/tmp_obj_1",
        ];
        std::fs::create_dir_all(at("refs/heads/c")).unwrap();
        for name in kept
            .iter()
            .chain(&left)
            .filter(|n| !n.starts_with("refs/heads/a/"))
        {
            write(&at(name));
        }
        write(&at("refs/heads/c/b.lock"));
        let mut locks = clear(home.path()).unwrap();
        locks.sort();
        assert_eq!(locks, ["b.lock", "commit-graph.lock", "packed-refs.lock"]);
        assert!(kept.iter().all(|name| at(name).exists()));
        assert!(!left.iter().any(|name| at(name).exists()));
        assert!(clear(&at("none")).unwrap().is_empty());
        assert!(clear(&at("HEAD")).unwrap().is_empty());
    }

    #[test]
    fn a_mirror_that_was_put_aside_comes_back() {
        let home = tempfile::tempdir().unwrap();
        let mirror = home.path().join("repo.git");
        take_back(&mirror).unwrap();
        write(&mirror.join("old"));
        put_aside(&mirror).unwrap();
        assert!(!mirror.exists());
        write(&mirror.join("new"));
        take_back(&mirror).unwrap();
        assert!(mirror.join("old").exists() && !mirror.join("new").exists());
        put_aside(&mirror).unwrap();
        write(&mirror.join("new"));
        drop_aside(&mirror).unwrap();
        take_back(&mirror).unwrap();
        assert!(mirror.join("new").exists());
    }

    #[test]
    fn mirrors_of_no_submodule_go() {
        let home = tempfile::tempdir().unwrap();
        let used = home.path().join(name("a")).join("repo.git");
        let unused = home.path().join(name("b")).join("repo.git");
        write(&used.join("HEAD"));
        write(&unused.join("HEAD"));
        prune_modules(home.path(), &BTreeSet::from([used.clone()])).unwrap();
        assert!(used.exists() && !unused.exists());
        prune_modules(&home.path().join("none"), &BTreeSet::new()).unwrap();
    }
}
