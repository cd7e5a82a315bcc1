//! [`Hooks`]: the file of an application with its secret and with what was delivered lately.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use serde::{Deserialize, Serialize};

use super::secret::{STRENGTH, Secret};
use crate::{durable, regular};

/// Deliveries that are remembered; services repeat one within minutes or hours.
const REMEMBERED: usize = 200;

/// A file with all of these has some 8 KiB.
const LARGEST: u64 = 64 << 10;

/// The files of all applications: each is changed by one at a time. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Hooks(Arc<Mutex<AtWork>>);

/// Deliveries that are being acted upon, by file and mark.
type AtWork = HashSet<(PathBuf, String)>;

/// Why the file of an application is of no use.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: is damaged: make a new secret (procserver hook NAME --new)", .0.display())]
    Damaged(PathBuf),
}

/// As it is in the file.
#[derive(Default, Serialize, Deserialize)]
struct Stored {
    secret: String,
    /// Marks of deliveries, the newest last.
    #[serde(default)]
    deliveries: Vec<String>,
}

/// A delivery that is acted upon. When it is dropped without [`Self::done`], it may come again.
#[derive(Debug)]
pub struct Turn {
    hooks: Hooks,
    path: PathBuf,
    marks: Vec<String>,
}

impl Hooks {
    /// The secret in the file at `path`; `None` where there is none yet. Blocks.
    ///
    /// # Errors
    /// The file cannot be read, or makes no sense.
    pub fn secret(path: &Path) -> Result<Option<Secret>, HookError> {
        match read(path)? {
            None => Ok(None),
            Some(stored) => match Secret::parse(&stored.secret) {
                Ok(secret) => Ok(Some(secret)),
                Err(_) => Err(HookError::Damaged(path.to_owned())),
            },
        }
    }

    /// The secret in the file at `path`, which is made where there is none. Blocks.
    ///
    /// # Errors
    /// As [`Self::secret`]; it cannot be written.
    pub fn secret_or_new(&self, path: &Path) -> Result<Secret, HookError> {
        let _turn = self.turn();
        match Self::secret(path)? {
            Some(secret) => Ok(secret),
            None => renew(path, None),
        }
    }

    /// Puts `secret`, or a new one, in the place of the one in the file at `path`, which signs nothing any more. Blocks.
    ///
    /// # Errors
    /// It cannot be written: the old one stays.
    pub fn renew(&self, path: &Path, secret: Option<Secret>) -> Result<Secret, HookError> {
        let _turn = self.turn();
        renew(path, secret)
    }

    /// Begins to act upon a delivery with these marks. `None`: it came before. Blocks.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn begin(&self, path: &Path, marks: Vec<String>) -> Result<Option<Turn>, HookError> {
        let mut at_work = self.turn();
        let before = read(path)?.unwrap_or_default().deliveries;
        let key = |mark: &String| (path.to_owned(), mark.clone());
        let is_known = |mark: &String| before.contains(mark) || at_work.contains(&key(mark));
        if marks.iter().any(is_known) {
            return Ok(None);
        }
        at_work.extend(marks.iter().map(key));
        Ok(Some(Turn {
            hooks: self.clone(),
            path: path.to_owned(),
            marks,
        }))
    }

    fn turn(&self) -> MutexGuard<'_, AtWork> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Turn {
    /// Writes down that the delivery was acted upon. Blocks.
    ///
    /// # Errors
    /// It cannot be written: one that comes again is acted upon again.
    pub fn done(self) -> Result<(), HookError> {
        let _turn = self.hooks.turn();
        let Some(mut stored) = read(&self.path)? else {
            // The application is gone.
            return Ok(());
        };
        stored.deliveries.extend(self.marks.iter().cloned());
        let surplus = stored.deliveries.len().saturating_sub(REMEMBERED);
        stored.deliveries.drain(..surplus);
        write(&self.path, &stored)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut at_work = self.hooks.turn();
        for mark in self.marks.drain(..) {
            at_work.remove(&(self.path.clone(), mark));
        }
    }
}

