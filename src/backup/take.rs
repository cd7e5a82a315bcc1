//! Makes a backup. All of it blocks.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, fstat, openat, readlinkat, statat};
use serde_json::Value;

use super::copy::{BLUR, Pass};
use super::error::BackupError;
use super::manifest::{Copied, FORMAT, Manifest, NamedFiles};
use super::place;
use super::writer::Writer;
use crate::app_dirs::AppDirs;
use crate::document::name::AppName;
use crate::install::instances;
use crate::install::tree::{self, entries, open_directory};
use crate::process::stop::pause::Paused;
use crate::process::survivors;
use crate::settings::Settings;
use crate::{failpoint, regular};

/// Below the data directory: copies of storage while a backup is made.
pub const WORK: &str = "backup";

/// How long an application may be paused. A health check with default settings fails after that.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Passes before the one in which an application is paused, at the most.
const PASSES: usize = 3;

/// So few files are copied in no time.
const FEW: u64 = 200;

/// What stays free of the disk.
const FLOOR: u64 = 256 << 20;

/// A file of the server's own is not larger.
const LARGEST_OWN: u64 = 4 << 20;

/// Files of the server itself, below the data directory.
pub const SERVER_FILES: [&str; 4] = ["token", "tokens.json", "known_hosts", "ssh_keys.json"];
pub const CERTIFICATES: &str = "certificates";

/// Gives the code of an application that is pushed to, as a bundle of git's in a file without a name. `None`: it is
/// fetched, or nothing was pushed yet. Blocks.
pub type CodeOf = dyn Fn(&AppName) -> Result<Option<File>, String> + Send + Sync;

/// What a backup is made of.
pub struct Order {
    pub settings: std::sync::Arc<Settings>,
    /// Names and documents, in order.
    pub applications: Vec<(AppName, Value)>,
    /// With token, certificates and settings.
    pub whole: bool,
    /// Whether processes are paused while their storage is copied.
    pub pause: bool,
    pub code_of: Box<CodeOf>,
}

impl Order {
    fn dirs(&self, name: &AppName) -> AppDirs {
        AppDirs::new(&self.settings.data_dir, &self.settings.runtime_dir, name)
    }
}

/// Makes the backup and writes it to `out`. Where it fails, the last entry says why.
///
/// # Errors
/// `out` takes no more.
pub fn take(order: &Order, out: impl Write) -> Result<(), BackupError> {
    let manifest = manifest(order);
    let mut writer = Writer::new(out, &manifest).map_err(BackupError::Output)?;
    let work = order.settings.data_dir.join(WORK);
    let written = clear(&work).and_then(|()| write_all(order, &manifest, &work, &mut writer));
    let cleared = clear(&work);
    let closed = match written.and(cleared) {
        Ok(()) => writer.finish(),
        Err(BackupError::Output(error)) => return Err(BackupError::Output(error)),
        Err(error) => {
            log::error!("backup: {error}");
            writer.give_up(error.to_string())
        }
    };
    let mut out = closed.map_err(BackupError::Output)?;
    out.flush().map_err(BackupError::Output)
}

/// Removes what a backup has left, also one of an earlier server. Blocks.
///
/// # Errors
/// As `unlink(2)`.
pub fn clear(work: &Path) -> Result<(), BackupError> {
    match tree::remove(work) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(BackupError::at(work)(error)),
        _ => Ok(()),
    }
}

fn manifest(order: &Order) -> Manifest {
    let configured = &order.settings.tls.certificates;
    let pairs = configured.pairs.iter().chain(&configured.default);
    let named = pairs.map(|pair| NamedFiles {
        cert: pair.cert.display().to_string(),
        key: pair.key.display().to_string(),
    });
    Manifest {
        format: FORMAT,
        procserver: env!("CARGO_PKG_VERSION").to_owned(),
        created: jiff::Timestamp::now(),
        applications: order
            .applications
            .iter()
            .map(|(name, _)| name.to_string())
            .collect(),
        whole: order.whole,
        certificates: if order.whole {
            named.collect()
        } else {
            Vec::new()
        },
    }
}

