//! The files of an app that is removed: which go, in which order. All functions block.

use std::io;
use std::path::Path;

use super::config_dir;
use crate::app_dirs::AppDirs;
use crate::document::name::AppName;
use crate::failpoint;
use crate::install::{quota, tree};
use crate::own_user;
use crate::process::shm::Shm;
use crate::process::stop;

/// Removes an app's files, then what says in `config_dir` that they are to be removed.
///
/// # Errors
/// What could not be removed, and why.
pub fn finish_removal(
    config_dir: &Path,
    name: &AppName,
    dirs: &AppDirs,
    keep_storage: bool,
) -> io::Result<()> {
    remove_files(name, dirs, keep_storage)?;
    failpoint::reach("before a removal is over");
    config_dir::removal_is_over(config_dir, name)
}

/// `state.json` goes last: until then the next start of the server finds that the app is to be removed. What is kept keeps
/// the user that it belongs to; else that goes when it has no file any more.
fn remove_files(name: &AppName, dirs: &AppDirs, keep_storage: bool) -> io::Result<()> {
    remove(dirs.runtime())?;
    if let Some(shm) = Shm::of(dirs).found() {
        remove(&shm)?;
    }
    let (storage, state, user) = (dirs.storage(), dirs.state(), dirs.user_record());
    for entry in std::fs::read_dir(dirs.root()).into_iter().flatten() {
        let path = entry?.path();
        let stays = path == state || path == user || keep_storage && path == storage;
        if !stays {
            failpoint::reach_file("before removing", &path);
            remove(&path)?;
        }
    }
    match keep_storage {
        true => {
            quota::clear(dirs, false);
            remove(&state)
        }
        false => {
            // Now that nobody can start another by a file of these.
            if let Some(uid) = own_user::uid(dirs, name).map_err(io::Error::other)? {
                stop::kill_all_of(uid);
            }
            own_user::remove(dirs, name).map_err(io::Error::other)?;
            remove(dirs.root())?;
            quota::clear(dirs, true);
            Ok(())
        }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
    tree::remove(path).map_err(named)
}
