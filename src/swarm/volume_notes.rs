//! [`VolumeNotes`]: which applications may have volumes on machines of the swarm, on disk. Everything here blocks.
//!
//! No manager knows the volumes of other machines, and an application may have been on the swarm long before the oldest of
//! its releases that are kept.

use std::path::PathBuf;

use super::image::blobs::make_directory;
use crate::document::name::AppName;

/// An empty file for each application: `DATA/swarm/volumes/NAME`.
#[derive(Clone, Debug)]
pub struct VolumeNotes {
    directory: PathBuf,
}

impl VolumeNotes {
    /// # Errors
    /// Where the directory cannot be made.
    pub fn open(directory: PathBuf) -> std::io::Result<Self> {
        make_directory(&directory)?;
        Ok(Self { directory })
    }

    /// Processes of `app` may be started on the swarm from now on.
    pub fn note(&self, app: &AppName) {
        let file = self.file(app);
        if let Err(error) = std::fs::File::create(&file) {
            log::warn!("{}: {error}", file.display());
        }
    }

    #[must_use]
    pub fn has(&self, app: &AppName) -> bool {
        self.file(app).exists()
    }

    /// They are removed, or somebody was told that they are left.
    pub fn forget(&self, app: &AppName) {
        // It may not be there.
        let _gone = std::fs::remove_file(self.file(app));
    }

    fn file(&self, app: &AppName) -> PathBuf {
        self.directory.join(app.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_that_was_on_the_swarm_is_known_until_its_volumes_are_gone() {
        let home = tempfile::tempdir().unwrap();
        let notes = VolumeNotes::open(home.path().join("volumes")).unwrap();
        let app = AppName::parse("shop").unwrap();
        assert!(!notes.has(&app));
        notes.note(&app);
        notes.note(&app);
        let again = VolumeNotes::open(home.path().join("volumes")).unwrap();
        assert!(again.has(&app));
        again.forget(&app);
        assert!(!notes.has(&app));
    }
}
