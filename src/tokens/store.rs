//! [`TokenStore`]: the only owner of the tokens: it writes their file, and gives the workers a new [`Known`] with each
//! change.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use tokio::sync::watch;

use super::error::{OpenError, TokenError};
use super::file::{Stored, VERSION, Versioned};
use super::known::Known;
use super::token::{Digest, FIRST, PREFIX, STRENGTH, Token};
use super::wish::Wish;
use crate::{durable, regular};

/// The name of the file, below the data directory.
pub const FILE: &str = "tokens.json";

const MOST: usize = 1000;
/// Revoked tokens that are remembered, the newest ones.
const MOST_REVOKED: usize = 1000;
const LARGEST_FILE: u64 = 16 << 20;

/// Uses are written at most so often, in seconds: a crash loses what came after.
const BETWEEN_WRITES: i64 = 600;

/// The owner of the tokens. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct TokenStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    directory: PathBuf,
    known: watch::Sender<Arc<Known>>,
    /// The newest revoked tokens; held by who changes the file.
    revoked: Mutex<Vec<Digest>>,
    /// When uses were written last, in seconds since 1970.
    written: AtomicI64,
}

impl TokenStore {
    /// Reads the file of `directory`. One that makes no sense is set aside, and its tokens open nothing. Blocks.
    ///
    /// # Errors
    /// It cannot be read, or is a newer server's.
    pub fn open(directory: &Path, first: &str) -> Result<Self, OpenError> {
        let path = directory.join(FILE);
        let io_error = |source| OpenError::Io {
            path: path.clone(),
            source,
        };
        let text = regular::read_nofollow(&path, LARGEST_FILE).map_err(io_error)?;
        let stored = match text.as_deref().map(|text| parse(&path, text)) {
            None => None,
            Some(Ok(stored)) => Some(stored),
            Some(Err(Unreadable::Newer(error))) => return Err(error),
            Some(Err(Unreadable::Nonsense(error))) => {
                set_aside(&path, &error).map_err(io_error)?;
                None
            }
        };
        let first = Token::first(first);
        let revoked = stored.as_ref().map(|s| s.revoked.clone());
        let revoked = revoked.unwrap_or_default();
        let all = match stored {
            Some(stored) => stored.into_tokens(first),
            None => vec![Arc::new(first)],
        };
        Ok(Self(Arc::new(Inner {
            directory: directory.to_owned(),
            known: watch::Sender::new(Arc::new(Known::new(all, revoked.iter().copied()))),
            revoked: Mutex::new(revoked),
            written: AtomicI64::new(0),
        })))
    }

    /// The tokens as they are now.
    #[must_use]
    pub fn known(&self) -> Arc<Known> {
        Arc::clone(&self.0.known.borrow())
    }

