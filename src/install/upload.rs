//! Puts an archive into the mirror of an app whose code is pushed to this server: it becomes a commit behind that of the
//! branch. Nothing is unpacked by this server: git is told what is in it (git-fast-import(1)), as its own user.

use std::fs::File;
use std::io::{self, BufWriter};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::CWD;
use tokio::task::spawn_blocking;

use super::git;
use super::limits::StepError;
use super::mirror_gc::HELD;
use super::pushed::Pushed;
use super::{disk_space, tree};
use crate::app_dirs::AppDirs;
use crate::archive::error::ArchiveError;
use crate::archive::fast_import::{Commit, FastImport};
use crate::archive::sink::Look;
use crate::archive::tree::Limits;
use crate::archive::walk::walk;

/// How long git may take for an archive of the largest size.
const PATIENCE: Duration = Duration::from_secs(1800);

/// What the commit is called until it is deployed. One upload of an app is at work at a time.
const REFERENCE: &str = "refs/procserver/upload";

/// What git leaves behind when it ends before its time: a report in the mirror, and objects among its packs. A push that
/// is under way has its own in a directory of its own, and nobody packs the mirror anew meanwhile.
const CRASH_REPORT: &[u8] = b"fast_import_crash_";
const HALF_PACKS: [&[u8]; 2] = [b"tmp_pack_", b"tmp_idx_"];

/// What a git leaves among the packs that was killed while it packed ([`Pushed::gc`]); with a `.keep`, which one that
/// receives makes for a moment, a pack stays for good.
const HALF_PACKED: [&[u8]; 3] = [b"tmp_", b".tmp-", b".keep"];

/// Locks of a killed git: of all refs that are in one file, and of those that the server holds.
const LOCK: &[u8] = b".lock";
const PACKED_REFS_LOCK: &[u8] = b"packed-refs.lock";

/// That directory. It may have a gigabyte, and git itself would leave it there for weeks (git-prune(1)); the second name is
/// that of older ones.
const QUARANTINES: [&[u8]; 2] = [b"tmp_objdir-", b"incoming-"];

/// Pieces of what git is told.
const PIECE: usize = 256 << 10;

/// What an application's status says of an upload whose caller was answered before it was done.
pub const UNDERWAY: &str = "an upload is still being read: it is deployed when that is done";

/// What its status says, before the reason, if that is not deployed.
pub const FAILED: &str = "the last upload was not deployed: ";

/// Why an upload is not deployed.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    #[error("the archive cannot be deployed: {0}")]
    Archive(#[from] ArchiveError),
    #[error("others are pushing to this application: try again when they are done")]
    Busy,
    #[error("the disk has not enough space for what is in the archive, {0} MiB")]
    NoSpace(u64),
    #[error("the archive could not be put into the application's repository: {0}")]
    Failed(String),
}

