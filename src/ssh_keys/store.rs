//! [`SshKeys`]: the only owner of the keys: it writes their file, and the one that sshd(8) reads.

use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::authorized_keys::{self, Command};
use super::error::{KeyError, OpenError};
use super::key::SshKey;
use super::public_key::PublicKey;
use super::user::{self, SshUser, UserError};
use super::wish::Wish;
use super::{HOME, SOCKET};
use crate::document::name::AppName;
use crate::{durable, regular};

/// The name of the file, below the data directory.
pub const FILE: &str = "ssh_keys.json";

const VERSION: u64 = 1;
const MOST: usize = 1000;
const LARGEST_FILE: u64 = 16 << 20;
const LONGEST_SHOWN: usize = 80;

/// Uses are written at most so often, in seconds.
const BETWEEN_WRITES: i64 = 600;

/// The keys at one moment, in the order in which they were added.
pub type Known = Arc<Vec<Arc<SshKey>>>;

/// Where all of it is.
#[derive(Clone, Debug)]
pub struct Place {
    /// The data directory.
    pub data: PathBuf,
    /// The runtime directory.
    pub runtime: PathBuf,
    /// The system user as which sshd lets those in who push.
    pub user: String,
    /// This program.
    pub program: PathBuf,
}

impl Place {
    /// The home of the system user.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.data.join(HOME)
    }

    /// The socket that `ssh-serve` connects to.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.runtime.join(SOCKET)
    }

    /// Looks the system user up. Blocks.
    ///
    /// # Errors
    /// [`UserError`].
    pub fn look_up(&self) -> Result<SshUser, UserError> {
        user::look_up(&self.user, &self.home())
    }
}

/// The owner of the keys. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct SshKeys(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    place: Place,
    known: watch::Sender<Known>,
    turn: Mutex<()>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u64,
    keys: Vec<StoredKey>,
}

#[derive(Serialize, Deserialize)]
struct StoredKey {
    id: String,
    name: String,
    apps: Option<Vec<String>>,
    key: String,
    #[serde(default)]
    comment: String,
    created: Timestamp,
    last_used: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Versioned {
    version: u64,
}

impl SshKeys {
    /// Reads the keys. A file that makes no sense is set aside, and its keys let nobody in. What sshd reads is written
    /// anew, since the server may be another program at another place than the last one. Blocks.
    ///
    /// # Errors
    /// It cannot be read, or is a newer server's.
    pub fn open(place: Place) -> Result<Self, OpenError> {
        let keys = read(&place.data)?;
        let keys = Self(Arc::new(Inner {
            known: watch::Sender::new(Arc::new(keys)),
            turn: Mutex::new(()),
            place,
        }));
        let known = keys.known();
        if (!known.is_empty() || keys.0.place.home().exists())
            && let Err(error) = keys.tell_sshd(&known)
        {
            log::error!("ssh: what sshd reads is not written: {error}");
        }
        Ok(keys)
    }

    /// No keys.
    #[cfg(test)]
    pub(crate) fn nobody() -> Self {
        let nowhere = Path::new("/nonexistent");
        let place = Place {
            data: nowhere.into(),
            runtime: nowhere.into(),
            user: String::new(),
            program: nowhere.into(),
        };
        Self::open(place).expect("no file")
    }

    #[must_use]
    pub fn place(&self) -> &Place {
        &self.0.place
    }

    /// The keys as they are now.
    #[must_use]
    pub fn known(&self) -> Known {
        Arc::clone(&self.0.known.borrow())
    }

    /// Follows the keys.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Known> {
        self.0.known.subscribe()
    }