    /// Follows the tokens.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<Known>> {
        self.0.known.subscribe()
    }

    /// Makes a token; it opens something when this returns. The text is nowhere kept. Blocks.
    ///
    /// # Errors
    /// Nothing was changed.
    pub fn create(&self, wish: Wish, now: Timestamp) -> Result<(String, Arc<Token>), TokenError> {
        let revoked = self.turn();
        let known = self.known();
        if known.all().iter().any(|token| token.name == wish.name) {
            return Err(TokenError::Exists(wish.name));
        }
        if known.all().len() > MOST {
            return Err(TokenError::TooMany(MOST));
        }
        let text = new_token()?;
        let digest = Digest::of(text.as_bytes());
        let mut token = Token::new(new_id(&known)?, wish.name, wish.scope, digest);
        token.apps = wish.apps;
        token.created = Some(now);
        token.expires = wish.expires;
        let token = Arc::new(token);
        let mut all = known.all().to_vec();
        all.push(Arc::clone(&token));
        self.store(&all, &revoked)?;
        self.publish(all, &revoked);
        Ok((text, token))
    }

    /// Takes the token of this id, or name, away: from now on it opens nothing. Blocks.
    ///
    /// # Errors
    /// Nothing was changed.
    pub fn revoke(&self, id: &str) -> Result<Arc<Token>, TokenError> {
        if id == FIRST {
            return Err(TokenError::First(self.0.directory.join("token")));
        }
        let mut revoked = self.turn();
        let known = self.known();
        let is_it = |token: &&Arc<Token>| token.id == id;
        let is_named = |token: &&Arc<Token>| token.name == id;
        let all = known.all();
        let found = all.iter().find(is_it).or_else(|| all.iter().find(is_named));
        let found = found.ok_or_else(|| {
            let shown = id.chars().take(LONGEST_SHOWN).collect();
            TokenError::NoSuchToken(shown)
        })?;
        let mut gone = revoked.clone();
        gone.push(found.digest);
        let surplus = gone.len().saturating_sub(MOST_REVOKED);
        gone.drain(..surplus);
        let others = all.iter().filter(|token| token.digest != found.digest);
        let others: Vec<_> = others.cloned().collect();
        self.store(&others, &gone)?;
        *revoked = gone;
        self.publish(others, &revoked);
        Ok(Arc::clone(found))
    }

    /// Notes that a token was used. Returns whether it is time for [`Self::write_uses`].
    #[must_use]
    pub fn note_use(&self, token: &Token, now: Timestamp) -> bool {
        if !token.note_use(now) {
            return false;
        }
        let (written, now) = (&self.0.written, now.as_second());
        let last = written.load(Ordering::Relaxed);
        (now - last).abs() >= BETWEEN_WRITES
            && written
                .compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// Writes when tokens were used last. Blocks.
    pub fn write_uses(&self) {
        let revoked = self.turn();
        if let Err(error) = self.store(self.known().all(), &revoked) {
            log::warn!("when tokens were used last is not written: {error}");
        }
    }

    /// One change comes after the other.
    fn turn(&self) -> MutexGuard<'_, Vec<Digest>> {
        self.0.revoked.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn store(&self, all: &[Arc<Token>], revoked: &[Digest]) -> Result<(), TokenError> {
        let path = self.0.directory.join(FILE);
        let stored = Stored::of(all, revoked.to_vec());
        let text = serde_json::to_vec_pretty(&stored).map_err(io::Error::from);
        text.and_then(|text| durable::replace(&path, &text, 0o600))
            .map_err(|source| TokenError::NotStored { path, source })
    }

    fn publish(&self, all: Vec<Arc<Token>>, revoked: &[Digest]) {
        let known = Known::new(all, revoked.iter().copied());
        self.0.known.send_replace(Arc::new(known));
    }
}

const LONGEST_SHOWN: usize = 80;

enum Unreadable {
    Newer(OpenError),
    Nonsense(serde_json::Error),
}

fn parse(path: &Path, text: &[u8]) -> Result<Stored, Unreadable> {
    let versioned: Versioned = serde_json::from_slice(text).map_err(Unreadable::Nonsense)?;
    if versioned.version > VERSION {
        return Err(Unreadable::Newer(OpenError::Newer {
            path: path.to_owned(),
            version: versioned.version,
            known: VERSION,
        }));
    }
    serde_json::from_slice(text).map_err(Unreadable::Nonsense)
}

fn set_aside(path: &Path, error: &serde_json::Error) -> io::Result<()> {
    let aside = path.with_extension("json.damaged");
    std::fs::rename(path, &aside)?;
    log::error!(
        "{} makes no sense ({error}): it is {} now, and its tokens open nothing; make new ones (procserver token create)",
        path.display(),
        aside.display()
    );
    Ok(())
}

fn new_token() -> Result<String, TokenError> {
    let mut random = [0_u8; STRENGTH];
    getrandom::fill(&mut random).map_err(TokenError::NoChance)?;
    Ok(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random)))
}

