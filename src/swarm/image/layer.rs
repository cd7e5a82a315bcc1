//! [`Layer`], and [`LayerWriter`], which makes one: a tar archive in gzip (OCI image specification, layer.md).

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use tar::{EntryType, Header};

use super::blobs::{Blobs, Writer};
use super::digest::{Digest, Hashing};

/// Somebody waits for a deploy while a layer is made; it crosses a network once for each node.
const LEVEL: Compression = Compression::fast();

/// A layer in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Of the blob.
    pub digest: Digest,
    /// Of the blob, in bytes.
    pub size: u64,
    /// Of the archive before it was compressed.
    pub diff_id: Digest,
}

/// Who owns an entry, and its permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    pub uid: u32,
    pub gid: u32,
    pub mode: u32,
}

impl Rights {
    /// Root's, which all may read.
    pub const OF_ROOT: Self = Self {
        uid: 0,
        gid: 0,
        mode: 0o644,
    };
}

type Compressed = Hashing<GzEncoder<Writer>>;

/// A layer that is being made. Dropped before [`LayerWriter::store`], nothing of it is left. All of it blocks.
pub struct LayerWriter {
    archive: tar::Builder<Compressed>,
    /// Directories above others that it has: two may be below the same.
    above: BTreeSet<PathBuf>,
}

impl LayerWriter {
    /// # Errors
    /// As [`Blobs::write`].
    pub fn new(blobs: &Blobs) -> io::Result<Self> {
        let compressed = Hashing::new(GzEncoder::new(blobs.write()?, LEVEL));
        Ok(Self {
            archive: tar::Builder::new(compressed),
            above: BTreeSet::new(),
        })
    }

    /// Adds the directories above `path` as they are on this machine: an engine makes those that are missing, and lets
    /// only root enter them.
    ///
    /// # Errors
    /// One cannot be looked at; the store cannot be written to.
    pub fn parents(&mut self, path: &Path) -> io::Result<()> {
        let above: Vec<&Path> = path.ancestors().skip(1).collect();
        for directory in above.into_iter().rev() {
            if directory.parent().is_none() || !self.above.insert(directory.to_owned()) {
                continue;
            }
            // Where the way there leads through a link, the image has a directory.
            let found = std::fs::metadata(directory)?;
            let rights = Rights {
                uid: found.uid(),
                gid: found.gid(),
                mode: found.mode() & 0o1777,
            };
            self.directory(directory, rights, found.mtime())?;
        }
        Ok(())
    }

    /// Adds a directory.
    ///
    /// # Errors
    /// The store cannot be written to.
    pub fn directory(&mut self, path: &Path, rights: Rights, mtime: i64) -> io::Result<()> {
        let mut header = header(EntryType::Directory, rights, mtime);
        self.archive
            .append_data(&mut header, below_root(path), io::empty())
    }

    /// Adds a regular file of exactly `size` bytes.
    ///
    /// # Errors
    /// `content` is shorter, or cannot be read; the store cannot be written to.
    pub fn file(
        &mut self,
        path: &Path,
        rights: Rights,
        mtime: i64,
        (content, size): (impl Read, u64),
    ) -> io::Result<()> {
        let mut header = header(EntryType::Regular, rights, mtime);
        header.set_size(size);
        let content = Exactly {
            content,
            left: size,
        };
        self.archive
            .append_data(&mut header, below_root(path), content)
    }

    /// Adds a symbolic link.
    ///
    /// # Errors
    /// The store cannot be written to.
    pub fn link(
        &mut self,
        path: &Path,
        rights: Rights,
        mtime: i64,
        target: &Path,
    ) -> io::Result<()> {
        let mut header = header(EntryType::Symlink, rights, mtime);
        self.archive
            .append_link(&mut header, below_root(path), target)
    }

    /// Adds another name of a file that the layer has.
    ///
    /// # Errors
    /// The store cannot be written to.
    pub fn hard_link(&mut self, path: &Path, rights: Rights, first: &Path) -> io::Result<()> {
        let mut header = header(EntryType::Link, rights, 0);
        self.archive
            .append_link(&mut header, below_root(path), below_root(first))
    }

    /// Stores it.
    ///
    /// # Errors
    /// As [`Writer::store`].
    pub fn store(self) -> io::Result<Layer> {
        let (encoder, diff_id, _) = self.archive.into_inner()?.finish();
        let (digest, size) = encoder.finish()?.store()?;
        Ok(Layer {
            digest,
            size,
            diff_id,
        })
    }
}

