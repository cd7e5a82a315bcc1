//! Git LFS: files that a repository holds as pointers only, their content on a server of its own.
//!
//! git-lfs only downloads, into the mirror; the pointers are replaced here. So it never runs as a filter of git's, and
//! what a repository says in `.lfsconfig` is not its configuration: of that the URL is taken, after the same check as
//! any other, and which files are wanted.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use sha2::{Digest, Sha256};

use super::bounds::{StepError, blocking};
use super::checkout;
use super::command;
use super::deploy_key::is_installed;
use super::git;
use super::gitmodules;
use super::mirror::Mirror;
use super::pointer::{self, Pointer};
use super::record::Failure;
use super::remote::Remote;
use super::submodules::Part;
use crate::app::repository_url;

const PROGRAM: &str = "git-lfs";

/// What was done with the pointers of a part.
#[derive(Debug, Default)]
pub(super) struct Placed {
    /// The objects it needs.
    pub(super) objects: BTreeSet<String>,
    /// What the app's owner should know.
    pub(super) remark: Option<String>,
}

/// Downloads what `part` needs and its mirror lacks; nothing where it does not use LFS, or git-lfs is not installed.
///
/// # Errors
/// The server refuses or lacks an object; its URL is not allowed; a bound.
pub(super) async fn fetch(part: &Part) -> Result<(), StepError> {
    if !is_used(part).await? || !is_installed(PROGRAM) {
        return Ok(());
    }
    let mirror = &part.mirror;
    let mut program = mirror.git(&["fetch", "origin", &part.commit]);
    program.name = PROGRAM;
    configure(part, &mut program).await?;
    let finished = command::run(&program, &mirror.journal, &mirror.bounds).await?;
    if finished.succeeded() {
        return Ok(());
    }
    let reason = format!(
        "cannot fetch the Git LFS files of {}",
        mirror.remote.shown()
    );
    let failure = Failure::new(mirror.journal.step(), reason).hint(
        "its last lines say why; check that the files were pushed (git lfs push --all) and that this server may read them",
    );
    Err(failure.status(finished.status).tail(finished.tail).into())
}

/// Whether any `.gitattributes` of the commit speaks of LFS.
async fn is_used(part: &Part) -> Result<bool, StepError> {
    let options = ["grep", "--quiet", "--fixed-strings", "-e", "filter=lfs"];
    let place = [part.commit.as_str(), "--", "*.gitattributes"];
    let arguments: Vec<&str> = options.into_iter().chain(place).collect();
    Ok(part.mirror.ask(&arguments).await?.0.succeeded())
}

/// The repository's own wishes, as far as they are harmless, above everything else that git-lfs reads.
async fn configure(part: &Part, program: &mut command::Program) -> Result<(), StepError> {
    let remote = &part.mirror.remote;
    if let Some(url) = wish(part, "lfs.url").await? {
        let refused = |why: String| {
            let reason = format!("the Git LFS URL in .lfsconfig is not allowed: it {why}");
            Failure::new(part.mirror.journal.step(), reason)
        };
        let url = gitmodules::resolved(&url, remote.url())
            .ok_or_else(|| refused("leads out of the repository's own server".into()))?;
        repository_url::check(&url, false).map_err(|e| refused(e.to_string()))?;
        let lfs = Remote::parse(&url);
        git::set(program, "lfs.url", lfs.url());
    }
    for key in ["lfs.fetchinclude", "lfs.fetchexclude"] {
        if let Some(value) = wish(part, key).await? {
            git::set(program, key, &value);
        }
    }
    Ok(())
}

/// A value of the commit's `.lfsconfig`.
async fn wish(part: &Part, key: &str) -> Result<Option<String>, StepError> {
    let blob = format!("{}:.lfsconfig", part.commit);
    let arguments = ["config", "--no-includes", "--blob", &blob, "--get", key];
    let (finished, value) = part.mirror.ask(&arguments).await?;
    let value = value.trim_end_matches('\n').to_owned();
    Ok((finished.succeeded() && !value.is_empty()).then_some(value))
}

