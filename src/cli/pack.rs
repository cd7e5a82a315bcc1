//! Packs a directory for `procserver deploy`: what git would take of it, and `.slugignore` leaves.

use std::fs::{File, Metadata};
use std::io::{self, BufWriter, Seek as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use flate2::Compression;
use flate2::write::GzEncoder;
use ignore::WalkBuilder;
use tar::{Builder, EntryType, Header};

use crate::regular;

/// Names files that are not deployed, as `.gitignore` names those that git does not take.
pub const SLUGIGNORE: &str = ".slugignore";

/// A directory in a file.
#[derive(Debug)]
pub struct Packed {
    /// Without a name.
    pub file: File,
    /// Bytes of it.
    pub size: u64,
    pub files: u64,
    /// Bytes of what is in it.
    pub unpacked: u64,
    /// What was left out because it is no file, directory or link.
    pub left_out: Vec<String>,
}

/// Packs `directory`, and tells `progress` how many files and bytes are in it by now.
///
/// # Errors
/// Something in it cannot be read.
pub fn pack(directory: &Path, mut progress: impl FnMut(u64, u64)) -> anyhow::Result<Packed> {
    let to = BufWriter::new(tempfile::tempfile()?);
    let mut tar = Builder::new(GzEncoder::new(to, Compression::fast()));
    let (mut files, mut unpacked, mut left_out) = (0, 0, Vec::new());
    let mut walk = WalkBuilder::new(directory);
    walk.standard_filters(false)
        .parents(true)
        .git_ignore(true)
        .require_git(false)
        .add_custom_ignore_filename(SLUGIGNORE)
        .filter_entry(|entry| entry.file_name() != ".git")
        .sort_by_file_name(std::ffi::OsStr::cmp);
    for entry in walk.build() {
        let entry = entry?;
        let path = entry.path();
        let inside = path.strip_prefix(directory)?;
        let about = path
            .symlink_metadata()
            .with_context(|| path.display().to_string())?;
        if inside.as_os_str().is_empty() || about.is_dir() {
            continue;
        }
        if !about.is_file() && !about.is_symlink() {
            left_out.push(inside.display().to_string());
            continue;
        }
        let added = add(&mut tar, path, inside, &about);
        unpacked += added.with_context(|| path.display().to_string())?;
        files += 1;
        progress(files, unpacked);
    }
    let to = tar.into_inner()?.finish()?;
    let mut file = to.into_inner().map_err(io::IntoInnerError::into_error)?;
    let size = file.stream_position()?;
    file.rewind()?;
    Ok(Packed {
        file,
        size,
        files,
        unpacked,
        left_out,
    })
}

fn add<W: io::Write>(
    tar: &mut Builder<W>,
    path: &Path,
    inside: &Path,
    about: &Metadata,
) -> anyhow::Result<u64> {
    let mut header = Header::new_gnu();
    header.set_mtime(u64::try_from(about.mtime()).unwrap_or(0));
    if about.is_symlink() {
        header.set_entry_type(EntryType::Symlink);
        header.set_mode(0o777);
        header.set_size(0);
        tar.append_link(&mut header, inside, std::fs::read_link(path)?)?;
        return Ok(0);
    }
    let size = about.len();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(if about.mode() & 0o100 != 0 {
        0o755
    } else {
        0o644
    });
    header.set_size(size);
    let file = regular::open(path)?;
    let mut content = Counted {
        inner: io::Read::take(file, size),
        read: 0,
    };
    tar.append_data(&mut header, inside, &mut content)?;
    match content.read == size {
        true => Ok(size),
        false => Err(anyhow!("became shorter while it was packed: try again")),
    }
}

struct Counted<R> {
    inner: R,
    read: u64,
}

impl<R: io::Read> io::Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.read += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use flate2::read::GzDecoder;

    use super::*;

    #[test]
    fn what_git_ignores_and_slugignore_names_stays_here() {
        let home = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = home.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        for (name, text) in [
            (".gitignore", "*.log\n/build\n"),
            (".slugignore", "docs\n*.psd\n"),
            (".ignore", "kept\n"),
            (".hidden", "x"),
            (".git/config", "x"),
            ("sub/.git/config", "x"),
            ("a.log", "x"),
            ("build/x", "x"),
            ("docs/x", "x"),
            ("sub/x.psd", "x"),
            ("sub/run", "#!/bin/sh\n"),
            ("kept", "x"),
        ] {
            write(name, text);
        }
        let run = home.path().join("sub/run");
        std::fs::set_permissions(&run, std::fs::Permissions::from_mode(0o755)).unwrap();
        symlink("sub/run", home.path().join("link")).unwrap();
        let long = "long-".repeat(40);
        write(&format!("{long}/{long}"), "x");
        nix::unistd::mkfifo(&home.path().join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let packed = pack(home.path(), |_, _| {}).unwrap();
        assert_eq!(packed.left_out, ["fifo"]);
        let mut archive = tar::Archive::new(GzDecoder::new(packed.file));
        let names: Vec<(String, u32)> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let path = entry.path().unwrap().display().to_string();
                (path, entry.header().mode().unwrap())
            })
            .collect();
        let wanted = [
            (".gitignore".to_owned(), 0o644),
            (".hidden".to_owned(), 0o644),
            (".ignore".to_owned(), 0o644),
            (".slugignore".to_owned(), 0o644),
            ("kept".to_owned(), 0o644),
            ("link".to_owned(), 0o777),
            (format!("{long}/{long}"), 0o644),
            ("sub/run".to_owned(), 0o755),
        ];
        assert_eq!(names, wanted);
    }
}
