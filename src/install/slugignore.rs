//! `.slugignore` of a checkout: names files that are not deployed, as `.gitignore` names those that git does not take.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use rustix::fs::{CWD, FileType};

use super::tree;
use crate::regular;

const NAME: &str = ".slugignore";

/// It is a page of text.
const LARGEST: u64 = 64 << 10;

/// Removes what the file in `release` names; nobody but the daemon and git can enter it by now. Returns a remark for who
/// owns the app. Blocks.
///
/// # Errors
/// Something cannot be removed.
pub(super) fn apply(release: &Path) -> io::Result<Option<String>> {
    let text = match regular::read_nofollow(&release.join(NAME), LARGEST) {
        Ok(Some(text)) => text,
        Ok(None) => return Ok(None),
        Err(error) => return Ok(Some(format!("{NAME} is not heeded: {error}"))),
    };
    let mut builder = GitignoreBuilder::new("");
    let mut wrong = Vec::new();
    for (number, line) in String::from_utf8_lossy(&text).lines().enumerate() {
        if builder.add_line(None, line).is_err() {
            wrong.push((number + 1).to_string());
        }
    }
    let Ok(names) = builder.build() else {
        return Ok(Some(format!(
            "{NAME} is not heeded: its patterns are too large"
        )));
    };
    let top = tree::open_directory(CWD, release)?;
    remove(release, top.as_fd(), Path::new(""), &names, 0)?;
    Ok((!wrong.is_empty()).then(|| {
        let lines = wrong.join(", ");
        format!("{NAME} has what is no pattern, which is not heeded: line {lines}")
    }))
}

fn remove(
    release: &Path,
    directory: BorrowedFd<'_>,
    at: &Path,
    names: &Gitignore,
    depth: usize,
) -> io::Result<()> {
    tree::refuse_depth(depth)?;
    for (name, kind) in tree::entries(directory)? {
        if name.as_c_str() == c".git" {
            continue;
        }
        let path: PathBuf = at.join(std::ffi::OsStr::from_bytes(name.to_bytes()));
        let is_directory = kind == FileType::Directory;
        let found = names.matched(&path, is_directory);
        if found.is_ignore() {
            tree::remove(&release.join(&path))?;
        } else if is_directory {
            let inner = tree::open_directory(directory, &name)?;
            remove(release, inner.as_fd(), &path, names, depth + 1)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_names_is_removed_and_no_link_is_followed() {
        let home = tempfile::tempdir().unwrap();
        let (release, outside) = (home.path().join("1"), home.path().join("outside"));
        for path in [
            "1/docs/x",
            "1/sub/docs/x",
            "1/sub/a.psd",
            "1/keep/a.txt",
            "outside/a.psd",
        ] {
            let path = home.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        std::os::unix::fs::symlink(&outside, release.join("linked")).unwrap();
        assert_eq!(apply(&release).unwrap(), None);
        std::fs::write(release.join(NAME), "# a remark\n/docs\n*.psd\n!keep\na[\n").unwrap();
        let _remark = apply(&release).unwrap();
        assert!(!release.join("docs").exists() && !release.join("sub/a.psd").exists());
        assert!(release.join("sub/docs/x").exists() && release.join("keep/a.txt").exists());
        assert!(outside.join("a.psd").exists() && release.join("linked/a.psd").exists());
        std::fs::remove_file(release.join(NAME)).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", release.join(NAME)).unwrap();
        assert!(apply(&release).unwrap().unwrap().contains("symbolic link"));
    }
}
