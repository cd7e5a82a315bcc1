//! Users of single apps: made with the app, removed with its files.
//!
//! The account is made by useradd(8), its comment says whose it is, and `user.json` in the app's directory names it. An
//! account of the same name that somebody else made is left alone. The record is written before the account is made and
//! goes after it, so that whenever the server is killed, the next one finds what there is to make or to remove.

mod commands;
mod name;

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::sync::{Mutex, PoisonError};

use nix::unistd::User;
use serde::{Deserialize, Serialize};

use crate::app_dirs::AppDirs;
use crate::document::name::AppName;
use crate::{durable, failpoint, regular};

use commands::Made;

/// `user.json` is smaller.
const MAX_RECORD: u64 = 4096;

/// useradd and userdel wait a second for each other where they meet.
static TURN: Mutex<()> = Mutex::new(());

/// `user.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    user: String,
    /// Its id when it was last seen. One that is lost is made again with the same id, since files are of ids.
    uid: Option<u32>,
}

/// Why an app has no user of its own; the text is for the person who deploys.
#[derive(Debug, thiserror::Error)]
pub enum OwnUserError {
    #[error(
        "the user \"{0}\" would be this application's own, but somebody else has made a user or group of that name: \
         remove it, or name a user in the document"
    )]
    Foreign(String),
    #[error(
        "{program} cannot be run ({source}), which makes a user for each application: install the package \"passwd\", \
         name a user in the document, or set default_user in procserver.toml"
    )]
    NotRun {
        program: &'static str,
        source: io::Error,
    },
    #[error(
        "{program} {user} failed: {said}; where users cannot be made, name one in the document, or set default_user in \
         procserver.toml"
    )]
    Refused {
        program: &'static str,
        user: String,
        said: String,
    },
    #[error("cannot look up the user \"{0}\": {1}")]
    Lookup(String, String),
    #[error("{0}: {1}")]
    Record(String, #[source] io::Error),
}

/// Whether the app has, or had, a user of its own. Blocks.
#[must_use]
pub fn has(dirs: &AppDirs) -> bool {
    dirs.user_record().exists()
}

/// Whether users can be made here, as far as that can be told without making one. Blocks.
///
/// # Errors
/// [`OwnUserError`], why not.
pub fn can_be_made() -> Result<(), OwnUserError> {
    commands::look_for("useradd")?;
    for place in ["/etc", "/etc/passwd"] {
        rustix::fs::access(place, rustix::fs::Access::WRITE_OK)
            .map_err(|e| OwnUserError::Record(place.to_owned(), e.into()))?;
    }
    Ok(())
}

/// The user of the app; it is made where there is none. Blocks, for a second or more where another program changes
/// users.
///
/// # Errors
/// [`OwnUserError`].
pub fn ensure(dirs: &AppDirs, name: &AppName) -> Result<String, OwnUserError> {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let record = load(dirs)?;
    if let Some(record) = &record
        && let Some(found) = of_app(&record.user, dirs, name, record.uid)?
    {
        if record.uid != Some(found.uid.as_raw()) {
            store(dirs, &found.name, Some(found.uid.as_raw()))?;
        }
        return Ok(found.name);
    }
    let mut candidates = name::candidates(name, dirs.root());
    let uid = record.as_ref().and_then(|record| record.uid);
    if let Some(record) = record {
        // The same name again, where it is free.
        candidates.retain(|candidate| *candidate != record.user);
        candidates.insert(0, record.user);
    }
    for candidate in &candidates {
        if let Some(uid) = make(dirs, name, candidate, uid)? {
            store(dirs, candidate, Some(uid))?;
            return Ok(candidate.clone());
        }
    }
    let last = candidates.pop().unwrap_or_default();
    Err(OwnUserError::Foreign(last))
}

/// Removes the user of the app, if it has one. All its processes are over, and its files are gone but for the record.
/// Blocks as [`ensure`] does.
///
/// # Errors
/// [`OwnUserError`].
pub fn remove(dirs: &AppDirs, name: &AppName) -> Result<(), OwnUserError> {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(Record { user, uid }) = load(dirs)? else {
        return Ok(());
    };
    failpoint::reach("before a user is removed");
    if of_app(&user, dirs, name, uid)?.is_some() {
        // With its group, which has its name.
        commands::remove(&user)?;
        failpoint::reach("after a user is removed");
        log::info!("{name}: its user {user} is removed");
    }
    Ok(())
}

/// Makes a user of this name; its id. `None`: the name is another's.
fn make(
    dirs: &AppDirs,
    name: &AppName,
    candidate: &str,
    uid: Option<u32>,
) -> Result<Option<u32>, OwnUserError> {
    let found = look_up(candidate)?;
    if let Some(found) = found {
        // Left by a server that was killed before it had noted the id, or by one whose files were removed by hand.
        let is_own = name::is_of(&found.gecos.to_string_lossy(), name, dirs.root());
        return Ok(is_own.then_some(found.uid.as_raw()));
    }
    store(dirs, candidate, uid)?;
    failpoint::reach("before a user is made");
    let comment = name::comment(name, dirs.root());
    let made = match commands::add(candidate, &comment, uid)? {
        Made::IdIsTaken => commands::add(candidate, &comment, None)?,
        made => made,
    };
    if made != Made::Yes {
        return Ok(None);
    }
    failpoint::reach("after a user is made");
    let found = look_up(candidate)?.ok_or_else(|| {
        let why = "useradd has made it, and the system does not find it".to_owned();
        OwnUserError::Lookup(candidate.to_owned(), why)
    })?;
    log::info!(
        "{name}: the user {candidate} ({}) is made for it",
        found.uid
    );
    Ok(Some(found.uid.as_raw()))
}

/// The account of this name, if it is this app's.
fn of_app(
    user: &str,
    dirs: &AppDirs,
    name: &AppName,
    uid: Option<u32>,
) -> Result<Option<User>, OwnUserError> {
    Ok(look_up(user)?.filter(|found| {
        let comment = found.gecos.to_string_lossy();
        // With the same id also after the data directory was moved.
        let is_moved = uid == Some(found.uid.as_raw()) && name::is_of_any(&comment, name);
        is_moved || name::is_of(&comment, name, dirs.root())
    }))
}

fn look_up(user: &str) -> Result<Option<User>, OwnUserError> {
    User::from_name(user).map_err(|e| OwnUserError::Lookup(user.to_owned(), e.to_string()))
}

fn load(dirs: &AppDirs) -> Result<Option<Record>, OwnUserError> {
    let path = dirs.user_record();
    let failed = |e| OwnUserError::Record(path.display().to_string(), e);
    match regular::read(&path, MAX_RECORD) {
        Ok(bytes) => {
            let record = serde_json::from_slice(&bytes);
            record.map(Some).map_err(|e| failed(e.into()))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(failed(e)),
    }
}

fn store(dirs: &AppDirs, user: &str, uid: Option<u32>) -> Result<(), OwnUserError> {
    let path = dirs.user_record();
    let record = Record {
        user: user.to_owned(),
        uid,
    };
    let stored = DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(dirs.root())
        .and_then(|()| Ok(serde_json::to_vec(&record)?))
        .and_then(|bytes| durable::replace(&path, &bytes, 0o600));
    stored.map_err(|e| OwnUserError::Record(path.display().to_string(), e))
}
