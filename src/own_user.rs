//! Users of single apps: made with the app, removed with its files.
//!
//! The account is made by useradd(8), its comment says whose it is, and `user.json` in the app's directory names it. An
//! account of the same name that somebody else made is left alone. The record is written before the account is made and
//! goes after it, so that whenever the server is killed, the next one finds what there is to make or to remove.
//!
//! Its ids are those of no app before it, as long as the system's range has others (`user_ids.json`).

mod commands;
mod ids;
mod name;

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use nix::unistd::{Gid, Group, Uid, User};
use serde::{Deserialize, Serialize};

use crate::app_dirs::AppDirs;
use crate::document::name::AppName;
use crate::{durable, failpoint, regular};

use commands::Made;

/// `user.json` is smaller.
const MAX_RECORD: u64 = 8192;

const LOGIN_DEFS: &str = "/etc/login.defs";

/// `user_ids.json` is smaller: it has each id once.
const MAX_IDS: u64 = 1024 * 1024;

/// An administrator may make a user with the id that is about to be given.
const ATTEMPTS: usize = 8;

/// useradd and userdel wait a second for each other where they meet.
static TURN: Mutex<()> = Mutex::new(());

/// `user.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    user: String,
    /// Its id when it was last seen. One that is lost is made again with the same id, since files are of ids.
    uid: Option<u32>,
    /// The app's directory, to tell one that was moved from a copy.
    #[serde(default)]
    root: Option<PathBuf>,
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
    #[error(
        "userdel {user} failed: {said}; end what runs as this user, then remove the application again"
    )]
    NotRemoved { user: String, said: String },
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
        && let Some(found) = of_app(record, dirs, name)?
    {
        let is_known = record.root.as_deref() == Some(dirs.root());
        if !is_known || record.uid != Some(found.uid.as_raw()) {
            if !is_here(&found, dirs, name) {
                commands::describe(&found.name, &name::comment(name, dirs.root()))?;
            }
            store(dirs, &found.name, Some(found.uid.as_raw()))?;
        }
        return Ok(found.name);
    }
    let mut candidates = name::candidates(name, dirs.root());
    let own = record
        .as_ref()
        .filter(|record| !is_copy(record, dirs.root()));
    let uid = own.and_then(|record| record.uid);
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

/// The id of the user of the app, if it has one. Blocks.
///
/// # Errors
/// [`OwnUserError`].
pub fn uid(dirs: &AppDirs, name: &AppName) -> Result<Option<u32>, OwnUserError> {
    let found = load(dirs)?.map(|record| of_app(&record, dirs, name));
    Ok(found.transpose()?.flatten().map(|user| user.uid.as_raw()))
}

/// Removes the user of the app, if it has one. All its processes are over, and its files are gone but for the record.
/// Blocks as [`ensure`] does.
///
/// # Errors
/// [`OwnUserError`].
pub fn remove(dirs: &AppDirs, name: &AppName) -> Result<(), OwnUserError> {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(record) = load(dirs)? else {
        return Ok(());
    };
    let user = &record.user;
    failpoint::reach("before a user is removed");
    if let Some(found) = of_app(&record, dirs, name)? {
        note(dirs, found.uid.as_raw())?;
        // With its group, which has its name.
        commands::remove(user)?;
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
    if let Some(found) = look_up(candidate)? {
        // Left by a server that was killed before it had noted the id, or by one whose files were removed by hand.
        let is_own = is_system(&found) && is_here(&found, dirs, name);
        return Ok(is_own.then_some(found.uid.as_raw()));
    }
    store(dirs, candidate, uid)?;
    failpoint::reach("before a user is made");
    let comment = name::comment(name, dirs.root());
    let made = match uid {
        Some(uid) => {
            note(dirs, uid)?;
            commands::add(candidate, &comment, Some(uid))?
        }
        None => Made::IdIsTaken,
    };
    let made = match made {
        Made::IdIsTaken => add(dirs, candidate, &comment)?,
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

/// Makes a user with ids that no app had, if there are such. Its group gets the same number, which is free, too.
fn add(dirs: &AppDirs, candidate: &str, comment: &str) -> Result<Made, OwnUserError> {
    if matches!(Group::from_name(candidate), Ok(Some(_))) {
        return Ok(Made::NameIsTaken);
    }
    let login_defs = regular::read(Path::new(LOGIN_DEFS), MAX_IDS).unwrap_or_default();
    let range = ids::system_range(&String::from_utf8_lossy(&login_defs));
    // One that cannot be looked up is useradd's to refuse.
    let is_taken = |id| {
        matches!(User::from_uid(Uid::from_raw(id)), Ok(Some(_)))
            || matches!(Group::from_gid(Gid::from_raw(id)), Ok(Some(_)))
    };
    for _ in 0..ATTEMPTS {
        let Some(id) = ids::next(&given(dirs)?, range.clone(), is_taken) else {
            break;
        };
        // Before it is given: whenever the server is killed, it is not forgotten.
        note(dirs, id)?;
        match commands::add(candidate, comment, Some(id))? {
            Made::IdIsTaken => {}
            made => return Ok(made),
        }
    }
    // None is left: it says so.
    commands::add(candidate, comment, None)
}

/// The account of this record, if it is this app's.
fn of_app(record: &Record, dirs: &AppDirs, name: &AppName) -> Result<Option<User>, OwnUserError> {
    // With the same id also after the data directory was moved.
    let is_moved = |found: &User| {
        let former = record.root.as_deref();
        let former = former.filter(|_| !is_copy(record, dirs.root()));
        let comment = found.gecos.to_string_lossy();
        record.uid == Some(found.uid.as_raw())
            && former.is_some_and(|former| name::is_of(&comment, name, former))
    };
    let found = look_up(&record.user)?.filter(is_system);
    Ok(found.filter(|found| is_here(found, dirs, name) || is_moved(found)))
}

/// Whether the app is in another directory, too, whose record this was: the user is that one's.
fn is_copy(record: &Record, root: &Path) -> bool {
    let former = record.root.as_deref();
    former.is_some_and(|former| former != root && former.exists())
}

fn is_here(found: &User, dirs: &AppDirs, name: &AppName) -> bool {
    name::is_of(&found.gecos.to_string_lossy(), name, dirs.root())
}

/// Whether it is an account as we make them: nobody can log in.
fn is_system(found: &User) -> bool {
    !found.uid.is_root() && found.shell.as_os_str() == commands::SHELL
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
        root: Some(dirs.root().to_owned()),
    };
    let stored = DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(dirs.root())
        .and_then(|()| Ok(serde_json::to_vec(&record)?))
        .and_then(|bytes| durable::replace(&path, &bytes, 0o600));
    stored.map_err(|e| OwnUserError::Record(path.display().to_string(), e))
}

/// The ids that users of apps have had, the one that is free for the longest time first.
fn given(dirs: &AppDirs) -> Result<Vec<u32>, OwnUserError> {
    let path = dirs.user_ids();
    let read = match regular::read(path, MAX_IDS) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::from),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(e),
    };
    read.map_err(|e| OwnUserError::Record(path.display().to_string(), e))
}

fn note(dirs: &AppDirs, id: u32) -> Result<(), OwnUserError> {
    let mut had = given(dirs)?;
    ids::note(&mut had, id);
    let stored = serde_json::to_vec(&had)
        .map_err(io::Error::from)
        .and_then(|bytes| durable::replace(dirs.user_ids(), &bytes, 0o600));
    stored.map_err(|e| OwnUserError::Record(dirs.user_ids().display().to_string(), e))
}