impl From<StepError> for UploadError {
    fn from(error: StepError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Makes a commit of `archive` and returns its id. The branch stays where it is.
///
/// # Errors
/// It is no archive that can be deployed; git fails. Nothing has changed then.
pub async fn commit(
    pushed: &Pushed,
    dirs: &AppDirs,
    archive: File,
    message: String,
) -> Result<String, UploadError> {
    let mirror = dirs.mirror();
    // Before git is told anything, all is known to be good.
    let (mut archive, place) = (archive, mirror.clone());
    let looked = spawn_blocking(move || {
        let tree = walk(&mut archive, Limits::default(), &mut Look)?;
        let bytes = tree.bytes();
        let failed = |e: io::Error| UploadError::Failed(e.to_string());
        match disk_space::has_room_for(&place, bytes).map_err(failed)? {
            true => Ok(archive),
            false => Err(UploadError::NoSpace(bytes.div_ceil(1 << 20))),
        }
    });
    let archive = looked.await.map_err(stopping)??;
    let parent = pushed.head().await?;
    let commit = Commit {
        reference: REFERENCE.to_owned(),
        parent,
        time: jiff::Timestamp::now().as_second(),
        message,
    };
    let imported = import(pushed, archive, commit).await;
    if imported.is_err() {
        // The error says what is wrong; a report of git's own adds nothing.
        let _tidied = spawn_blocking(move || remove_halves(&mirror)).await;
    }
    imported
}

async fn import(pushed: &Pushed, mut archive: File, commit: Commit) -> Result<String, UploadError> {
    let failed = |e: io::Error| UploadError::Failed(e.to_string());
    let receiving = &pushed.turns().receiving;
    if receiving.is_full() {
        return Err(UploadError::Busy);
    }
    let slot = receiving.take().await;
    let (reader, writer) = io::pipe().map_err(failed)?;
    let arguments = ["fast-import", "--quiet", "--force"];
    let mut program = pushed.program(&slot, &arguments);
    git::set(&mut program, "pack.compression", "1");
    if let Some(confined) = &mut program.confined {
        confined.lent.stdin = Some(Arc::new(OwnedFd::from(reader)).into());
    }
    let writing = spawn_blocking(move || {
        let to = BufWriter::with_capacity(PIECE, writer);
        let mut import = FastImport::begin(to, &commit).map_err(ArchiveError::Sink)?;
        walk(&mut archive, Limits::default(), &mut import)?;
        import.finish().map_err(ArchiveError::Sink)
    });
    let finished = pushed.run_within(&program, PATIENCE).await;
    // Who writes ends when nobody reads any more.
    drop(program);
    let written = writing.await.map_err(stopping)?;
    let finished = finished?;
    if !finished.succeeded() {
        return Err(match written {
            Err(error) if !matches!(error, ArchiveError::Sink(_)) => error.into(),
            _ => UploadError::Failed(format!("git fast-import: {}", finished.tail.join("; "))),
        });
    }
    written?;
    let id = String::from_utf8_lossy(&finished.stdout).trim().to_owned();
    let is_id = id.len() >= 40 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_id {
        return Err(UploadError::Failed("git names no commit".to_owned()));
    }
    // A push never shows it, and what no branch leads to stays until it is old.
    drop(slot);
    pushed.ask(&["update-ref", "-d", REFERENCE]).await?;
    Ok(id)
}

fn stopping(error: tokio::task::JoinError) -> UploadError {
    UploadError::Failed(error.to_string())
}

/// Removes what a git that did not come to its end has left in a mirror, while none is at work there. Blocks.
///
/// # Errors
/// As `open(2)` and `unlink(2)`; there is no mirror.
pub fn remove_remains(mirror: &Path) -> io::Result<()> {
    // git writes to these directories: no link in them is followed.
    let top = tree::open_directory(CWD, mirror)?;
    let objects = tree::open_directory(top.as_fd(), "objects")?;
    remove_from(&objects, &QUARANTINES)?;
    remove_from(&top, &[CRASH_REPORT, PACKED_REFS_LOCK])?;
    remove_from(
        &tree::open_directory(objects.as_fd(), "pack")?,
        &HALF_PACKED,
    )?;
    let mut held = top;
    for name in HELD.split('/') {
        held = match tree::open_directory(held.as_fd(), name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            opened => opened?,
        };
    }
    remove_from(&held, &[LOCK])
}

/// Removes what an upload has left, while no other one is under way. Blocks.
fn remove_halves(mirror: &Path) -> io::Result<()> {
    let top = tree::open_directory(CWD, mirror)?;
    remove_from(&top, &[CRASH_REPORT])?;
    let objects = tree::open_directory(top.as_fd(), "objects")?;
    let packs = tree::open_directory(objects.as_fd(), "pack")?;
    remove_from(&packs, &HALF_PACKS)
}

/// Removes what begins or ends with one of these.
fn remove_from(directory: &OwnedFd, parts: &[&[u8]]) -> io::Result<()> {
    for (name, _) in tree::entries(directory)? {
        let bytes = name.to_bytes();
        let is_rest = |part: &&[u8]| bytes.starts_with(part) || bytes.ends_with(part);
        if parts.iter().any(is_rest) {
            tree::remove_at(directory, &name)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_an_upload_has_left_is_removed_and_no_link_is_followed() {
        let home = tempfile::tempdir().unwrap();
        let (mirror, elsewhere) = (home.path().join("repo.git"), home.path().join("elsewhere"));
        let packs = mirror.join("objects/pack");
        for directory in [&packs, &elsewhere.join("pack")] {
            fs::create_dir_all(directory).unwrap();
            fs::write(directory.join("tmp_pack_1"), "x").unwrap();
            fs::write(directory.join("tmp_idx_1"), "x").unwrap();
            fs::write(directory.join("pack-1.pack"), "x").unwrap();
        }
        fs::write(mirror.join("fast_import_crash_1"), "x").unwrap();
        fs::write(mirror.join("HEAD"), "x").unwrap();
        let quarantine = mirror.join("objects/tmp_objdir-incoming-x");
        fs::create_dir_all(quarantine.join("pack")).unwrap();
        fs::write(quarantine.join("pack/tmp_pack_x"), "x").unwrap();
        let held = mirror.join(HELD);
        fs::create_dir_all(&held).unwrap();
        let locks = [held.join("a.lock"), mirror.join("packed-refs.lock")];
        let packing = [packs.join(".tmp-1-pack-2.idx"), packs.join("pack-1.keep")];
        for left in locks.iter().chain(&packing) {
            fs::write(left, "x").unwrap();
        }
        fs::write(held.join("a"), "x").unwrap();
        remove_halves(&mirror).unwrap();
        assert!(quarantine.exists(), "a push may be under way");
        assert!(locks.iter().chain(&packing).all(|left| left.exists()));
        remove_remains(&mirror).unwrap();
        assert!(!quarantine.exists());
        let left: Vec<_> = fs::read_dir(&packs)
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(left, ["pack-1.pack"]);
        assert!(held.join("a").exists() && !locks.iter().any(|left| left.exists()));
        assert!(mirror.join("HEAD").exists() && !mirror.join("fast_import_crash_1").exists());
        fs::rename(mirror.join("objects"), home.path().join("objects")).unwrap();
        std::os::unix::fs::symlink(&elsewhere, mirror.join("objects")).unwrap();
        assert!(remove_remains(&mirror).is_err());
        assert!(elsewhere.join("pack/tmp_pack_1").exists());
    }
}
