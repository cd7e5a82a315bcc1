//! [`HalfMade`]: nothing is left of a deploy that fails.

use crate::app_dirs::AppDirs;
use crate::install::release;
use crate::install::spec::InstallSpec;

/// The directory of an unfinished release: removed when this is dropped, unless it is kept.
pub(super) struct HalfMade {
    dirs: AppDirs,
    id: u64,
    over: bool,
}

impl HalfMade {
    pub(super) fn new(spec: &InstallSpec) -> Self {
        Self {
            dirs: spec.dirs.clone(),
            id: spec.release,
            over: false,
        }
    }

    pub(super) fn keep(mut self) {
        self.over = true;
    }

    pub(super) async fn remove(mut self) {
        let (dirs, id) = (self.dirs.clone(), self.id);
        // The runtime logs a panic, and the next deploy sweeps.
        let _ = tokio::task::spawn_blocking(move || release::discard(&dirs, id)).await;
        self.over = true;
    }
}

impl Drop for HalfMade {
    fn drop(&mut self) {
        let (Ok(runtime), false) = (tokio::runtime::Handle::try_current(), self.over) else {
            return;
        };
        let (dirs, id) = (self.dirs.clone(), self.id);
        // A command that is being killed may still write. The next deploy sweeps what it adds.
        runtime.spawn_blocking(move || release::discard(&dirs, id));
    }
}
