//! Reads Procfile, `.env` and `app.json` of a checkout. A repository or a build may have put anything in their place.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

use super::app_root;
use super::built::Built;
use super::release_error::ReleaseError;
use crate::document::app_json::AppJson;
use crate::document::dotenv::Dotenv;
use crate::document::procfile::Procfile;
use crate::regular;

/// A larger Procfile or `.env` is refused; bytes.
const MAX_MANIFEST: u64 = 1024 * 1024;

/// What the files of an application say that are for the server.
#[derive(Clone, Debug)]
pub struct Manifest {
    pub procfile: Procfile,
    pub dotenv: Dotenv,
    pub app_json: AppJson,
}

impl Manifest {
    /// All warnings about them, for an application of `document`.
    #[must_use]
    pub fn warnings(&self, document: &serde_json::Value) -> Vec<String> {
        let mut warnings = self.procfile.warnings.clone();
        warnings.extend_from_slice(&self.dotenv.warnings);
        warnings.extend(self.app_json.warnings_beside(document));
        warnings
    }
}

/// Reads the files of an app of `document`, of a checkout. One with `static` files needs no Procfile, and
/// builders may have found what stands in for one. Blocks.
///
/// # Errors
/// [`ReleaseError`].
pub fn manifest_for(
    checkout: &Path,
    document: &serde_json::Value,
    built: &Built,
) -> Result<Manifest, ReleaseError> {
    app_root::check(checkout, document)?;
    let bounded = |name: &str| {
        let path = app_root::below(document, name);
        read(checkout, &path).map_err(ReleaseError::io(&checkout.join(path)))
    };
    let is_static = document.get("static").is_some_and(|s| !s.is_null());
    let stand_in = match &built.procfile {
        Some(text) => Some(Procfile::parse(text.as_bytes())?),
        None => built.is_site.then(Procfile::default),
    };
    let procfile = match bounded("Procfile")? {
        Some(text) => {
            let procfile = Procfile::parse(&text)?;
            procfile.check()?;
            procfile.taken()
        }
        None if is_static => Procfile::default(),
        None => {
            let directory = app_root::of(checkout, document);
            match (misnamed(&directory), stand_in) {
                (Some(name), _) => return Err(ReleaseError::Misnamed(name)),
                (None, Some(procfile)) => procfile,
                (None, None) => return Err(ReleaseError::NoProcfile),
            }
        }
    };
    let dotenv = match bounded(".env")? {
        Some(text) => Dotenv::parse(&text)?,
        None => Dotenv::default(),
    };
    // It is written for others, too: it never fails a deploy.
    let app_json = match bounded("app.json") {
        Ok(Some(text)) => AppJson::parse(&text),
        Ok(None) => AppJson::default(),
        Err(error) => AppJson {
            warnings: vec![format!("app.json is not used: {error}")],
            ..AppJson::default()
        },
    };
    Ok(Manifest {
        procfile,
        dotenv,
        app_json,
    })
}

/// The name of a file that was likely meant to be the Procfile.
#[must_use]
pub fn misnamed(directory: &Path) -> Option<String> {
    let entries = std::fs::read_dir(directory).ok()?.take(10_000).flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let is_meant = |name: &String| {
        name.eq_ignore_ascii_case("Procfile") || name.eq_ignore_ascii_case("Procfile.txt")
    };
    names.filter(is_meant).min()
}

/// Reads the file at this path below a checkout; `None` if there is none. Follows a link that stays in the checkout.
/// Blocks.
///
/// # Errors
/// The file cannot be read, is not regular, or is larger than 1 MiB.
pub fn read(checkout: &Path, below: &Path) -> io::Result<Option<Vec<u8>>> {
    let path = checkout.join(below);
    match open_within(checkout, below) {
        Ok(file) => regular::read_opened(file, MAX_MANIFEST).map(Some),
        Err(Errno::NOENT) if path.is_symlink() => Err(io::Error::other(
            "is a symbolic link to a file that is not there",
        )),
        Err(Errno::NOENT) => Ok(None),
        Err(Errno::XDEV) => Err(io::Error::other(
            "is a symbolic link that leads out of the checkout: what it is to hold must be in the repository",
        )),
        Err(Errno::LOOP) => Err(io::Error::other("is a symbolic link that leads nowhere")),
        // Linux before 5.6, and sandboxes that do not know it: no link is followed.
        Err(Errno::NOSYS) => regular::read_nofollow(&path, MAX_MANIFEST),
        Err(error) => Err(error.into()),
    }
}

/// Whether there is something at this path below a checkout. Blocks.
#[must_use]
pub fn has(checkout: &Path, below: &Path) -> bool {
    match open_within(checkout, below) {
        Ok(_) => true,
        Err(Errno::NOSYS) => checkout.join(below).symlink_metadata().is_ok(),
        Err(_) => false,
    }
}

/// Opens a file that is below `directory`. Does not wait for a FIFO.
fn open_within(directory: &Path, name: &Path) -> Result<File, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, directory, flags, Mode::empty())?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let way = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    Ok(openat2(root, name, flags, Mode::empty(), way)?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(home: &Path) -> Result<Manifest, ReleaseError> {
        manifest_for(home, &serde_json::Value::Null, &Built::default())
    }

    /// Why the Procfile at `home` is refused.
    fn refusal(home: &Path) -> String {
        manifest(home).unwrap_err().to_string()
    }

    #[test]
    fn a_manifest_is_a_regular_bounded_file() {
        let home = tempfile::tempdir().unwrap();
        let at = home.path().join("Procfile");
        let missing = manifest(home.path());
        assert!(matches!(missing, Err(ReleaseError::NoProcfile)));
        std::fs::write(home.path().join("procfile"), "web: x\n").unwrap();
        assert!(refusal(home.path()).contains("a file called procfile"));
        std::fs::create_dir(&at).unwrap();
        assert!(refusal(home.path()).contains("not a regular file"));
        std::fs::remove_dir(&at).unwrap();
        nix::unistd::mkfifo(&at, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(refusal(home.path()).contains("not a regular file"));
        std::fs::remove_file(&at).unwrap();
        std::fs::write(&at, vec![b'#'; 2 * 1024 * 1024]).unwrap();
        assert!(refusal(home.path()).contains("larger"));
    }

    #[test]
    fn a_link_is_followed_within_the_checkout_only() {
        let parent = tempfile::tempdir().unwrap();
        let home = parent.path().join("1");
        std::fs::create_dir_all(home.join("deploy")).unwrap();
        for file in ["1/deploy/Procfile", "outside"] {
            std::fs::write(parent.path().join(file), "web: a\n").unwrap();
        }
        let absolute = home.join("deploy/Procfile");
        for (to, word) in [
            ("deploy/Procfile", None),
            ("deploy/../deploy/Procfile", None),
            ("../outside", Some("leads out of")),
            ("../1/deploy/Procfile", Some("leads out of")),
            (absolute.to_str().unwrap(), Some("leads out of")),
            ("/proc/self/environ", Some("leads out of")),
            ("deploy", Some("not a regular file")),
            ("nothing", Some("not there")),
            ("Procfile", Some("leads nowhere")),
        ] {
            std::os::unix::fs::symlink(to, home.join("Procfile")).unwrap();
            match word {
                None => assert_eq!(manifest(&home).unwrap().procfile.entries.len(), 1, "{to}"),
                Some(word) => assert!(refusal(&home).contains(word), "{to}: {}", refusal(&home)),
            }
            std::fs::remove_file(home.join("Procfile")).unwrap();
        }
    }
}
