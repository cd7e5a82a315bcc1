//! [`Scratch`]: the demo's temporary directory.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Context;
use tempfile::TempDir;

/// The demo's temporary directory.
#[derive(Debug)]
pub struct Scratch {
    directory: TempDir,
}

impl Scratch {
    /// Makes it. Others may look in: the app runs as another user when we are root.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn new() -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("procserver-demo-")
            .permissions(Permissions::from_mode(0o755))
            .tempdir()
            .context("cannot make a temporary directory: set TMPDIR to one that is writable")?;
        // The umask may have taken bits away.
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755))?;
        Ok(Self { directory })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Copies this program into it, since the app's user may not reach where it is (`/root`, a home), and says where.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn copy_program(&self) -> anyhow::Result<String> {
        let copy = self.path().join("procserver");
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        fs::copy(&program, &copy)
            .with_context(|| format!("cannot copy {} to {}", program.display(), copy.display()))?;
        fs::set_permissions(&copy, Permissions::from_mode(0o755))?;
        copy.into_os_string().into_string().map_err(|path| {
            anyhow::anyhow!(
                "{} is not UTF-8: set TMPDIR to another directory",
                path.display()
            )
        })
    }

    /// Removes it with all that is in it.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn remove(self) -> anyhow::Result<()> {
        let path = self.path().to_owned();
        if fs::remove_dir_all(&path).is_err() {
            // Releases are read-only, which keeps anyone but root from removing them.
            make_writable(&path);
            fs::remove_dir_all(&path)
                .with_context(|| format!("cannot remove {}", path.display()))?;
        }
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        make_writable(self.directory.path());
    }
}

/// Gives the owner write access to all directories below `directory`, never through a link.
fn make_writable(directory: &Path) {
    let _ = fs::set_permissions(directory, Permissions::from_mode(0o755));
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            make_writable(&entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_only_directories_are_removed_too() {
        let scratch = Scratch::new().unwrap();
        let path = scratch.path().to_owned();
        let inner = path.join("a/b");
        fs::create_dir_all(&inner).unwrap();
        fs::write(inner.join("f"), "").unwrap();
        fs::set_permissions(&inner, Permissions::from_mode(0o555)).unwrap();
        scratch.remove().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn the_copy_can_be_run_by_all() {
        let scratch = Scratch::new().unwrap();
        let copy = scratch.copy_program().unwrap();
        assert_eq!(
            fs::metadata(copy).unwrap().permissions().mode() & 0o777,
            0o755
        );
    }
}