fn renew(path: &Path, secret: Option<Secret>) -> Result<Secret, HookError> {
    let made = || {
        let mut random = [0; STRENGTH];
        let filled = getrandom::fill(&mut random);
        filled.map_err(|error| at(path)(error.into()))?;
        Ok(Secret::of(random))
    };
    let secret = secret.map_or_else(made, Ok)?;
    let stored = Stored {
        secret: secret.text().to_owned(),
        // What was delivered stays delivered; a damaged file has nothing.
        deliveries: read(path).ok().flatten().unwrap_or_default().deliveries,
    };
    write(path, &stored)?;
    Ok(secret)
}

fn read(path: &Path) -> Result<Option<Stored>, HookError> {
    let text = regular::read_nofollow(path, LARGEST).map_err(at(path))?;
    let parse = |text: Vec<u8>| {
        serde_json::from_slice(&text).map_err(|_| HookError::Damaged(path.to_owned()))
    };
    text.map(parse).transpose()
}

fn write(path: &Path, stored: &Stored) -> Result<(), HookError> {
    let text = serde_json::to_vec(stored).map_err(|error| at(path)(error.into()))?;
    durable::replace(path, &text, 0o600).map_err(at(path))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> HookError {
    let path = path.to_owned();
    |source| HookError::Io { path, source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn marks(of: &[&str]) -> Vec<String> {
        of.iter().map(|mark| (*mark).to_owned()).collect()
    }

    #[test]
    fn a_secret_is_made_once_and_closed_to_others() {
        let home = tempfile::tempdir().unwrap();
        let (hooks, path) = (Hooks::default(), home.path().join("hook.json"));
        assert_eq!(Hooks::secret(&path).unwrap(), None);
        let made = hooks.secret_or_new(&path).unwrap();
        assert_eq!(hooks.secret_or_new(&path).unwrap(), made);
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let newer = hooks.renew(&path, None).unwrap();
        assert_ne!(newer, made);
        let own = Secret::parse("chosen-by-somebody").unwrap();
        hooks.renew(&path, Some(own.clone())).unwrap();
        assert_eq!(Hooks::secret(&path).unwrap(), Some(own));
    }

    #[test]
    fn a_delivery_is_acted_upon_once_also_by_the_next_server() {
        let home = tempfile::tempdir().unwrap();
        let (hooks, path) = (Hooks::default(), home.path().join("hook.json"));
        hooks.secret_or_new(&path).unwrap();
        let first = hooks.begin(&path, marks(&["a", "b"])).unwrap().unwrap();
        assert!(hooks.begin(&path, marks(&["b", "c"])).unwrap().is_none());
        drop(first);
        let again = hooks.begin(&path, marks(&["a", "b"])).unwrap();
        again.unwrap().done().unwrap();
        let next = Hooks::default();
        assert!(next.begin(&path, marks(&["b"])).unwrap().is_none());
        hooks.renew(&path, None).unwrap();
        assert!(next.begin(&path, marks(&["a"])).unwrap().is_none());
        for number in 0..REMEMBERED {
            let turn = next.begin(&path, vec![number.to_string()]).unwrap();
            turn.unwrap().done().unwrap();
        }
        assert!(next.begin(&path, marks(&["a"])).unwrap().is_some());
    }

    #[test]
    fn what_has_no_mark_is_acted_upon_each_time() {
        let home = tempfile::tempdir().unwrap();
        let (hooks, path) = (Hooks::default(), home.path().join("hook.json"));
        let first = hooks.begin(&path, vec![]).unwrap();
        assert!(first.is_some() && hooks.begin(&path, vec![]).unwrap().is_some());
    }

    #[test]
    fn a_damaged_file_is_named_and_a_new_secret_mends_it() {
        let home = tempfile::tempdir().unwrap();
        let (hooks, path) = (Hooks::default(), home.path().join("hook.json"));
        for damage in ["", "{", r#"{"secret": ""}"#] {
            std::fs::write(&path, damage).unwrap();
            let error = hooks.secret_or_new(&path).unwrap_err();
            assert!(error.to_string().contains("--new"), "{error}");
        }
        let mended = hooks.renew(&path, None).unwrap();
        assert_eq!(Hooks::secret(&path).unwrap(), Some(mended));
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", &path).unwrap();
        assert!(
            hooks.secret_or_new(&path).is_err(),
            "a link is not followed"
        );
    }
}
