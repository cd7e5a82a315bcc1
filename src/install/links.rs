//! Finds links among the static files that lead out of their directory. The server does not follow them, and a warning
//! says so.

use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

/// How many entries of a site are looked at.
const MAX_ENTRIES: usize = 200_000;

/// The warning about links below `dir` of a release that lead out of it. Blocks.
#[must_use]
pub fn leading_out(release: &Path, dir: &str) -> Option<String> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let opened = openat(CWD, release, flags | OFlags::DIRECTORY, Mode::empty()).ok()?;
    if leads_out(&opened, Path::new(dir)) {
        return Some(format!(
            "static.dir: {dir} is a link out of the checkout, which is not followed: no file of it is served"
        ));
    }
    let within = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let root = openat2(
        &opened,
        dir,
        flags | OFlags::DIRECTORY,
        Mode::empty(),
        within,
    )
    .ok()?;
    let top = release.join(dir);
    let mut found = links(&top)
        .into_iter()
        .filter(|link| leads_out(&root, link));
    let first = found.next()?.display().to_string();
    let others = found.count();
    let what = match others {
        0 => format!("{first} is a link out of {dir}, which is"),
        _ => format!("{first} and {others} more are links out of {dir}, which are"),
    };
    Some(format!(
        "static.dir: {what} not followed: copy the files there in an install command, or link to what lies in {dir}"
    ))
}

/// Whether the way to `path` leaves `root`, by the rules that the server opens files with.
fn leads_out(root: impl AsFd, path: &Path) -> bool {
    let within = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let opened = openat2(root, path, flags, Mode::empty(), within);
    matches!(opened, Err(Errno::XDEV))
}

/// The links below a directory, relative to it, in order; none is followed.
fn links(top: &Path) -> Vec<PathBuf> {
    let (mut found, mut left, mut todo) = (Vec::new(), MAX_ENTRIES, vec![PathBuf::new()]);
    while let Some(directory) = todo.pop() {
        let entries = fs::read_dir(top.join(&directory)).into_iter().flatten();
        for entry in entries.flatten() {
            left = left.saturating_sub(1);
            if left == 0 {
                return found;
            }
            let path = directory.join(entry.file_name());
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => todo.push(path),
                Ok(kind) if kind.is_symlink() => found.push(path),
                _ => {}
            }
        }
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_that_lead_out_are_told_and_no_others() {
        let home = tempfile::tempdir().unwrap();
        let release = home.path().join("release");
        let public = release.join("public");
        fs::create_dir_all(public.join("a/b")).unwrap();
        fs::write(public.join("page"), "x").unwrap();
        fs::write(release.join("secret"), "x").unwrap();
        symlink("page", public.join("same")).unwrap();
        symlink("../../page", public.join("a/b/up")).unwrap();
        symlink("nowhere", public.join("broken")).unwrap();
        assert_eq!(leading_out(&release, "public"), None);
        symlink("../../../secret", public.join("a/b/out")).unwrap();
        let one = leading_out(&release, "public").unwrap();
        assert!(one.contains("a/b/out is a link out of public"), "{one}");
        symlink("/etc", public.join("etc")).unwrap();
        let two = leading_out(&release, "public").unwrap();
        assert!(two.contains("a/b/out and 1 more are links"), "{two}");
        symlink("/etc", release.join("whole")).unwrap();
        let whole = leading_out(&release, "whole").unwrap();
        assert!(whole.contains("out of the checkout"), "{whole}");
        assert_eq!(leading_out(&release, "none"), None);
    }
}
