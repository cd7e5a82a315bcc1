//! What of a backup is the server's own: put aside by a restore, and put in place at the next start, before anything has
//! read it. All of it blocks.

use std::io;
use std::path::{Path, PathBuf};

use super::error::BackupError;
use super::place::SETTINGS;
use super::restore::{Plan, Work};
use super::take::{CERTIFICATES, SERVER_FILES};
use crate::install::tree;
use crate::settings::Settings;
use crate::settings::raw::RawSettings;
use crate::{durable, failpoint, regular};

/// Below the data directory: what the next start puts in place.
const PENDING: &str = "restored-server";

/// Below the data directory: what a person is to look at.
const ASIDE: &str = "restored";

/// What became of the server's own part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placed {
    /// Sentences for people.
    pub notes: Vec<String>,
    /// Whether the next start puts something in place.
    pub needs_restart: bool,
}

/// Installs settings where there are none, puts the rest aside. Can be repeated.
///
/// # Errors
/// As the file system says.
pub fn put_aside(work: &Work, plan: &Plan, settings: &Settings) -> Result<Placed, BackupError> {
    let mut placed = Placed::default();
    if !plan.whole {
        return Ok(placed);
    }
    let data = &settings.data_dir;
    let (from, pending) = (work.tree().join("server"), data.join(PENDING));
    if from.is_dir() {
        clear(&pending)?;
        std::fs::rename(&from, &pending).map_err(BackupError::at(&pending))?;
        durable::sync_directory(data).map_err(BackupError::at(data))?;
    }
    if pending.is_dir() {
        placed.needs_restart = true;
        placed.notes.push(
            "token and certificates of the backup count from the next start on: systemctl restart procserver".into(),
        );
    }
    let tls = work.tree().join("tls");
    if tls.is_dir() {
        let kept = aside(data)?.join("tls");
        clear(&kept)?;
        std::fs::rename(&tls, &kept).map_err(BackupError::at(&kept))?;
        for (number, named) in plan.certificates.iter().enumerate() {
            let own = kept.join(number.to_string());
            placed.notes.push(format!(
                "the certificate {} and its key {} are kept in {}: copy them there if the settings name them",
                named.cert,
                named.key,
                own.display()
            ));
        }
    }
    placed.notes.extend(own_settings(work, settings)?);
    Ok(placed)
}

fn own_settings(work: &Work, settings: &Settings) -> Result<Option<String>, BackupError> {
    let staged = work.tree().join(SETTINGS);
    let Some(file) = &settings.file else {
        return Ok(None);
    };
    let read = |path: &Path| regular::read_nofollow(path, 4 << 20).map_err(BackupError::at(path));
    let Some(text) = read(&staged)? else {
        return Ok(None);
    };
    let is_there = regular::read(file, 4 << 20);
    let why_not = match &is_there {
        Ok(present) if *present == text => {
            return Ok(Some(format!(
                "the settings {} are the same",
                file.display()
            )));
        }
        Ok(_) => Some("are others, and stay".to_owned()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Some(format!("cannot be read ({error})"))
        }
        // A server with these would not start.
        Err(_) => Settings::load(RawSettings::default(), Some(&staged))
            .err()
            .map(|error| {
                format!(
                    "are not made, since no server starts with those of the backup yet ({error})"
                )
            }),
    };
    if let Some(why) = why_not {
        let kept = aside(&settings.data_dir)?.join("procserver.toml");
        durable::replace(&kept, &text, 0o600).map_err(BackupError::at(&kept))?;
        let (file, kept) = (file.display(), kept.display());
        return Ok(Some(format!(
            "the settings {file} {why}; those of the backup are in {kept}: diff {file} {kept}"
        )));
    }
    if let Some(parent) = file.parent() {
        std::fs::create_dir_all(parent).map_err(BackupError::at(parent))?;
    }
    durable::replace(file, &text, 0o600).map_err(BackupError::at(file))?;
    Ok(Some(format!(
        "the settings {} are made, and count from the next start on",
        file.display()
    )))
}

fn aside(data: &Path) -> Result<PathBuf, BackupError> {
    use std::os::unix::fs::DirBuilderExt as _;
    let path = data.join(ASIDE);
    match std::fs::DirBuilder::new().mode(0o700).create(&path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(BackupError::at(path)(error))
        }
        _ => Ok(path),
    }
}

fn clear(path: &Path) -> Result<(), BackupError> {
    match tree::remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(BackupError::at(path)(error)),
        _ => Ok(()),
    }
}

/// Puts in place what a restore has put aside. To be called at the start, before anything of it is read. Each file comes by
/// one rename, and what has come is not there any more the next time. Certificates that are there stay.
///
/// # Errors
/// As the file system says.
pub fn put_in_place(data: &Path) -> Result<(), BackupError> {
    let pending = data.join(PENDING);
    if !pending.is_dir() {
        return Ok(());
    }
    for name in SERVER_FILES {
        let (from, to) = (pending.join(name), data.join(name));
        failpoint::reach_file("before placing", &to);
        match std::fs::rename(&from, &to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(BackupError::at(to)(error));
            }
            Err(_) => {}
            Ok(()) => log::info!("{} is restored", to.display()),
        }
    }
    merge(&pending.join(CERTIFICATES), &data.join(CERTIFICATES))?;
    durable::sync_directory(data).map_err(BackupError::at(data))?;
    clear(&pending)
}

/// Moves what is in `from` to `to` unless something of that name is there. Files of a directory belong together only at the
/// lowest level: a certificate and its key.
fn merge(from: &Path, to: &Path) -> Result<(), BackupError> {
    if !from.is_dir() {
        return Ok(());
    }
    if !to.exists() {
        return std::fs::rename(from, to).map_err(BackupError::at(to));
    }
    let holds_files = |path: &Path| {
        let mut entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        entries.any(|entry| entry.file_name() == "cert.pem")
    };
    if !to.is_dir() || holds_files(to) {
        return Ok(());
    }
    for entry in std::fs::read_dir(from).map_err(BackupError::at(from))? {
        let entry = entry.map_err(BackupError::at(from))?;
        let (inner, there) = (entry.path(), to.join(entry.file_name()));
        match there.exists() {
            true if inner.is_dir() => merge(&inner, &there)?,
            true => {}
            false => std::fs::rename(&inner, &there).map_err(BackupError::at(&there))?,
        }
    }
    durable::sync_directory(to).map_err(BackupError::at(to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_that_are_there_stay_and_others_come() {
        let home = tempfile::tempdir().unwrap();
        let data = home.path();
        let make = |path: &str, text: &str| {
            let path = data.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        make("token", "new");
        make("certificates/ca/a.b/cert.pem", "own");
        make("certificates/ca/account.json", "own");
        make("restored-server/token", "old");
        make("restored-server/certificates/ca/a.b/cert.pem", "old");
        make("restored-server/certificates/ca/c.d/cert.pem", "old");
        make("restored-server/certificates/ca/account.json", "old");
        put_in_place(data).unwrap();
        let read = |path: &str| std::fs::read_to_string(data.join(path)).unwrap();
        assert_eq!(read("token"), "old");
        assert_eq!(read("certificates/ca/a.b/cert.pem"), "own");
        assert_eq!(read("certificates/ca/c.d/cert.pem"), "old");
        assert_eq!(read("certificates/ca/account.json"), "own");
        assert!(!data.join("restored-server").exists());
        put_in_place(data).unwrap();
    }
}
