//! The ssh key of an app. It is made when the app's repository is first reached by ssh and kept until the app is
//! removed.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use rustix::fs::{MemfdFlags, Mode};

use super::command::{self, Program};
use super::failure;
use super::git;
use super::install_log::InstallLog;
use super::limits::{StepError, StepLimits, blocking};
use super::record::Failure;
use super::ssh::{self, Ssh};
use super::tree;
use crate::app_dirs::AppDirs;
use crate::durable;
use crate::process::lent::LentFile;
use crate::regular;

/// ssh-keygen's own names for a key of this kind, which people recognize.
const PRIVATE: &str = "id_ed25519";
const PUBLIC: &str = "id_ed25519.pub";

/// The beginning of every public key of this kind.
const KIND: &str = "ssh-ed25519 ";

/// A key has some hundred bytes.
const MAX_KEY: u64 = 16 * 1024;

/// The keys of some thousand servers.
const MAX_KNOWN: u64 = 4 * 1024 * 1024;

/// The files of ssh for the app of `dirs`.
#[must_use]
pub fn ssh(dirs: &AppDirs) -> Ssh {
    Ssh {
        key: dirs.ssh().join(PRIVATE),
        known_hosts: dirs.known_hosts().to_owned(),
    }
}

/// The private key and the keys of servers as files in memory. Only who has their descriptors can read them.
#[derive(Debug)]
pub(super) struct LentFiles {
    key: Arc<OwnedFd>,
    known_hosts: Arc<OwnedFd>,
    known: Vec<u8>,
}

impl LentFiles {
    /// Copies those of the app of `dirs`. `switches`: another user than that of this process reads them. Blocks.
    pub(super) fn open(dirs: &AppDirs, switches: bool) -> io::Result<Self> {
        let own = ssh(dirs);
        let key = regular::read_nofollow(&own.key, MAX_KEY)?.unwrap_or_default();
        let known = regular::read_nofollow(&own.known_hosts, MAX_KNOWN)?.unwrap_or_default();
        // ssh refuses a key of its own user that others may read. It does not check a key of another user.
        let mode = if switches { 0o604 } else { 0o600 };
        let known_mode = if switches { 0o606 } else { 0o600 };
        Ok(Self {
            key: in_memory("key", &key, mode)?.into(),
            known_hosts: in_memory("known_hosts", &known, known_mode)?.into(),
            known,
        })
    }

    /// The files by the variables that give their paths to ssh.
    pub(super) fn by_variable(&self) -> BTreeMap<String, LentFile> {
        let lent = |file: &Arc<OwnedFd>| LentFile::from(Arc::clone(file));
        let key = (ssh::KEY.to_owned(), lent(&self.key));
        let known_hosts = (ssh::KNOWN_HOSTS.to_owned(), lent(&self.known_hosts));
        BTreeMap::from([key, known_hosts])
    }

    /// Saves the keys of servers that ssh met for the first time. Blocks.
    pub(super) fn remember(self, dirs: &AppDirs) -> io::Result<()> {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let mut file = File::from(self.known_hosts.try_clone()?);
        let mut now = Vec::new();
        file.rewind()?;
        file.take(MAX_KNOWN).read_to_end(&mut now)?;
        let Some(added) = now.strip_prefix(&self.known[..]).filter(|a| !a.is_empty()) else {
            return Ok(());
        };
        let _turn = ONE_AT_A_TIME.lock();
        let path = dirs.known_hosts();
        let mut all = regular::read_nofollow(path, MAX_KNOWN)?.unwrap_or_default();
        let present: HashSet<Vec<u8>> = all.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
        for line in added.split(|b| *b == b'\n') {
            if !line.is_empty() && !present.contains(line) {
                all.extend_from_slice(line);
                all.push(b'\n');
            }
        }
        durable::replace(path, &all, 0o600)
    }
}

fn in_memory(name: &str, content: &[u8], mode: u32) -> io::Result<OwnedFd> {
    let file = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC)?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
    let mut file = File::from(file);
    file.write_all(content)?;
    file.rewind()?;
    Ok(file.into())
}