/// An id that no other token has.
fn new_id(known: &Known) -> Result<String, TokenError> {
    loop {
        let mut random = [0_u8; 4];
        getrandom::fill(&mut random).map_err(TokenError::NoChance)?;
        let id = format!("{:08x}", u32::from_be_bytes(random));
        let is_free = |token: &Arc<Token>| token.id != id && token.name != id;
        if known.all().iter().all(is_free) {
            return Ok(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::tokens::Scope;
    use crate::tokens::known::Refusal;
    use crate::tokens::token::looks_like_one;

    fn wish(name: &str) -> Wish {
        Wish {
            name: name.to_owned(),
            scope: Scope::Read,
            apps: None,
            expires: None,
        }
    }

    fn now() -> Timestamp {
        Timestamp::from_second(1_000_000_000).unwrap()
    }

    #[test]
    fn a_token_opens_until_it_is_revoked_also_in_the_next_life_and_is_nowhere_kept() {
        let home = tempfile::tempdir().unwrap();
        let open = || TokenStore::open(home.path(), "the-first-token!").unwrap();
        let store = open();
        let (text, made) = store.create(wish("ci"), now()).unwrap();
        assert!(looks_like_one(text.as_bytes()));
        let path = home.path().join(FILE);
        let kept = std::fs::read_to_string(&path).unwrap();
        assert!(!kept.contains(&text[3..]) && !kept.contains("the-first-token"));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(store.note_use(&made, now()) && !store.note_use(&made, now()));
        store.write_uses();

        let store = open();
        let found = Arc::clone(store.known().find(text.as_bytes(), now()).unwrap());
        assert_eq!((&*found.name, found.scope), ("ci", Scope::Read));
        assert_eq!(found.last_used().unwrap().as_second(), 999_999_960);
        assert!(matches!(
            store.create(wish("ci"), now()),
            Err(TokenError::Exists(_))
        ));
        store.revoke("ci").unwrap();
        assert_eq!(
            store.known().find(text.as_bytes(), now()).unwrap_err(),
            Refusal::Unknown
        );
        assert!(matches!(
            store.revoke(&made.id),
            Err(TokenError::NoSuchToken(_))
        ));
        assert!(matches!(store.revoke("first"), Err(TokenError::First(_))));

        let store = open();
        assert!(store.known().find(text.as_bytes(), now()).is_err());
        assert!(store.known().is_own(text.as_bytes()), "no app is sent it");
        assert!(store.known().find(b"the-first-token!", now()).is_ok());
    }

    #[test]
    fn a_token_expires_by_the_clock() {
        let home = tempfile::tempdir().unwrap();
        let store = TokenStore::open(home.path(), "the-first-token!").unwrap();
        let expires = now() + std::time::Duration::from_secs(10);
        let short = Wish {
            expires: Some(expires),
            ..wish("short")
        };
        let (text, token) = store.create(short, now()).unwrap();
        assert!(store.known().find(text.as_bytes(), now()).is_ok());
        let late = store.known().find(text.as_bytes(), expires).unwrap_err();
        assert_eq!(late, Refusal::Expired(expires));
        assert!(!store.known().is_good(&token, expires));
        assert!(store.known().is_own(text.as_bytes()));
    }

    #[test]
    fn a_damaged_file_is_set_aside_and_a_newer_one_refused() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(FILE);
        std::fs::write(&path, "{\"version\": 1, \"tok").unwrap();
        let store = TokenStore::open(home.path(), "the-first-token!").unwrap();
        assert_eq!(store.known().all().len(), 1);
        assert!(home.path().join("tokens.json.damaged").exists() && !path.exists());
        std::fs::write(&path, "{\"version\": 2, \"something\": {}}").unwrap();
        let error = TokenStore::open(home.path(), "the-first-token!").unwrap_err();
        assert!(error.to_string().contains("newer procserver"), "{error}");
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", &path).unwrap();
        assert!(TokenStore::open(home.path(), "the-first-token!").is_err());
    }

    #[test]
    fn a_change_that_cannot_be_stored_changes_nothing() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("data");
        std::fs::create_dir(&directory).unwrap();
        let store = TokenStore::open(&directory, "the-first-token!").unwrap();
        let (text, _) = store.create(wish("a"), now()).unwrap();
        std::fs::remove_dir_all(&directory).unwrap();
        assert!(matches!(
            store.revoke("a"),
            Err(TokenError::NotStored { .. })
        ));
        assert!(store.create(wish("b"), now()).is_err());
        assert!(store.known().find(text.as_bytes(), now()).is_ok());
        assert_eq!(store.known().all().len(), 2);
    }
}