/// Replaces the pointers in `directory`, the checkout of `part`, by what they point to.
///
/// # Errors
/// As [`fetch`]; a full disk.
pub(super) async fn place(part: &Part, directory: &Path) -> Result<Placed, StepError> {
    if !is_used(part).await? {
        return Ok(Placed::default());
    }
    let pointers = pointers(part, directory).await?;
    let objects = pointers.iter().map(|(_, p)| p.id.clone()).collect();
    let total = pointers.len();
    let mut left = fill(&part.mirror, directory, pointers).await?;
    if !left.is_empty() && is_installed(PROGRAM) {
        // They may be damaged, or gone.
        fetch(part).await?;
        left = fill(&part.mirror, directory, left).await?;
    }
    let remark = left
        .first()
        .map(|(path, _)| remark(is_installed(PROGRAM), &joined(&part.at, path), left.len()));
    let journal = &part.mirror.journal;
    match &remark {
        Some(remark) => journal.line(format!("remark: {remark}")).await,
        None if total > 0 => journal.line(format!("{total} files from Git LFS")).await,
        None => {}
    }
    Ok(Placed { objects, remark })
}

fn joined(parent: &str, path: &str) -> String {
    if parent.is_empty() {
        return path.to_owned();
    }
    format!("{parent}/{path}")
}

/// For `count` files that stay pointers, `first` among them.
fn remark(installed: bool, first: &str, count: usize) -> String {
    let what = match count {
        1 => format!("{first} is only a pointer to a file in Git LFS"),
        _ => format!("{count} files, {first} among them, are only pointers to files in Git LFS"),
    };
    if installed {
        return format!("{what}: .lfsconfig leaves them out");
    }
    format!(
        "{what}: git-lfs is not installed on this machine; add \"git-lfs\" to `packages`, or apt-get install git-lfs, then redeploy"
    )
}

/// The files that git would hand to LFS, and that are pointers.
async fn pointers(part: &Part, directory: &Path) -> Result<Vec<(String, Pointer)>, StepError> {
    let mirror = &part.mirror;
    let mut program = mirror.git(&["ls-files", "-z", "--", ":(attr:filter=lfs)"]);
    program.quiet = true;
    checkout::in_tree(&mut program, &checkout::index(mirror), directory);
    let listed = command::run(&program, &mirror.journal, &mirror.bounds).await?;
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    let directory = directory.to_owned();
    blocking(
        mirror.journal.step(),
        "cannot read the checkout",
        move || {
            let mut found = Vec::new();
            for path in text.split('\0').filter(|path| gitmodules::is_inside(path)) {
                let Some(file) = open(&directory, path, false)? else {
                    continue;
                };
                let mut bytes = Vec::new();
                file.take(pointer::MAX + 1).read_to_end(&mut bytes)?;
                found.extend(pointer::parse(&bytes).map(|pointer| (path.to_owned(), pointer)));
            }
            Ok(found)
        },
    )
    .await
}

/// Opens a regular file of the checkout; `None`: it is something else, or behind a link.
fn open(root: &Path, path: &str, write: bool) -> io::Result<Option<File>> {
    if path
        .rsplit_once('/')
        .is_some_and(|(parent, _)| !checkout::is_real(root, parent))
    {
        return Ok(None);
    }
    let path = root.join(path);
    if !path.symlink_metadata().is_ok_and(|m| m.is_file()) {
        return Ok(None);
    }
    let mut options = OpenOptions::new();
    options.read(true).write(write);
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    options
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .map(Some)
}

/// Replaces `pointers`; those whose object is not there.
async fn fill(
    mirror: &Mirror,
    directory: &Path,
    pointers: Vec<(String, Pointer)>,
) -> Result<Vec<(String, Pointer)>, StepError> {
    let (store, root) = (store(&mirror.path), directory.to_owned());
    let (step, what) = (mirror.journal.step(), "cannot write a file from Git LFS");
    let work = move || {
        let mut left = Vec::new();
        for (path, pointer) in pointers {
            if !replace(&store, &root, &path, &pointer)? {
                left.push((path, pointer));
            }
        }
        Ok(left)
    };
    // Large files take their time: a cancelled deploy does not wait for them.
    let held = mirror.bounds.hold(blocking(step, what, work)).await;
    held.unwrap_or_else(|bound| Err(bound.into_error(step, "Git LFS", Vec::new())))
}

