//! A layer of directories of this machine at their own absolute paths. Install commands made them, so every step goes
//! through the descriptor of the directory that it is in, and no link is followed.

use std::collections::HashMap;
use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, SeekFrom, Stat, fstat, openat, readlinkat, seek, statat,
};
use rustix::io::Errno;

use super::blobs::Blobs;
use super::layer::{Layer, LayerWriter, Rights};
use crate::document::size;
use crate::install::tree::{entries, open_directory};

/// Directories that nest deeper are refused: each level costs a descriptor.
const MAX_DEPTH: usize = 128;

/// No engine unpacks a longer path: PATH_MAX of Linux, in bytes.
const MAX_PATH: usize = 4096;

/// How much is kept of the names of files with several; bytes. Of more, each is a file of its own.
const MAX_KNOWN: usize = 32 << 20;

/// In which a file's blocks are counted: stat(2).
const BLOCK: u64 = 512;

/// What the holes of a release's files may come to, which are zeros in an image; bytes.
const MAX_HOLES: u64 = 1 << 30;

/// What begins so removes another file from an image (OCI image specification, layer.md).
const WHITEOUT: &[u8] = b".wh.";

/// Makes a layer of the directory at `top`. `check` is asked before each entry. Sockets, pipes and devices are left out.
/// Blocks.
///
/// # Errors
/// The first entry that cannot be read, which is named; `check` says no; the store cannot be written to.
pub fn layer_of(
    blobs: &Blobs,
    top: &Path,
    check: &dyn Fn() -> io::Result<()>,
) -> io::Result<Layer> {
    let mut writer = LayerWriter::new(blobs)?;
    let opened = open_directory(CWD, top).map_err(|error| at(top, &error))?;
    writer.parents(top)?;
    let mut walk = Walk {
        writer: &mut writer,
        check,
        known: HashMap::new(),
        known_length: 0,
        holes: 0,
    };
    walk.directory(&opened, top, 0)?;
    writer.store()
}

struct Walk<'a> {
    writer: &'a mut LayerWriter,
    check: &'a dyn Fn() -> io::Result<()>,
    /// Files with several names, by device and number: the first name of each.
    known: HashMap<(u64, u64), PathBuf>,
    /// Of these names, in bytes.
    known_length: usize,
    /// Of all files, in bytes.
    holes: u64,
}

impl Walk<'_> {
    fn directory(&mut self, directory: &OwnedFd, path: &Path, depth: usize) -> io::Result<()> {
        if depth > MAX_DEPTH {
            let told = format!("directories are nested more than {MAX_DEPTH} deep");
            return Err(at(path, &io::Error::other(told)));
        }
        let stat = fstat(directory)?;
        self.writer
            .directory(path, rights(&stat, 0o1777), stat.st_mtime)?;
        let mut present = entries(directory)?;
        // The same files make the same layer, in whatever order the file system has them.
        present.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        for (name, _) in present {
            (self.check)()?;
            let entry = path.join(OsStr::from_bytes(name.to_bytes()));
            self.entry(directory, &name, &entry, depth)?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        directory: &OwnedFd,
        name: &CStr,
        path: &Path,
        depth: usize,
    ) -> io::Result<()> {
        let named = |error: io::Error| at(path, &error);
        check_name(name, path).map_err(named)?;
        let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| named(error.into()))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let inner = open_directory(directory.as_fd(), name).map_err(named)?;
                self.directory(&inner, path, depth + 1)
            }
            FileType::RegularFile => self.file(directory, name, path).map_err(named),
            FileType::Symlink => {
                let target =
                    readlinkat(directory, name, Vec::new()).map_err(|error| named(error.into()))?;
                let target = Path::new(OsStr::from_bytes(target.to_bytes()));
                let own = rights(&stat, 0o777);
                self.writer.link(path, own, stat.st_mtime, target)
            }
            _ => Ok(()),
        }
    }

    fn file(&mut self, directory: &OwnedFd, name: &CStr, path: &Path) -> io::Result<()> {
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let file = openat(directory, name, flags, Mode::empty())?;
        let stat = fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Ok(());
        }
        // Set-id bits give rights.
        let own = rights(&stat, 0o777);
        if stat.st_nlink > 1 {
            let id = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.known.get(&id) {
                return self.writer.hard_link(path, own, first);
            }
            self.known_length += path.as_os_str().len();
            if self.known_length <= MAX_KNOWN {
                self.known.insert(id, path.to_owned());
            }
        }
        let size = u64::try_from(stat.st_size).unwrap_or_default();
        // Files that the file system compresses have fewer blocks, too.
        if u64::try_from(stat.st_blocks).unwrap_or_default() < size / BLOCK {
            self.holes = self.holes.saturating_add(holes_in(&file, size)?);
        }
        if self.holes > MAX_HOLES {
            let told = format!(
                "files have holes of more than {}, which an image has as zeros",
                size::shown(MAX_HOLES)
            );
            return Err(io::Error::other(told));
        }
        let content = Checked {
            file: File::from(file),
            check: self.check,
        };
        self.writer.file(path, own, stat.st_mtime, (content, size))
    }
}