/// The public key, as a line for a git server. `None`: there is no key. Blocks.
#[must_use]
pub fn public(dirs: &AppDirs) -> Option<String> {
    let text = regular::read_nofollow(&dirs.ssh().join(PUBLIC), MAX_KEY).ok()??;
    let text = String::from_utf8(text).ok()?;
    let line = text.trim();
    (line.starts_with(KIND) && !line.contains('\n')).then(|| line.to_owned())
}

/// Makes a key if there is none.
///
/// # Errors
/// `ssh-keygen` is not installed or fails, the disk refuses, a limit is reached.
pub(super) async fn ensure(
    dirs: &AppDirs,
    log: &InstallLog,
    limits: &StepLimits,
) -> Result<(), StepError> {
    let own = dirs.clone();
    let found = blocking(log.step(), "cannot read the deploy key", move || {
        if !own.ssh().is_dir() {
            return Ok(KeyFiles::Nothing);
        }
        // ssh refuses a key that others may read.
        tree::directory(&own.ssh(), 0o700, None)?;
        let private = regular::read_nofollow(&own.ssh().join(PRIVATE), MAX_KEY)?;
        Ok(match private {
            Some(key) if !key.is_empty() && public(&own).is_some() => KeyFiles::Both,
            Some(key) if !key.is_empty() => KeyFiles::Private,
            _ => KeyFiles::Nothing,
        })
    })
    .await?;
    let told = match found {
        KeyFiles::Both => return Ok(()),
        KeyFiles::Private if restore_public(dirs, log, limits).await? => return Ok(()),
        KeyFiles::Private => "the deploy key is damaged: a new one is made",
        KeyFiles::Nothing => "a deploy key is made",
    };
    make(dirs, log, limits).await?;
    log.line(told).await;
    Ok(())
}