    /// The key with this id.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<Arc<SshKey>> {
        let known = self.known();
        known.iter().find(|key| key.id == id).map(Arc::clone)
    }

    /// Adds a key; sshd lets its holder in when this returns. Blocks.
    ///
    /// # Errors
    /// Nothing was changed.
    pub fn add(&self, wish: Wish, now: Timestamp) -> Result<Arc<SshKey>, KeyError> {
        let _turn = self.turn();
        let known = self.known();
        if let Some(key) = known
            .iter()
            .find(|key| key.public.line() == wish.public.line())
        {
            return Err(KeyError::Known(key.name.clone()));
        }
        if known.iter().any(|key| key.name == wish.name) {
            return Err(KeyError::Exists(wish.name));
        }
        if known.len() >= MOST {
            return Err(KeyError::TooMany(MOST));
        }
        self.0.place.look_up()?;
        let id = new_id(&known)?;
        let key = SshKey::new(id, wish.name, wish.apps, wish.public, now, None);
        let key = Arc::new(key);
        let mut all = known.to_vec();
        all.push(Arc::clone(&key));
        // Whoever comes with a key that the server does not know is refused, so sshd may know it first.
        let written = self.tell_sshd(&all).and_then(|()| self.store(&all));
        if let Err(source) = written {
            let _ = self.tell_sshd(&known);
            return Err(self.not_stored(source));
        }
        self.0.known.send_replace(Arc::new(all));
        Ok(key)
    }

    /// Takes the key of this id, or name, away: from now on it opens nothing. Blocks.
    ///
    /// # Errors
    /// Nothing was changed.
    pub fn remove(&self, id: &str) -> Result<Arc<SshKey>, KeyError> {
        let _turn = self.turn();
        let known = self.known();
        let found = known.iter().find(|key| key.id == id);
        let found = found.or_else(|| known.iter().find(|key| key.name == id));
        let found = found.ok_or_else(|| {
            let shown = id.chars().take(LONGEST_SHOWN).collect();
            KeyError::NoSuchKey(shown)
        })?;
        let others = known.iter().filter(|key| key.id != found.id);
        let others: Vec<_> = others.cloned().collect();
        self.store(&others).map_err(|e| self.not_stored(e))?;
        let found = Arc::clone(found);
        // The server itself refuses it from here on.
        self.0.known.send_replace(Arc::new(others));
        if let Err(error) = self.tell_sshd(&self.known()) {
            log::error!(
                "ssh: sshd still lets \"{}\" in, to nothing: {error}",
                found.name
            );
        }
        Ok(found)
    }

    /// Notes that a key was used. Returns whether it is time for [`Self::write_uses`].
    #[must_use]
    pub fn note_use(&self, key: &SshKey, now: Timestamp) -> bool {
        key.note_use(now) >= BETWEEN_WRITES
    }

    /// Writes when keys were used last. Blocks.
    pub fn write_uses(&self) {
        let _turn = self.turn();
        if let Err(error) = self.store(&self.known()) {
            log::warn!("when ssh keys were used last is not written: {error}");
        }
    }

    /// One change comes after the other.
    fn turn(&self) -> MutexGuard<'_, ()> {
        self.0.turn.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn not_stored(&self, source: io::Error) -> KeyError {
        let path = self.0.place.data.clone();
        KeyError::NotStored { path, source }
    }

    fn store(&self, all: &[Arc<SshKey>]) -> io::Result<()> {
        let keys = all.iter().map(|key| StoredKey {
            id: key.id.clone(),
            name: key.name.clone(),
            apps: key
                .apps
                .as_ref()
                .map(|apps| apps.iter().map(ToString::to_string).collect()),
            key: key.public.line(),
            comment: key.public.comment.clone(),
            created: key.created,
            last_used: key.last_used(),
        });
        let stored = Stored {
            version: VERSION,
            keys: keys.collect(),
        };
        let text = serde_json::to_vec_pretty(&stored).map_err(io::Error::from)?;
        durable::replace(&self.0.place.data.join(FILE), &text, 0o600)
    }

    /// Writes the file that sshd reads, for whom it reads it: all of the way is root's, and open to nobody else, as
    /// sshd wants it (`StrictModes`).
    fn tell_sshd(&self, all: &[Arc<SshKey>]) -> io::Result<()> {
        let place = &self.0.place;
        let command = Command {
            program: &place.program,
            socket: &place.socket(),
        };
        let text = authorized_keys::text(all, &command).ok_or_else(|| {
            io::Error::other(format!(
                "{} and {} must have no character that means something to a shell",
                place.program.display(),
                command.socket.display()
            ))
        })?;
        let group = place.look_up().ok().map(|user| user.gid);
        let directory = place.home().join(".ssh");
        for directory in [&place.home(), &directory] {
            match std::fs::DirBuilder::new().mode(0o700).create(directory) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            give(directory, group, 0o750)?;
        }
        let path = directory.join("authorized_keys");
        durable::replace(&path, text.as_bytes(), 0o600)?;
        give(&path, group, 0o640)
    }
}