/// How much of a file of `size` bytes is holes; bytes. It is at its beginning behind this, as before (lseek(2)).
fn holes_in(file: &OwnedFd, size: u64) -> io::Result<u64> {
    let (mut at, mut holes) = (0, 0);
    while at < size {
        let data = match seek(file, SeekFrom::Data(at)) {
            // Nothing but a hole is left.
            Err(Errno::NXIO) => size,
            data => data?,
        };
        holes += data.saturating_sub(at);
        at = match data < size {
            true => seek(file, SeekFrom::Hole(data))?,
            false => size,
        };
    }
    seek(file, SeekFrom::Start(0))?;
    Ok(holes)
}

/// Refuses what no image can have.
fn check_name(name: &CStr, path: &Path) -> io::Result<()> {
    let told = if name.to_bytes().starts_with(WHITEOUT) {
        "no image can have a file whose name begins with .wh.: give it another, or name it in .slugignore".to_owned()
    } else if path.as_os_str().len() > MAX_PATH {
        format!("its path has more than {MAX_PATH} bytes")
    } else {
        return Ok(());
    };
    Err(io::Error::other(told))
}

/// A file, before each read of which is asked whether anybody still wants it: a sparse one may be of any size.
struct Checked<'a> {
    file: File,
    check: &'a dyn Fn() -> io::Result<()>,
}

impl Read for Checked<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        (self.check)()?;
        self.file.read(bytes)
    }
}