/// Where git-lfs keeps what it has downloaded.
fn store(mirror: &Path) -> PathBuf {
    mirror.join("lfs").join("objects")
}

fn object(store: &Path, id: &str) -> PathBuf {
    store.join(&id[..2]).join(&id[2..4]).join(id)
}

/// Writes the object over its pointer. `false`: there is none; one that is damaged is removed, so that it is fetched
/// again, and the pointer is back.
fn replace(store: &Path, root: &Path, path: &str, pointer: &Pointer) -> io::Result<bool> {
    let source = object(store, &pointer.id);
    if !source.symlink_metadata().is_ok_and(|m| m.is_file()) {
        return Ok(false);
    }
    let Some(mut file) = open(root, path, true)? else {
        return Ok(true);
    };
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    file.rewind()?;
    file.set_len(0)?;
    let (size, id) = copy(&mut File::open(&source)?, &mut file)?;
    if (size, id.as_str()) == (pointer.size, pointer.id.as_str()) {
        return Ok(true);
    }
    std::fs::remove_file(&source)?;
    file.rewind()?;
    file.set_len(0)?;
    file.write_all(&text)?;
    Ok(false)
}

/// Copies, and says how much it was and its SHA-256.
fn copy(from: &mut File, to: &mut File) -> io::Result<(u64, String)> {
    let (mut digest, mut size) = (Sha256::new(), 0);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let length = from.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        digest.update(&buffer[..length]);
        to.write_all(&buffer[..length])?;
        size += length as u64;
    }
    let id = digest
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok((size, id))
}

/// Removes from the mirror what the release at hand does not need. Blocks.
///
/// # Errors
/// What refuses to be removed.
pub(super) fn prune(mirror: &Path, needed: &BTreeSet<String>) -> io::Result<()> {
    let store = store(mirror);
    for first in std::fs::read_dir(&store).into_iter().flatten() {
        for second in std::fs::read_dir(first?.path()).into_iter().flatten() {
            for entry in std::fs::read_dir(second?.path()).into_iter().flatten() {
                let entry = entry?;
                let name = entry.file_name();
                if name.to_str().is_none_or(|name| !needed.contains(name)) {
                    std::fs::remove_file(entry.path())?;
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_serves_pointers_is_told_what_to_install() {
        let one = remark(false, "a.bin", 1);
        assert!(one.starts_with("a.bin is only a pointer") && one.contains("git-lfs"));
        let many = remark(false, "lib/a.bin", 3);
        assert!(many.starts_with("3 files, lib/a.bin among them"));
        assert!(remark(true, "a", 1).ends_with(".lfsconfig leaves them out"));
    }

    #[test]
    fn an_object_takes_its_pointers_place_and_a_damaged_one_does_not() {
        let home = tempfile::tempdir().unwrap();
        let (store, root) = (home.path().join("store"), home.path().join("root"));
        let id = Sha256::digest(b"content")
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        let pointer = Pointer { id, size: 7 };
        let source = object(&store, &pointer.id);
        std::fs::create_dir_all(source.parent().unwrap()).unwrap();
        std::fs::create_dir(&root).unwrap();
        std::fs::write(root.join("a"), "pointer").unwrap();
        let read = || std::fs::read_to_string(root.join("a")).unwrap();
        assert!(!replace(&store, &root, "a", &pointer).unwrap());
        std::fs::write(&source, "content and more").unwrap();
        assert!(!replace(&store, &root, "a", &pointer).unwrap());
        assert_eq!((read().as_str(), source.exists()), ("pointer", false));
        std::fs::write(&source, "content").unwrap();
        assert!(replace(&store, &root, "a", &pointer).unwrap());
        assert_eq!(read(), "content");
    }

    #[test]
    fn only_what_is_needed_is_kept() {
        let home = tempfile::tempdir().unwrap();
        let (kept, gone) = ("aabb".repeat(16), "aacc".repeat(16));
        for id in [&kept, &gone] {
            let path = object(&store(home.path()), id);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        prune(home.path(), &BTreeSet::from([kept.clone()])).unwrap();
        let exists = |id: &str| object(&store(home.path()), id).exists();
        assert!(exists(&kept) && !exists(&gone));
        prune(&home.path().join("none"), &BTreeSet::new()).unwrap();
    }
}
