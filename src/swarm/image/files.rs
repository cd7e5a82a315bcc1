//! A layer of directories of this machine at their own absolute paths. Install commands made them, so every step goes
//! through the descriptor of the directory that it is in, and no link is followed.

use std::collections::HashMap;
use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat};

use super::blobs::Blobs;
use super::layer::{Layer, LayerWriter, Rights};
use crate::install::tree::{entries, open_directory};

/// Directories that nest deeper are refused: each level costs a descriptor.
const MAX_DEPTH: usize = 128;

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
    };
    walk.directory(&opened, top, 0)?;
    writer.store()
}

struct Walk<'a> {
    writer: &'a mut LayerWriter,
    check: &'a dyn Fn() -> io::Result<()>,
    /// Files with several names, by device and number: the first name of each.
    known: HashMap<(u64, u64), PathBuf>,
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
            self.known.insert(id, path.to_owned());
        }
        let size = u64::try_from(stat.st_size).unwrap_or_default();
        let content = Checked {
            file: File::from(file),
            check: self.check,
        };
        self.writer.file(path, own, stat.st_mtime, (content, size))
    }
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
        sparse.set_len(1 << 40).unwrap();
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