/// Makes a layer of an archive that is there. Blocks.
///
/// # Errors
/// It cannot be read, `check` says no, the store cannot be written to.
pub fn of_archive(
    blobs: &Blobs,
    archive: &mut impl Read,
    check: &dyn Fn() -> io::Result<()>,
) -> io::Result<Layer> {
    let mut compressed = Hashing::new(GzEncoder::new(blobs.write()?, LEVEL));
    let mut piece = vec![0; 1 << 18];
    loop {
        check()?;
        let read = archive.read(&mut piece)?;
        if read == 0 {
            break;
        }
        compressed.write_all(&piece[..read])?;
    }
    let (encoder, diff_id, _) = compressed.finish();
    let (digest, size) = encoder.finish()?.store()?;
    Ok(Layer {
        digest,
        size,
        diff_id,
    })
}

fn header(kind: EntryType, rights: Rights, mtime: i64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_uid(rights.uid.into());
    header.set_gid(rights.gid.into());
    header.set_mode(rights.mode);
    header.set_mtime(mtime.try_into().unwrap_or_default());
    header.set_size(0);
    header
}

/// As archives of images have it.
fn below_root(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

/// Exactly so many bytes: an archive whose file is shorter than its head says would be damaged from there on.
struct Exactly<R> {
    content: R,
    left: u64,
}

impl<R: Read> Read for Exactly<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let most = most.min(bytes.len());
        if most == 0 {
            return Ok(0);
        }
        let read = self.content.read(&mut bytes[..most])?;
        self.left -= read as u64;
        match read {
            0 => Err(io::Error::other("became shorter while it was read")),
            read => Ok(read),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use flate2::read::GzDecoder;

    use super::*;

    /// What is in a layer: kind, path, owner, mode, and content or target of each entry.
    pub(in crate::swarm::image) fn entries(blobs: &Blobs, layer: &Layer) -> Vec<String> {
        let file = blobs.read(&layer.digest).unwrap().unwrap();
        let mut archive = tar::Archive::new(GzDecoder::new(file));
        let mut told = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let (uid, gid) = (entry.header().uid().unwrap(), entry.header().gid().unwrap());
            let (mode, kind) = (entry.header().mode().unwrap(), entry.header().entry_type());
            let path = entry.path().unwrap().display().to_string();
            let target = entry.link_name().unwrap();
            let target = target.map(|t| t.display().to_string());
            let mut content = String::new();
            entry.read_to_string(&mut content).unwrap();
            let rest = target.unwrap_or(content);
            told.push(format!("{kind:?} {path} {uid}:{gid} {mode:o} {rest}"));
        }
        told
    }

    #[test]
    fn a_layer_is_named_by_what_is_sent_and_by_what_is_in_it() {
        let home = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(home.path().to_owned()).unwrap();
        let make = || {
            let mut writer = LayerWriter::new(&blobs).unwrap();
            let own = Rights {
                uid: 3_000_000,
                gid: 33,
                mode: 0o750,
            };
            writer.directory(Path::new("/srv/a"), own, 5).unwrap();
            let content = (&b"hello, and more"[..], 5);
            writer
                .file(Path::new("/srv/a/f"), Rights::OF_ROOT, 5, content)
                .unwrap();
            let name = Path::new("/srv/a").join("n".repeat(120));
            writer
                .link(&name, Rights::OF_ROOT, -1, Path::new("../t"))
                .unwrap();
            writer
                .hard_link(
                    Path::new("/srv/a/g"),
                    Rights::OF_ROOT,
                    Path::new("/srv/a/f"),
                )
                .unwrap();
            writer.store().unwrap()
        };
        let layer = make();
        assert_eq!(layer, make(), "the same files make the same layer");
        assert_eq!(
            entries(&blobs, &layer),
            [
                "Directory srv/a 3000000:33 750 ".to_owned(),
                "Regular srv/a/f 0:0 644 hello".to_owned(),
                format!("Symlink srv/a/{} 0:0 644 ../t", "n".repeat(120)),
                "Link srv/a/g 0:0 644 srv/a/f".to_owned(),
            ]
        );
        let blob = blobs.read(&layer.digest).unwrap().unwrap();
        assert_eq!(blob.metadata().unwrap().len(), layer.size);
        let mut archive = Vec::new();
        GzDecoder::new(blob).read_to_end(&mut archive).unwrap();
        assert_eq!(Digest::of(&archive), layer.diff_id);
        assert_eq!(
            of_archive(&blobs, &mut &archive[..], &|| Ok(())).unwrap(),
            layer
        );
    }

    #[test]
    fn a_file_that_became_shorter_makes_no_layer() {
        let home = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(home.path().to_owned()).unwrap();
        let mut writer = LayerWriter::new(&blobs).unwrap();
        let content = (&b"hell"[..], 5);
        let told = writer.file(Path::new("/f"), Rights::OF_ROOT, 0, content);
        assert!(told.unwrap_err().to_string().contains("shorter"));
    }

    #[test]
    fn making_a_layer_ends_when_nobody_wants_it_any_more() {
        let home = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(home.path().to_owned()).unwrap();
        let no = || Err(io::Error::other("cancelled"));
        assert!(of_archive(&blobs, &mut io::repeat(0), &no).is_err());
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
    }
}