fn write_all<W: Write>(
    order: &Order,
    manifest: &Manifest,
    work: &Path,
    writer: &mut Writer<W>,
) -> Result<(), BackupError> {
    if order.whole {
        server(order, manifest, writer)?;
    }
    directory(writer, "apps")?;
    for (name, document) in &order.applications {
        failpoint::reach("before an app is backed up");
        let mut told = Copied::of(name);
        application(order, (name, document), work, writer, &mut told)?;
        writer.end.applications.push(told);
    }
    Ok(())
}

fn directory<W: Write>(writer: &mut Writer<W>, path: &str) -> Result<(), BackupError> {
    writer
        .directory(path.as_bytes(), 0o700, 0)
        .map_err(BackupError::Output)
}

/// Writes a file of the server's own, if it is there.
fn own_file<W: Write>(
    writer: &mut Writer<W>,
    path: &Path,
    name: &str,
) -> Result<bool, BackupError> {
    let read = regular::read_nofollow(path, LARGEST_OWN).map_err(BackupError::at(path))?;
    let Some(content) = read else {
        return Ok(false);
    };
    writer.bytes(name, &content).map_err(BackupError::Output)?;
    Ok(true)
}

fn server<W: Write>(
    order: &Order,
    manifest: &Manifest,
    writer: &mut Writer<W>,
) -> Result<(), BackupError> {
    let settings = &order.settings;
    if let Some(file) = settings.file.as_deref().filter(|file| file.exists()) {
        let content = regular::read(file, LARGEST_OWN).map_err(BackupError::at(file))?;
        writer
            .bytes(place::SETTINGS, &content)
            .map_err(BackupError::Output)?;
    }
    directory(writer, "server")?;
    for name in SERVER_FILES {
        own_file(
            writer,
            &settings.data_dir.join(name),
            &format!("server/{name}"),
        )?;
    }
    let certificates = settings.data_dir.join(CERTIFICATES);
    if certificates.is_dir() {
        own_tree(writer, &certificates, &format!("server/{CERTIFICATES}"))?;
    }
    if !manifest.certificates.is_empty() {
        directory(writer, "tls")?;
    }
    for (number, named) in manifest.certificates.iter().enumerate() {
        directory(writer, &format!("tls/{number}"))?;
        for (path, name) in [(&named.cert, "cert.pem"), (&named.key, "key.pem")] {
            // Such files are links of renewal tools.
            let content = regular::read(Path::new(path), LARGEST_OWN);
            match content {
                Ok(content) => {
                    let name = format!("tls/{number}/{name}");
                    writer.bytes(&name, &content).map_err(BackupError::Output)?;
                }
                Err(error) => log::warn!("backup: {path} is left out: {error}"),
            }
        }
    }
    Ok(())
}

/// Writes a directory of the server's own: files and directories, in which nobody else writes.
fn own_tree<W: Write>(writer: &mut Writer<W>, path: &Path, name: &str) -> Result<(), BackupError> {
    directory(writer, name)?;
    let listed = std::fs::read_dir(path).map_err(BackupError::at(path))?;
    let mut inner: Vec<PathBuf> = listed
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .collect();
    inner.sort();
    for path in inner {
        let Some(last) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        let name = format!("{name}/{last}");
        let found = path.symlink_metadata().map_err(BackupError::at(&path))?;
        if found.is_dir() {
            own_tree(writer, &path, &name)?;
        } else if found.is_file() {
            own_file(writer, &path, &name)?;
        }
    }
    Ok(())
}

