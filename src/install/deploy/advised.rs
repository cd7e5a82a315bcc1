//! What can be said of a deploy that failed beyond what failed: whose files fill the disk, and the mistake that the
//! last lines of a command show.

use super::Deploy;
use crate::install::limits::StepError;
use crate::install::record::Step;
use crate::install::{advice, disk_usage, failure};

impl Deploy {
    /// Gives a failed command a better hint, if its last lines show the mistake.
    pub(super) async fn advised(&self, error: StepError) -> StepError {
        let StepError::Failed(failure) = error else {
            return error;
        };
        let mut failure = failure.named(self.spec.config.name.as_str());
        let (own, dirs, limit) = (
            failure.clone(),
            self.spec.dirs.clone(),
            self.spec.config.limits.disk,
        );
        let blamed = move || disk_usage::blame_limit(own, &dirs, limit);
        if let Ok(Some(blamed)) = tokio::task::spawn_blocking(blamed).await {
            failure = blamed;
        }
        let is_command = matches!(failure.step, Step::Install | Step::Release);
        if is_command && failure.exit_code.is_some() && !failure::disk_is_full(&failure.log_tail) {
            let lines = failure.log_tail.clone();
            let command = failure
                .reason
                .split('`')
                .nth(1)
                .unwrap_or_default()
                .to_owned();
            let directory = self.app_root();
            let looked = move || advice::of_checkout(&lines, &command, &directory);
            if let Ok(Some(hint)) = tokio::task::spawn_blocking(looked).await {
                failure.hint = Some(hint);
            }
        }
        StepError::Failed(Box::new(
            self.with_way_out(failure)
                .named(self.spec.config.name.as_str()),
        ))
    }
}
