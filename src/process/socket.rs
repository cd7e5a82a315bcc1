//! [`SocketDirectory`]: where a routed process may listen on a Unix socket instead of its port.
//!
//! `RUNTIME/s/HASH/http.sock`: short, as the kernel takes no longer path than 107 bytes (unix(7)), and in a directory
//! of the app's user that nobody else but root may enter, so that no other user answers there.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::account::Account;
use crate::router::socket_file::NAME;

/// Bytes of a path of a socket at most, without the NUL that ends it.
const LONGEST: usize = 107;

/// The directory of the socket of one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SocketDirectory(PathBuf);

impl SocketDirectory {
    /// The socket directory of an instance by its own directory, `RUNTIME/apps/NAME/INSTANCE`. `None` for other paths.
    pub(super) fn of(instance: &Path) -> Option<Self> {
        let apps = instance.parent()?.parent()?;
        let runtime = apps.parent().filter(|_| apps.ends_with("apps"))?;
        let hash = Sha256::digest(instance.as_os_str().as_bytes());
        let hash: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        Some(Self(runtime.join("s").join(hash)))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// The socket's path, `$SOCKET`.
    ///
    /// # Errors
    /// In words, when it is longer than a socket's path can be.
    pub(super) fn socket(&self) -> Result<PathBuf, String> {
        let path = self.0.join(NAME);
        match path.as_os_str().len() {
            ..=LONGEST => Ok(path),
            length => Err(format!(
                "it has no $SOCKET: {} has {length} bytes, and the path of a socket {LONGEST} at most: \
                 set a shorter `runtime_dir`",
                path.display()
            )),
        }
    }

    /// Makes it anew: what an earlier process left is gone. Blocks.
    ///
    /// # Errors
    /// Whatever the file system says, with the path.
    pub(super) fn prepare(&self, account: Option<&Account>) -> io::Result<()> {
        self.prepare_for(account)
            .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", self.0.display())))
    }

    fn prepare_for(&self, account: Option<&Account>) -> io::Result<()> {
        self.remove()?;
        if let Some(all) = self.0.parent() {
            DirBuilder::new().recursive(true).mode(0o711).create(all)?;
            // Whatever the umask is: other users pass through to their own directories.
            fs::set_permissions(all, Permissions::from_mode(0o711))?;
        }
        DirBuilder::new().mode(0o700).create(&self.0)?;
        match account {
            Some(account) => chown(&self.0, Some(account.uid), Some(account.gid)),
            None => Ok(()),
        }
    }

    /// Removes it with what is in it. Blocks.
    pub(super) fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.0) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instance_has_a_short_path_of_its_own() {
        let of = |instance: &str| SocketDirectory::of(Path::new(instance)).expect("a place");
        let one = of("/run/procserver/apps/shop/web.1-4");
        let socket = one.socket().expect("short enough");
        assert!(socket.starts_with("/run/procserver/s/"), "{socket:?}");
        assert_eq!(socket.as_os_str().len(), 44);
        assert_ne!(one, of("/run/procserver/apps/blog/web.1-4"));
        assert_eq!(SocketDirectory::of(Path::new("/run/web.1-4")), None);
        let long = format!("/{}/apps/shop/web.1-4", "r".repeat(90));
        let error = of(&long).socket().expect_err("too long");
        assert!(error.contains("set a shorter `runtime_dir`"), "{error}");
    }

    #[test]
    fn it_is_private_and_empty_each_time() {
        let runtime = tempfile::tempdir().expect("tempdir");
        let instance = runtime.path().join("apps/shop/web.1-4");
        let directory = SocketDirectory::of(&instance).expect("a place");
        for _ in 0..2 {
            directory.prepare(None).expect("prepared");
            assert_eq!(fs::read_dir(directory.path()).expect("readable").count(), 0);
            let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode();
            assert_eq!(mode(directory.path()) & 0o777, 0o700);
            assert_eq!(mode(&runtime.path().join("s")) & 0o777, 0o711);
            fs::write(directory.path().join(NAME), "left").expect("write");
        }
        directory.remove().expect("removed");
        directory.remove().expect("again");
        assert!(!directory.path().exists());
    }
}