fn application<W: Write>(
    order: &Order,
    (name, document): (&AppName, &Value),
    work: &Path,
    writer: &mut Writer<W>,
    told: &mut Copied,
) -> Result<(), BackupError> {
    let dirs = order.dirs(name);
    let top = format!("apps/{name}");
    directory(writer, &top)?;
    let text = serde_json::to_vec_pretty(document).unwrap_or_default();
    writer
        .bytes(&format!("{top}/{}", place::DOCUMENT), &text)
        .map_err(BackupError::Output)?;
    let files = format!("{top}/{}", place::FILES);
    directory(writer, &files)?;
    if dirs.ssh().is_dir() {
        own_tree(writer, &dirs.ssh(), &format!("{files}/{}", place::SSH))?;
    }
    own_file(writer, &dirs.hook(), &format!("{files}/{}", place::HOOK))?;
    writer.flush().map_err(BackupError::Output)?;
    match (order.code_of)(name) {
        Ok(Some(bundle)) => code(writer, bundle, &format!("{files}/{}", place::CODE))?,
        Ok(None) => {}
        Err(why) => told.note(format!("its code is not in the backup: {why}")),
    }
    let storage = dirs.storage();
    if !storage.is_dir() {
        return Ok(());
    }
    let path = format!("{files}/{}", place::STORAGE);
    // What was not flushed is not seen while copies are made.
    writer.flush().map_err(BackupError::Output)?;
    let copy = work.join(name.as_str());
    make_work(work, &copy)?;
    let from = open_directory(CWD, &storage).map_err(BackupError::at(&storage))?;
    let to = open_directory(CWD, &copy).map_err(BackupError::at(&copy))?;
    enough_space(&storage, work)?;
    match order.pause {
        true => pausing(&dirs, &from, &to, told),
        false => running(&from, &to, told),
    }
    .map_err(BackupError::at(&storage))?;
    directory(writer, &path)?;
    write_tree(writer, &to, path.as_bytes(), told)?;
    drop(to);
    clear(&copy)
}

fn code<W: Write>(writer: &mut Writer<W>, mut bundle: File, name: &str) -> Result<(), BackupError> {
    let at = |error| BackupError::at(name)(error);
    let size = bundle.seek(SeekFrom::End(0)).map_err(at)?;
    bundle.rewind().map_err(at)?;
    let written = writer.file(name.as_bytes(), 0o600, 0, size, bundle);
    written.map_err(BackupError::Output)
}