fn rights(stat: &Stat, mask: u32) -> Rights {
    Rights {
        uid: stat.st_uid,
        gid: stat.st_gid,
        mode: stat.st_mode & mask,
    }
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use nix::sys::stat::Mode as FifoMode;

    use super::super::layer::tests::entries;
    use super::*;

    fn always() -> io::Result<()> {
        Ok(())
    }

    #[test]
    fn files_links_and_directories_are_at_their_own_paths_and_nothing_is_followed() {
        let home = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(home.path().join("blobs")).unwrap();
        let top = home.path().join("release");
        fs::create_dir_all(top.join("a")).unwrap();
        fs::write(top.join("a/run"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(top.join("a/run"), fs::Permissions::from_mode(0o4755)).unwrap();
        fs::hard_link(top.join("a/run"), top.join("a/same")).unwrap();
        symlink("/etc/shadow", top.join("link")).unwrap();
        nix::unistd::mkfifo(&top.join("pipe"), FifoMode::S_IRWXU).unwrap();
        let layer = layer_of(&blobs, &top, &always).unwrap();
        assert_eq!(layer, layer_of(&blobs, &top, &always).unwrap());
        let told = entries(&blobs, &layer);
        let inner = top.strip_prefix("/").unwrap().display().to_string();
        let has = |part: &str| {
            let found = told.iter().any(|line| line.contains(part));
            assert!(found, "{part} is not in {told:#?}");
        };
        has(&format!("Regular {inner}/a/run "));
        has(" 755 #!/bin/sh");
        has(&format!("Link {inner}/a/same "));
        has(&format!("Symlink {inner}/link "));
        has("/etc/shadow");
        assert!(!told.iter().any(|line| line.contains("pipe")));
        // Who runs there may enter the directories above as here.
        let first = top.components().nth(1).unwrap().as_os_str();
        let mode = fs::metadata(Path::new("/").join(first))
            .unwrap()
            .permissions()
            .mode();
        let wanted = format!(" {:o} ", mode & 0o1777);
        assert!(
            told[0].starts_with("Directory ") && told[0].ends_with(&wanted),
            "{told:#?}"
        );
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let home = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(home.path().join("blobs")).unwrap();
        let told = layer_of(&blobs, &home.path().join("none"), &always).unwrap_err();
        assert!(told.to_string().contains("/none: "), "{told}");
        symlink("/etc", home.path().join("link")).unwrap();
        assert!(layer_of(&blobs, &home.path().join("link"), &always).is_err());
    }

    /// Why no layer is made of a release that `make` makes.
    fn refused(make: impl FnOnce(&Path)) -> String {
        let home = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(home.path().join("blobs")).unwrap();
        let top = home.path().join("release");
        fs::create_dir(&top).unwrap();
        make(&top);
        let told = layer_of(&blobs, &top, &always).unwrap_err();
        assert_eq!(fs::read_dir(home.path().join("blobs")).unwrap().count(), 0);
        told.to_string()
    }

    #[test]
    fn what_would_be_another_thing_in_an_image_is_refused() {
        let told = refused(|top| fs::write(top.join(".wh.a"), "").unwrap());
        assert!(told.contains("/.wh.a: no image can have a file"), "{told}");
        let told = refused(|top| {
            for name in ["a", "b", "c"] {
                let sparse = File::create(top.join(name)).unwrap();
                sparse.set_len(1 << 29).unwrap();
            }
        });
        assert!(told.ends_with("which an image has as zeros"), "{told}");
        let told = refused(|top| {
            let mut deep = open_directory(CWD, top).unwrap();
            let name = "d".repeat(250);
            for _ in 0..17 {
                rustix::fs::mkdirat(&deep, &name, Mode::RWXU).unwrap();
                deep = open_directory(deep.as_fd(), &*name).unwrap();
            }
        });
        assert!(
            told.ends_with("its path has more than 4096 bytes"),
            "{told}"
        );
    }

    #[test]
    fn holes_are_counted_and_data_is_not() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("sparse");
        let mut file = File::create(&path).unwrap();
        io::Write::write_all(&mut file, &[1; 1 << 16]).unwrap();
        file.set_len(1 << 20).unwrap();
        let mut file: File = holes_of(&path, (1 << 20) - (1 << 16));
        let mut first = [0; 1];
        file.read_exact(&mut first).unwrap();
        assert_eq!(first, [1]);
    }

    /// The file that has holes of so many bytes.
    fn holes_of(path: &Path, wanted: u64) -> File {
        let file = OwnedFd::from(File::open(path).unwrap());
        let size = fs::metadata(path).unwrap().len();
        assert_eq!(holes_in(&file, size).unwrap(), wanted);
        file.into()
    }

    #[test]
    fn it_ends_when_nobody_wants_it_any_more() {
        let home = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(home.path().join("blobs")).unwrap();
        fs::create_dir(home.path().join("a")).unwrap();
        let no = || Err(io::Error::other("cancelled"));
        let told = layer_of(&blobs, home.path(), &no).unwrap_err();
        assert_eq!(told.to_string(), "cancelled");
        assert_eq!(fs::read_dir(home.path().join("blobs")).unwrap().count(), 0);
    }

    #[test]
    fn it_ends_within_a_file_that_has_no_end() {
        let home = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(home.path().join("blobs")).unwrap();
        let sparse = File::create(home.path().join("sparse")).unwrap();
        sparse.set_len(1 << 29).unwrap();
        let asked = std::cell::Cell::new(0);
        let soon_no = || {
            asked.set(asked.get() + 1);
            match asked.get() {
                100 => Err(io::Error::other("cancelled")),
                _ => Ok(()),
            }
        };
        let told = layer_of(&blobs, home.path(), &soon_no).unwrap_err();
        assert!(told.to_string().ends_with("/sparse: cancelled"), "{told}");
    }
}
