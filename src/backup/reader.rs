//! Reads a backup, which may come from anywhere: whatever no server has written is refused by name.

use std::io::{self, Read};

use flate2::read::GzDecoder;
use tar::{Archive, EntryType};

use super::digest::{EntryDigest, Head};
use super::error::BackupError;
use super::manifest::{End, FORMAT, Manifest};
use super::place::{self, Kind, Place};

/// The longest path that is read, in bytes; more than any that can be opened (PATH_MAX).
const LONGEST_PATH: u64 = 64 << 10;

/// The largest of the files that are read into memory, in bytes: manifest, documents, end.
pub const LARGEST_TEXT: u64 = 4 << 20;

/// An entry, and its content to be read.
pub struct Entry<'a> {
    pub place: Place,
    pub head: &'a Head,
    pub content: &'a mut dyn Read,
}

/// What is in a whole backup.
#[derive(Clone, Debug)]
pub struct Contents {
    pub manifest: Manifest,
    pub end: End,
}

/// Reads all entries and calls `take` with each but the first and the last. Each one's directory came before it, and is
/// the last that was begun and not left. What `take` leaves of a content is read here.
///
/// # Errors
/// [`BackupError::Damaged`] may come at the very end, when `take` has seen all of it.
pub fn walk(
    input: impl Read,
    mut take: impl FnMut(&Manifest, Entry<'_>) -> Result<(), BackupError>,
) -> Result<Contents, BackupError> {
    let mut archive = Archive::new(GzDecoder::new(input));
    let mut state = Walk::default();
    let mut end: Option<End> = None;
    for entry in archive.entries().map_err(damaged)?.raw(true) {
        let mut entry = entry.map_err(damaged)?;
        if end.is_some() {
            return Err(BackupError::Damaged("something follows its end".into()));
        }
        let Some((head, place)) = state.next(&mut entry)? else {
            continue;
        };
        if place == Place::End {
            end = Some(serde_json::from_slice(&text(&mut entry)?).map_err(|e| damaged(e.into()))?);
            continue;
        }
        state.digest.begin(&head);
        let mut content = Counted {
            inner: &mut entry,
            digest: &mut state.digest,
            left: head.size,
        };
        match (&state.manifest, &place) {
            (None, Place::Manifest) => state.manifest = Some(manifest(&mut content)?),
            (Some(manifest), place) if *place != Place::Manifest => take(
                manifest,
                Entry {
                    place: place.clone(),
                    head: &head,
                    content: &mut content,
                },
            )?,
            _ => {
                return Err(refused(
                    &head.path,
                    "is not where a manifest belongs".into(),
                ));
            }
        }
        io::copy(&mut content, &mut io::sink()).map_err(damaged)?;
        if content.left > 0 {
            return Err(BackupError::Damaged("it ends within a file".into()));
        }
    }
    // The checksum of gzip comes after the last byte.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(damaged)?;
    let (Some(manifest), Some(end)) = (state.manifest, end) else {
        return Err(BackupError::Damaged("it has no end: it was cut off".into()));
    };
    match &end.failed {
        Some(why) => Err(BackupError::Damaged(format!(
            "the server could not finish it: {why}"
        ))),
        None if end.sha256 != state.digest.so_far() => Err(BackupError::Damaged(
            "its content is not what its checksum says".into(),
        )),
        None => Ok(Contents { manifest, end }),
    }
}

#[derive(Default)]
struct Walk {
    digest: EntryDigest,
    manifest: Option<Manifest>,
    /// Of the next entry, where they are too long for its header.
    long_path: Option<Vec<u8>>,
    long_target: Option<Vec<u8>>,
    /// The names of the directory that the last entry is, or is in.
    directory: Vec<Vec<u8>>,
}

impl Walk {
    /// Reads the head of an entry; `None`: it is the name of the next one.
    fn next<R: Read>(
        &mut self,
        entry: &mut tar::Entry<'_, R>,
    ) -> Result<Option<(Head, Place)>, BackupError> {
        let kind = match entry.header().entry_type() {
            EntryType::GNULongName => {
                self.long_path = Some(name(entry)?);
                return Ok(None);
            }
            EntryType::GNULongLink => {
                self.long_target = Some(name(entry)?);
                return Ok(None);
            }
            EntryType::Regular => Kind::File,
            EntryType::Directory => Kind::Directory,
            EntryType::Symlink => Kind::Link,
            other => {
                let path = entry.path_bytes().into_owned();
                let why =
                    format!("is neither a file, nor a directory, nor a symbolic link ({other:?})");
                return Err(refused(&path, why));
            }
        };
        let header = entry.header();
        let path = self
            .long_path
            .take()
            .unwrap_or_else(|| entry.path_bytes().into_owned());
        let target = self.long_target.take();
        let target = target.or_else(|| entry.link_name_bytes().map(|t| t.into_owned()));
        let head = Head {
            kind,
            mode: header.mode().map_err(damaged)?,
            mtime: header.mtime().map_err(damaged)?,
            size: header.entry_size().map_err(damaged)?,
            target: match kind {
                Kind::Link => target.unwrap_or_default(),
                Kind::File | Kind::Directory => Vec::new(),
            },
            path,
        };
        if kind != Kind::File && head.size > 0 {
            return Err(refused(&head.path, "has a content, and is no file".into()));
        }
        let place = self.place(&head).map_err(|why| refused(&head.path, why))?;
        Ok(Some((head, place)))
    }

    fn place(&mut self, head: &Head) -> Result<Place, String> {
        let names = place::names(&head.path)?;
        let place = place::place(&names, head.kind, head.mode)?;
        let Some((_, parents)) = names.split_last() else {
            return Err("has no name".into());
        };
        // Of what follows a directory all is in it until something is outside.
        let is_in = parents.len() <= self.directory.len()
            && parents
                .iter()
                .zip(&self.directory)
                .all(|(name, is)| *name == &is[..]);
        if !is_in {
            return Err("is in a directory that does not come before it".into());
        }
        self.directory.truncate(parents.len());
        if head.kind == Kind::Directory {
            self.directory = names.iter().map(|name| name.to_vec()).collect();
        }
        Ok(place)
    }
}

fn name<R: Read>(entry: &mut tar::Entry<'_, R>) -> Result<Vec<u8>, BackupError> {
    let mut name = Vec::new();
    entry
        .take(LONGEST_PATH + 1)
        .read_to_end(&mut name)
        .map_err(damaged)?;
    if name.len() as u64 > LONGEST_PATH {
        return Err(BackupError::Refused {
            path: String::from_utf8_lossy(&name[..80]).into_owned(),
            why: "has a name that is too long".into(),
        });
    }
    // GNU ends it with a NUL.
    if name.last() == Some(&0) {
        name.pop();
    }
    Ok(name)
}

fn manifest(content: &mut dyn Read) -> Result<Manifest, BackupError> {
    /// What every format has.
    #[derive(serde::Deserialize)]
    struct Format {
        format: u32,
    }
    let text = text(content)?;
    let format: Format = serde_json::from_slice(&text).map_err(|e| damaged(e.into()))?;
    match format.format {
        1..=FORMAT => serde_json::from_slice(&text).map_err(|e| damaged(e.into())),
        newer => Err(BackupError::TooNew(newer)),
    }
}

/// Reads a small file.
///
/// # Errors
/// It is not small, or cannot be read.
pub fn text(content: &mut dyn Read) -> Result<Vec<u8>, BackupError> {
    let mut text = Vec::new();
    content
        .take(LARGEST_TEXT + 1)
        .read_to_end(&mut text)
        .map_err(damaged)?;
    match text.len() as u64 > LARGEST_TEXT {
        true => Err(BackupError::Damaged(
            "a file in it is too large for what it is".into(),
        )),
        false => Ok(text),
    }
}

pub(super) fn refused(path: &[u8], why: String) -> BackupError {
    let path = String::from_utf8_lossy(path);
    BackupError::Refused {
        path: path.chars().take(200).collect(),
        why,
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn damaged(error: io::Error) -> BackupError {
    BackupError::Damaged(error.to_string())
}

/// Passes on what it reads, adds it to the digest, and counts.
struct Counted<'a, R> {
    inner: R,
    digest: &'a mut EntryDigest,
    left: u64,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.digest.content(&buffer[..read]);
        self.left = self.left.saturating_sub(read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::super::writer::Writer;
    use super::*;

    fn sample_manifest() -> Manifest {
        Manifest {
            format: FORMAT,
            procserver: "0.1.0".into(),
            created: jiff::Timestamp::UNIX_EPOCH,
            applications: vec!["blog".into()],
            whole: false,
            certificates: vec![],
        }
    }

    fn sample() -> Vec<u8> {
        let mut writer = Writer::new(Vec::new(), &sample_manifest()).unwrap();
        for directory in [
            "apps",
            "apps/blog",
            "apps/blog/files",
            "apps/blog/files/storage",
        ] {
            writer.directory(directory.as_bytes(), 0o700, 0).unwrap();
        }
        let long = format!("apps/blog/files/storage/{}", "long-".repeat(40));
        writer
            .file(long.as_bytes(), 0o640, 7, 5, &b"hello"[..])
            .unwrap();
        let target = "t/".repeat(200);
        writer
            .link(b"apps/blog/files/storage/link", target.as_bytes(), 0)
            .unwrap();
        // Shorter than it was said to be.
        writer
            .file(b"apps/blog/files/storage/short", 0o600, 0, 4, &b"ab"[..])
            .unwrap();
        writer.finish().unwrap()
    }

    type Seen = (String, u32, Vec<u8>, Vec<u8>);

    fn read(bytes: &[u8]) -> Result<Vec<Seen>, BackupError> {
        let mut seen = Vec::new();
        walk(bytes, |_, entry| {
            let mut content = Vec::new();
            entry.content.read_to_end(&mut content).map_err(damaged)?;
            let path = String::from_utf8_lossy(&entry.head.path).into_owned();
            seen.push((path, entry.head.mode, entry.head.target.clone(), content));
            Ok(())
        })?;
        Ok(seen)
    }

    #[test]
    fn what_is_written_is_read_with_long_names_and_links() {
        let seen = read(&sample()).unwrap();
        assert_eq!(seen.len(), 7);
        assert!(seen[4].0.ends_with("long-long-") && seen[4].1 == 0o640);
        assert_eq!(seen[4].3, b"hello");
        assert_eq!(seen[5].2.len(), 400);
        assert_eq!(seen[6].3, b"ab\0\0");
    }

    #[test]
    fn a_file_that_is_cut_off_anywhere_or_changed_is_damaged() {
        let whole = sample();
        for length in (0..whole.len()).step_by(7) {
            let cut = read(&whole[..length]);
            assert!(
                matches!(cut, Err(BackupError::Damaged(_))),
                "{length}: {cut:?}"
            );
        }
        for at in 10..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 4;
            // Some bits of what is compressed mean nothing (RFC 1951): padding, codes that are not used.
            if let Ok(seen) = read(&changed) {
                assert_eq!(seen, read(&whole).unwrap(), "{at} of {}", whole.len());
            }
        }
        assert!(read(b"no backup at all").is_err());
    }

    #[test]
    fn a_backup_that_failed_says_why() {
        let writer = Writer::new(Vec::new(), &sample_manifest()).unwrap();
        let bytes = writer.give_up("the disk is full".into()).unwrap();
        let error = read(&bytes).unwrap_err().to_string();
        assert!(error.contains("the disk is full"), "{error}");
    }

    /// A tar as somebody else may make one.
    fn forged(entries: &[(&str, EntryType, u32, &str)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        let manifest = serde_json::to_vec(&sample_manifest()).unwrap();
        let mut add = |path: &str, kind: EntryType, mode: u32, content: &[u8], target: &str| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(mode);
            header.set_size(content.len() as u64);
            header.set_mtime(0);
            // The crate itself refuses such names.
            let name = &mut header.as_old_mut().name;
            name[..path.len()].copy_from_slice(path.as_bytes());
            if !target.is_empty() {
                header
                    .set_link_name(OsStr::from_bytes(target.as_bytes()))
                    .unwrap();
            }
            header.set_cksum();
            tar.append(&header, content).unwrap();
        };
        add("manifest.json", EntryType::Regular, 0o600, &manifest, "");
        for (path, kind, mode, target) in entries {
            add(path, *kind, *mode, b"", target);
        }
        tar.into_inner().unwrap().finish().unwrap()
    }

    #[test]
    fn what_no_server_writes_is_refused_by_name() {
        const TOP: (&str, EntryType, u32, &str) = ("apps", EntryType::Directory, 0o755, "");
        const BLOG: (&str, EntryType, u32, &str) = ("apps/blog", EntryType::Directory, 0o755, "");
        const FILES: (&str, EntryType, u32, &str) =
            ("apps/blog/files", EntryType::Directory, 0o755, "");
        const STORAGE: (&str, EntryType, u32, &str) =
            ("apps/blog/files/storage", EntryType::Directory, 0o755, "");
        for (path, kind, mode, target) in [
            ("/etc/passwd", EntryType::Regular, 0o644, ""),
            ("../../etc/passwd", EntryType::Regular, 0o644, ""),
            (
                "apps/blog/files/storage/../x",
                EntryType::Regular,
                0o644,
                "",
            ),
            ("apps/blog/files/storage/device", EntryType::Char, 0o644, ""),
            (
                "apps/blog/files/storage/device",
                EntryType::Block,
                0o644,
                "",
            ),
            ("apps/blog/files/storage/fifo", EntryType::Fifo, 0o644, ""),
            (
                "apps/blog/files/storage/hard",
                EntryType::Link,
                0o644,
                "/etc/shadow",
            ),
            (
                "apps/blog/files/storage/sparse",
                EntryType::GNUSparse,
                0o644,
                "",
            ),
            ("apps/blog/files/storage/su", EntryType::Regular, 0o4755, ""),
            (
                "apps/blog/files/storage/none/x",
                EntryType::Regular,
                0o644,
                "",
            ),
            ("apps/other/document.json", EntryType::Regular, 0o644, ""),
            ("server/token", EntryType::Symlink, 0o777, "/etc/shadow"),
            ("manifest.json", EntryType::Regular, 0o644, ""),
        ] {
            let bytes = forged(&[TOP, BLOG, FILES, STORAGE, (path, kind, mode, target)]);
            match read(&bytes) {
                Err(BackupError::Refused { path: named, .. }) => assert_eq!(named, path),
                other => panic!("{path} {kind:?}: {other:?}"),
            }
        }
        // A file below a link that the backup made before.
        let link = (
            "apps/blog/files/storage/link",
            EntryType::Symlink,
            0o777,
            "/etc",
        );
        let below = (
            "apps/blog/files/storage/link/passwd",
            EntryType::Regular,
            0o644,
            "",
        );
        let bytes = forged(&[TOP, BLOG, FILES, STORAGE, link, below]);
        assert!(matches!(read(&bytes), Err(BackupError::Refused { .. })));
    }

    #[test]
    fn a_newer_format_is_named() {
        let manifest = Manifest {
            format: FORMAT + 1,
            ..sample_manifest()
        };
        let bytes = Writer::new(Vec::new(), &manifest)
            .unwrap()
            .finish()
            .unwrap();
        assert!(matches!(read(&bytes), Err(BackupError::TooNew(newer)) if newer == FORMAT + 1));
    }
}