fn make_work(work: &Path, copy: &Path) -> Result<(), BackupError> {
    use std::os::unix::fs::DirBuilderExt as _;
    for path in [work, copy] {
        match std::fs::DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(BackupError::at(path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Looks whether the copy fits, before the disk is full and running applications fail. Clones may need less.
fn enough_space(storage: &Path, work: &Path) -> Result<(), BackupError> {
    let needed = occupied(storage).map_err(BackupError::at(storage))?;
    let disk = rustix::fs::statvfs(work).map_err(|e| BackupError::at(work)(e.into()))?;
    let free = (disk.f_bavail * disk.f_frsize)
        .saturating_sub(FLOOR.min(disk.f_blocks * disk.f_frsize / 20));
    match free < needed && !clones(work) {
        true => Err(BackupError::NoSpace {
            path: work.to_owned(),
            free: free >> 20,
            needed: needed.div_ceil(1 << 20),
            hint: ": a backup copies the storage of one application at a time before it is packed",
        }),
        false => Ok(()),
    }
}

/// Whether the file system makes clones of files (btrfs, xfs).
fn clones(directory: &Path) -> bool {
    let pair = tempfile::tempfile_in(directory)
        .and_then(|one| Ok((one, tempfile::tempfile_in(directory)?)));
    let Ok((mut one, other)) = pair else {
        return false;
    };
    one.write_all(&[1; 4096]).is_ok() && rustix::fs::ioctl_ficlone(&other, &one).is_ok()
}

/// The bytes on the disk of all files below `path`.
fn occupied(path: &Path) -> io::Result<u64> {
    fn below(directory: &OwnedFd, depth: usize) -> io::Result<u64> {
        let mut sum = 0;
        for (name, _) in entries(directory)? {
            let Ok(stat) = statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            sum += u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory
                && depth < place::MAX_DEPTH
            {
                let inner = open_directory(directory.as_fd(), &name);
                sum += inner.map_or(Ok(0), |inner| below(&inner, depth + 1))?;
            }
        }
        Ok(sum)
    }
    below(&open_directory(CWD, path)?, 0)
}

fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Copies while the processes run, until little is left, and that while they are paused.
fn pausing(dirs: &AppDirs, from: &OwnedFd, to: &OwnedFd, told: &mut Copied) -> io::Result<()> {
    let blur = i64::try_from(BLUR.as_secs()).unwrap_or(0);
    let mut since = i64::MIN;
    for _ in 0..PASSES {
        let begun = now();
        let copied = pass(from, to, since, told, &mut || Ok(()))?;
        since = begun - blur;
        if copied <= FEW {
            break;
        }
    }
    let mut paused = Some(Paused::of(dirs, &all_instances(dirs))?);
    let begun = Instant::now();
    let mut too_long = false;
    pass(from, to, since, told, &mut || {
        if begun.elapsed() > LONGEST_PAUSE && paused.take().is_some() {
            too_long = true;
        }
        Ok(())
    })?;
    let took = begun.elapsed().min(LONGEST_PAUSE);
    drop(paused);
    told.paused_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
    if too_long {
        told.note(format!(
            "it changes more than can be copied within {LONGEST_PAUSE:?}: it ran on meanwhile, and files that belong \
             together may not fit. Stop it, back it up, start it"
        ));
    }
    Ok(())
}

/// Everything that runs for an app: its processes, and what a deploy runs.
#[must_use]
pub fn all_instances(dirs: &AppDirs) -> Vec<String> {
    let mut all = survivors::instances(dirs.runtime());
    all.extend(instances::all(dirs));
    all
}

/// Copies while the processes run. Each file that changes meanwhile is copied again, a few times.
fn running(from: &OwnedFd, to: &OwnedFd, told: &mut Copied) -> io::Result<()> {
    let mut since = i64::MIN;
    for turn in 0..PASSES {
        let begun = now();
        let copied = pass(from, to, since, told, &mut || Ok(()))?;
        // What changes in the second of its copy is copied again.
        since = begun;
        if turn > 0 && copied == 0 {
            return Ok(());
        }
    }
    told.note(
        "files changed while they were copied, and no process was paused: a database may be torn"
            .into(),
    );
    Ok(())
}

fn pass(
    from: &OwnedFd,
    to: &OwnedFd,
    since: i64,
    told: &mut Copied,
    check: &mut dyn FnMut() -> io::Result<()>,
) -> io::Result<u64> {
    let mut pass = Pass {
        since,
        check,
        told,
        copied: 0,
    };
    pass.run(from, to)?;
    Ok(pass.copied)
}

/// Writes a copy, in which nobody writes any more.
fn write_tree<W: Write>(
    writer: &mut Writer<W>,
    directory: &OwnedFd,
    path: &[u8],
    told: &mut Copied,
) -> Result<(), BackupError> {
    let at = |error: io::Error| BackupError::at(String::from_utf8_lossy(path).into_owned())(error);
    let mut inner = entries(directory).map_err(at)?;
    inner.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, _) in inner {
        let path = [path, b"/", name.to_bytes()].concat();
        write_entry(writer, directory, &name, &path, told)?;
    }
    Ok(())
}

fn write_entry<W: Write>(
    writer: &mut Writer<W>,
    directory: &OwnedFd,
    name: &CStr,
    path: &[u8],
    told: &mut Copied,
) -> Result<(), BackupError> {
    let at = |error: io::Error| BackupError::at(String::from_utf8_lossy(path).into_owned())(error);
    let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| at(e.into()))?;
    let (mode, mtime) = (
        stat.st_mode & 0o7777,
        u64::try_from(stat.st_mtime).unwrap_or(0),
    );
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            writer
                .directory(path, mode, mtime)
                .map_err(BackupError::Output)?;
            let inner = open_directory(directory.as_fd(), name).map_err(at)?;
            write_tree(writer, &inner, path, told)
        }
        FileType::Symlink => {
            let target = readlinkat(directory, name, Vec::new()).map_err(|e| at(e.into()))?;
            writer
                .link(path, target.to_bytes(), mtime)
                .map_err(BackupError::Output)
        }
        _ => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = openat(directory, name, flags, Mode::empty()).map_err(|e| at(e.into()))?;
            let size = fstat(&file).map_err(|e| at(e.into()))?.st_size;
            let size = u64::try_from(size).unwrap_or(0);
            told.files += 1;
            told.bytes += size;
            writer
                .file(path, mode, mtime, size, File::from(file))
                .map_err(BackupError::Output)
        }
    }
}