/// Gives an app without a key that of another one, if that has one. Returns whether it did. Blocks.
///
/// # Errors
/// The disk refuses.
pub fn copy(from: &AppDirs, to: &AppDirs) -> io::Result<bool> {
    let (own, other) = (to.ssh().join(PRIVATE), from.ssh().join(PRIVATE));
    let Some(key) = regular::read_nofollow(&other, MAX_KEY)? else {
        return Ok(false);
    };
    // A restore has brought its own.
    if regular::read_nofollow(&own, MAX_KEY)?.is_some_and(|key| !key.is_empty()) {
        return Ok(false);
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(to.root())?;
    tree::directory(&to.ssh(), 0o700, None)?;
    durable::replace(&own, &key, 0o600)?;
    Ok(true)
}

/// Removes the key that was [copied](copy) for an app that does not come to be, and its directory if there is nothing
/// else in that. Blocks.
///
/// # Errors
/// The disk refuses.
pub fn take_back(dirs: &AppDirs) -> io::Result<()> {
    tree::remove(&dirs.ssh())?;
    match std::fs::remove_dir(dirs.root()) {
        Err(e) if e.kind() != io::ErrorKind::DirectoryNotEmpty => Err(e),
        _ => Ok(()),
    }
}

enum KeyFiles {
    Nothing,
    Private,
    Both,
}

/// Writes the public key from the private one. `false`: that one is damaged.
async fn restore_public(
    dirs: &AppDirs,
    log: &InstallLog,
    limits: &StepLimits,
) -> Result<bool, StepError> {
    let key = dirs.ssh().join(PRIVATE).display().to_string();
    let finished = run(&["-y", "-P", "", "-f", &key], log, limits).await?;
    if !finished.succeeded() || !finished.stdout.starts_with(KIND.as_bytes()) {
        return Ok(false);
    }
    let path = dirs.ssh().join(PUBLIC);
    blocking(log.step(), "cannot write the public key", move || {
        durable::replace(&path, &finished.stdout, 0o600)
    })
    .await?;
    Ok(true)
}

async fn make(dirs: &AppDirs, log: &InstallLog, limits: &StepLimits) -> Result<(), StepError> {
    let (step, what) = (log.step(), "cannot make the deploy key");
    let (directory, new) = (dirs.ssh(), dirs.ssh().with_extension("new"));
    let fresh = new.clone();
    blocking(step, what, move || {
        tree::remove(&fresh)?;
        tree::directory(&fresh, 0o700, None)
    })
    .await?;
    let (comment, key) = (comment(dirs), new.join(PRIVATE).display().to_string());
    let arguments = ["-q", "-t", "ed25519", "-N", "", "-C", &comment, "-f", &key];
    let finished = run(&arguments, log, limits).await?;
    if !finished.succeeded() {
        let (status, tail) = (finished.status, finished.tail);
        return Err(failure::exited(step, "ssh-keygen", status, tail).into());
    }
    blocking(step, what, move || settle(&new, &directory)).await
}

/// Moves a complete pair into place, both keys in one step.
fn settle(new: &Path, directory: &Path) -> io::Result<()> {
    for half in [PRIVATE, PUBLIC] {
        File::open(new.join(half))?.sync_all()?;
    }
    durable::sync_directory(new)?;
    tree::remove(directory)?;
    std::fs::rename(new, directory)?;
    directory.parent().map_or(Ok(()), durable::sync_directory)
}

/// The comment that a git server shows beside the key.
fn comment(dirs: &AppDirs) -> String {
    let app = dirs.root().file_name().unwrap_or_default();
    let host = nix::unistd::gethostname().unwrap_or_default();
    format!(
        "procserver-{}@{}",
        app.to_string_lossy(),
        host.to_string_lossy()
    )
}

async fn run(
    arguments: &[&str],
    log: &InstallLog,
    limits: &StepLimits,
) -> Result<command::Finished, StepError> {
    let program = Program {
        name: "ssh-keygen",
        arguments: arguments.iter().map(|a| (*a).to_owned()).collect(),
        environment: git::system_environment(),
        directory: None,
        quiet: true,
        confined: None,
    };
    if !git::has(log.step(), program.name).await? {
        return Err(Failure::new(
            log.step(),
            "a repository that is reached by ssh needs ssh-keygen and ssh, which are not installed on this machine",
        )
        .hint("install them: apt-get install openssh-client, then redeploy")
        .into());
    }
    command::run(&program, log, limits).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::name::AppName;

    #[test]
    fn a_key_is_copied_to_who_has_none_and_taken_back_with_what_was_made_for_it() {
        let home = tempfile::tempdir().unwrap();
        let dirs = |name| AppDirs::new(home.path(), home.path(), &AppName::parse(name).unwrap());
        let (app, preview, restored) = (dirs("a"), dirs("a-x"), dirs("a-y"));
        assert!(!copy(&app, &preview).unwrap(), "there is none");
        assert!(!preview.root().exists());
        for (of, key) in [(&app, "key of a"), (&restored, "key of a-y")] {
            std::fs::create_dir_all(of.ssh()).unwrap();
            std::fs::write(of.ssh().join(PRIVATE), key).unwrap();
        }
        let read = |of: &AppDirs| std::fs::read_to_string(of.ssh().join(PRIVATE)).unwrap();
        assert!(copy(&app, &preview).unwrap());
        assert_eq!(read(&preview), "key of a");
        assert!(!copy(&app, &restored).unwrap());
        assert_eq!(read(&restored), "key of a-y");
        take_back(&preview).unwrap();
        assert!(!preview.root().exists());
    }

    #[test]
    fn only_a_public_key_is_shown() {
        let home = tempfile::tempdir().unwrap();
        let dirs = AppDirs::new(home.path(), home.path(), &AppName::parse("a").unwrap());
        assert_eq!(public(&dirs), None);
        std::fs::create_dir_all(dirs.ssh()).unwrap();
        let path = dirs.ssh().join(PUBLIC);
        std::fs::write(&path, "-----BEGIN OPENSSH PRIVATE KEY-----\n").unwrap();
        assert_eq!(public(&dirs), None);
        std::fs::write(&path, "ssh-ed25519 AAAA x\n").unwrap();
        assert_eq!(public(&dirs).as_deref(), Some("ssh-ed25519 AAAA x"));
    }
}
