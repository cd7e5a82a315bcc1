//! [`Compressed`]: static files in gzip, each compressed once for all workers.
//!
//! Only a file without a coded one beside it comes here. Files of a release do not change, so the result is good for as
//! long as there is room for it. brotli is not made here: browsers take it over TLS only, and a site that wants it puts
//! `x.br` beside `x`.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, Metadata};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::sync::{Arc, Mutex, MutexGuard};

use actix_web::web::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::sync::{OnceCell, Semaphore};

/// Bytes of a file that is compressed. A smaller one fits into one packet anyway. A larger one would keep a processor
/// busy for long, and a few would take all room.
const SMALLEST: u64 = 1024;
const LARGEST: u64 = 8 << 20;

/// Bytes that are kept of all files, and those that a file takes beside its own.
const ROOM: usize = 32 << 20;
const OVERHEAD: usize = 512;

/// Files that are compressed at once. A request for one more meanwhile gets the plain file.
const AT_ONCE: usize = 4;

/// Bytes read at once.
const BLOCK: usize = 64 * 1024;

/// A file as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Version {
    file: (u64, u64),
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Version {
    #[must_use]
    pub fn of(about: &Metadata) -> Self {
        Self {
            file: (about.dev(), about.ino()),
            length: about.len(),
            modified: (about.mtime(), about.mtime_nsec()),
            // A tool may set the time of modification to what it was, but not this one.
            changed: (about.ctime(), about.ctime_nsec()),
        }
    }
}

/// Whether a file of this type and size is worth compressing: text that is neither tiny nor huge.
#[must_use]
pub fn is_worth(media_type: &str, length: u64) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    let is_text = essence.starts_with("text/")
        || essence.ends_with("+json")
        || essence.ends_with("+xml")
        || TEXTS.contains(&essence);
    is_text && (SMALLEST..=LARGEST).contains(&length)
}

/// Media types of text and other formats that are not compressed by themselves.
const TEXTS: [&str; 12] = [
    "application/ecmascript",
    "application/javascript",
    "application/json",
    "application/rtf",
    "application/sql",
    "application/vnd.ms-fontobject",
    "application/wasm",
    "application/x-javascript",
    "application/xml",
    "font/otf",
    "font/ttf",
    "image/bmp",
];

/// A file in gzip, or `None` if that is not much shorter.
type Made = Option<Bytes>;

/// Compresses files and keeps the results. Clones share them.
#[derive(Clone, Debug)]
pub struct Compressed {
    kept: Arc<Mutex<Kept>>,
    at_work: Arc<Semaphore>,
}

impl Default for Compressed {
    fn default() -> Self {
        Self {
            kept: Arc::new(Mutex::new(Kept::new(ROOM))),
            at_work: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }
}

impl Compressed {
    /// Resolves to `file`, which is of this version, in gzip, or to `None` if it is to be sent as it is. All who ask
    /// while it is made wait for it.
    pub async fn gzip(&self, file: File, version: Version) -> Made {
        let place = self.kept().place(version);
        if let Some(made) = place.get() {
            return made.clone();
        }
        // On a task of its own, so that a client that leaves does not have it made once more for the next.
        let compressed = self.clone();
        let work = actix_rt::spawn(async move {
            let made = place.get_or_try_init(|| compressed.make(file, version));
            let made = made.await.ok()?.clone();
            compressed.kept().holds(version, &made);
            made
        });
        work.await.ok().flatten()
    }

    async fn make(&self, file: File, version: Version) -> io::Result<Made> {
        let busy = |_| io::Error::from(io::ErrorKind::WouldBlock);
        let permit = Arc::clone(&self.at_work).try_acquire_owned();
        let permit = permit.map_err(busy)?;
        let work = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            compress(&file, version)
        });
        work.await.map_err(io::Error::other)?
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(|e| e.into_inner())
    }
}

fn compress(file: &File, version: Version) -> io::Result<Made> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let (mut block, mut at) = (vec![0; BLOCK], 0);
    while at <= version.length {
        let count = file.read_at(&mut block, at)?;
        if count == 0 {
            break;
        }
        encoder.write_all(&block[..count])?;
        at += count as u64;
    }
    let mut made = encoder.finish()?;
    if at != version.length || Version::of(&file.metadata()?) != version {
        return Err(io::Error::other("it changed"));
    }
    made.shrink_to_fit();
    let is_shorter = (made.len() as u64) < version.length / 10 * 9;
    Ok(is_shorter.then(|| made.into()))
}

/// The results by file, also those that are being made. The one that was asked for longest ago goes where there is no
/// room.
#[derive(Debug)]
struct Kept {
    room: usize,
    taken: usize,
    files: HashMap<Version, Entry>,
    by_use: BTreeMap<u64, Version>,
    uses: u64,
}

#[derive(Debug)]
struct Entry {
    place: Arc<OnceCell<Made>>,
    /// Its key in the order of use.
    used: u64,
    size: usize,
}

impl Kept {
    fn new(room: usize) -> Self {
        Self {
            room,
            taken: 0,
            files: HashMap::new(),
            by_use: BTreeMap::new(),
            uses: 0,
        }
    }

    /// Returns the place of a file, and makes one if there is none.
    fn place(&mut self, version: Version) -> Arc<OnceCell<Made>> {
        self.uses += 1;
        let used = self.uses;
        let entry = self.files.entry(version).or_insert_with(|| Entry {
            place: Arc::default(),
            used,
            size: 0,
        });
        self.by_use
            .remove(&std::mem::replace(&mut entry.used, used));
        self.by_use.insert(used, version);
        let place = Arc::clone(&entry.place);
        if entry.size == 0 {
            self.resize(version, OVERHEAD);
        }
        place
    }

    /// Notes the size of a result.
    fn holds(&mut self, version: Version, made: &Made) {
        self.resize(version, OVERHEAD + made.as_ref().map_or(0, Bytes::len));
    }

    fn resize(&mut self, version: Version, size: usize) {
        // The place may have gone meanwhile.
        let Some(entry) = self.files.get_mut(&version) else {
            return;
        };
        self.taken = self.taken - std::mem::replace(&mut entry.size, size) + size;
        while self.taken > self.room {
            let Some((_, oldest)) = self.by_use.pop_first() else {
                return;
            };
            let gone = self.files.remove(&oldest);
            self.taken -= gone.map_or(0, |gone| gone.size);
        }
    }
}

#[cfg(test)]
#[path = "compressed_tests.rs"]
mod tests;
