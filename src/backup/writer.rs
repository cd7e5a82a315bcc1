//! [`Writer`]: writes a backup, entry by entry.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, EntryType, Header};

use super::digest::{EntryDigest, Head};
use super::manifest::{End, Manifest};
use super::place::{END, Kind, MANIFEST};

/// Writes a backup to `W`.
pub struct Writer<W: Write> {
    tar: Builder<GzEncoder<W>>,
    digest: EntryDigest,
    /// How the applications were copied.
    pub end: End,
}

impl<W: Write> Writer<W> {
    /// Begins one.
    ///
    /// # Errors
    /// `out` takes no more; so with all of these.
    pub fn new(out: W, manifest: &Manifest) -> io::Result<Self> {
        let mut writer = Self {
            // Storage is mostly compressed already: pictures, databases of blobs.
            tar: Builder::new(GzEncoder::new(out, Compression::fast())),
            digest: EntryDigest::default(),
            end: End::default(),
        };
        let mut text = serde_json::to_vec_pretty(manifest)?;
        text.push(b'\n');
        writer.bytes(MANIFEST, &text)?;
        Ok(writer)
    }

    pub fn directory(&mut self, path: &[u8], mode: u32, mtime: u64) -> io::Result<()> {
        let head = head(path, Kind::Directory, mode, mtime, 0);
        self.entry(&head, io::empty())
    }

    pub fn link(&mut self, path: &[u8], target: &[u8], mtime: u64) -> io::Result<()> {
        let target = target.to_vec();
        let head = Head {
            target,
            ..head(path, Kind::Link, 0o777, mtime, 0)
        };
        self.entry(&head, io::empty())
    }

    /// A small file of the server's own.
    pub fn bytes(&mut self, path: &str, content: &[u8]) -> io::Result<()> {
        let size = content.len() as u64;
        self.entry(&head(path.as_bytes(), Kind::File, 0o600, 0, size), content)
    }

    /// A file. Of `content`, `size` bytes are taken; if it has fewer, zeros follow.
    pub fn file(
        &mut self,
        path: &[u8],
        mode: u32,
        mtime: u64,
        size: u64,
        content: impl Read,
    ) -> io::Result<()> {
        let exact = content.chain(io::repeat(0)).take(size);
        self.entry(&head(path, Kind::File, mode, mtime, size), exact)
    }

    fn entry(&mut self, head: &Head, content: impl Read) -> io::Result<()> {
        let mut header = Header::new_gnu();
        header.set_mode(head.mode);
        header.set_mtime(head.mtime);
        header.set_size(head.size);
        header.set_uid(0);
        header.set_gid(0);
        header.set_entry_type(match head.kind {
            Kind::Directory => EntryType::Directory,
            Kind::File => EntryType::Regular,
            Kind::Link => EntryType::Symlink,
        });
        self.digest.begin(head);
        let path = Path::new(OsStr::from_bytes(&head.path));
        if head.kind == Kind::Link {
            let target = Path::new(OsStr::from_bytes(&head.target));
            return self.tar.append_link(&mut header, path, target);
        }
        let counted = Digesting {
            inner: content,
            digest: &mut self.digest,
        };
        self.tar.append_data(&mut header, path, counted)
    }

    /// Lets the reader have what is there so far.
    pub fn flush(&mut self) -> io::Result<()> {
        self.tar.get_mut().flush()
    }

    /// Writes the end, which makes it a whole backup.
    pub fn finish(mut self) -> io::Result<W> {
        self.end.sha256 = self.digest.so_far();
        self.close()
    }

    /// Writes in the place of the end why there is none.
    pub fn give_up(mut self, why: String) -> io::Result<W> {
        self.end.failed = Some(why);
        self.close()
    }

    fn close(mut self) -> io::Result<W> {
        let end = serde_json::to_vec(&self.end)?;
        self.bytes(END, &end)?;
        self.tar.into_inner()?.finish()
    }
}

fn head(path: &[u8], kind: Kind, mode: u32, mtime: u64, size: u64) -> Head {
    Head {
        path: path.to_vec(),
        kind,
        mode,
        mtime,
        size,
        target: Vec::new(),
    }
}

/// Passes on what it reads, and adds it to the digest.
struct Digesting<'a, R> {
    inner: R,
    digest: &'a mut EntryDigest,
}

impl<R: Read> Read for Digesting<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.digest.content(&buffer[..read]);
        Ok(read)
    }
}