/// Lets `group` read it. What others have made there is not followed.
fn give(path: &Path, group: Option<u32>, mode: u32) -> io::Result<()> {
    if std::fs::symlink_metadata(path)?.is_symlink() {
        let text = format!("{} is a symbolic link: remove it", path.display());
        return Err(io::Error::other(text));
    }
    if group.is_some() {
        chown(path, None, group)?;
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

fn read(data: &Path) -> Result<Vec<Arc<SshKey>>, OpenError> {
    let path = data.join(FILE);
    let io_error = |source| OpenError::Io {
        path: path.clone(),
        source,
    };
    let Some(text) = regular::read_nofollow(&path, LARGEST_FILE).map_err(io_error)? else {
        return Ok(Vec::new());
    };
    let stored =
        serde_json::from_slice::<Versioned>(&text).and_then(|versioned| match versioned.version {
            0..=VERSION => serde_json::from_slice::<Stored>(&text).map(Ok),
            version => Ok(Err(version)),
        });
    match stored {
        Ok(Ok(stored)) => Ok(stored.keys.into_iter().filter_map(known).collect()),
        Ok(Err(version)) => Err(OpenError::Newer { path, version }),
        Err(error) => {
            let aside = path.with_extension("json.damaged");
            std::fs::rename(&path, &aside).map_err(io_error)?;
            log::error!(
                "{} makes no sense ({error}): it is {} now, and no ssh key lets anybody in; add them again",
                path.display(),
                aside.display()
            );
            Ok(Vec::new())
        }
    }
}

/// A key of the file; one that this program does not take lets nobody in.
fn known(stored: StoredKey) -> Option<Arc<SshKey>> {
    let line = format!("{} {}", stored.key, stored.comment);
    let is_id = !stored.id.is_empty() && stored.id.bytes().all(|b| b.is_ascii_alphanumeric());
    let public = PublicKey::parse(&line).ok().filter(|_| is_id);
    let Some(public) = public else {
        log::warn!(
            "the ssh key \"{}\" is damaged and lets nobody in",
            stored.name
        );
        return None;
    };
    let named = |apps: Vec<String>| {
        let names = apps.iter().filter_map(|name| AppName::parse(name).ok());
        names.collect()
    };
    Some(Arc::new(SshKey::new(
        stored.id,
        stored.name,
        stored.apps.map(named),
        public,
        stored.created,
        stored.last_used,
    )))
}

/// An id that no key has, nor any that was removed, as good as surely.
fn new_id(known: &[Arc<SshKey>]) -> Result<String, KeyError> {
    loop {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).map_err(KeyError::NoChance)?;
        let id = format!("k{:016x}", u64::from_be_bytes(bytes));
        if known.iter().all(|key| key.id != id && key.name != id) {
            return Ok(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";

    fn place(data: &Path) -> Place {
        Place {
            data: data.to_owned(),
            runtime: data.join("run"),
            user: "procserver-nobody-has-this".to_owned(),
            program: "/usr/bin/procserver".into(),
        }
    }

    fn stored(data: &Path, text: &str) {
        std::fs::write(data.join(FILE), text).unwrap();
    }

    #[test]
    fn without_the_user_that_sshd_lets_in_no_key_is_added() {
        let data = tempfile::tempdir().unwrap();
        let keys = SshKeys::open(place(data.path())).unwrap();
        let wish = Wish::read(&serde_json::json!({"name": "a", "key": KEY})).unwrap();
        let error = keys.add(wish, Timestamp::now()).unwrap_err();
        assert!(error.to_string().contains("useradd"), "{error}");
        assert!(keys.known().is_empty());
        assert_eq!(std::fs::read_dir(data.path()).unwrap().count(), 0);
    }

    #[test]
    fn keys_of_the_file_are_known_to_sshd_until_they_are_removed() {
        let data = tempfile::tempdir().unwrap();
        let text = format!(
            r#"{{"version": 1, "keys": [
                {{"id": "k1", "name": "ann", "apps": ["blog"], "key": "{KEY}", "created": "2026-11-30T00:00:00Z"}},
                {{"id": "k2\" sh", "name": "bad", "key": "{KEY}", "created": "2026-11-30T00:00:00Z"}}]}}"#
        );
        stored(data.path(), &text);
        let keys = SshKeys::open(place(data.path())).unwrap();
        assert_eq!(keys.known().len(), 1);
        assert!(keys.find("k1").unwrap().is_for("blog") && !keys.find("k1").unwrap().is_for("b"));
        let authorized = data.path().join("ssh/.ssh/authorized_keys");
        let told = std::fs::read_to_string(&authorized).unwrap();
        assert!(
            told.contains(" k1\" ssh-ed25519 ") && !told.contains("k2"),
            "{told}"
        );
        assert_eq!(keys.remove("ann").unwrap().id, "k1");
        assert!(!std::fs::read_to_string(&authorized).unwrap().contains("k1"));
        assert!(keys.remove("k1").is_err() && keys.find("k1").is_none());
        assert!(
            SshKeys::open(place(data.path()))
                .unwrap()
                .known()
                .is_empty()
        );
    }

    #[test]
    fn a_file_of_a_newer_server_is_left_alone_and_nonsense_is_set_aside() {
        let data = tempfile::tempdir().unwrap();
        stored(data.path(), r#"{"version": 2, "keys": 1}"#);
        let error = SshKeys::open(place(data.path())).unwrap_err();
        assert!(
            matches!(error, OpenError::Newer { version: 2, .. }),
            "{error}"
        );
        stored(data.path(), "{");
        assert!(
            SshKeys::open(place(data.path()))
                .unwrap()
                .known()
                .is_empty()
        );
        assert!(data.path().join("ssh_keys.json.damaged").exists());
    }

    #[test]
    fn what_sshd_reads_is_not_written_through_a_link() {
        let (data, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::os::unix::fs::symlink(other.path(), data.path().join(HOME)).unwrap();
        let keys = SshKeys::open(place(data.path())).unwrap();
        assert!(keys.tell_sshd(&[]).is_err());
        assert_eq!(std::fs::read_dir(other.path()).unwrap().count(), 0);
    }
}
