//! Writes the last step of a deployment, its start, to the install log. The steps before it are the installer's.

use std::time::Duration;

use super::App;
use crate::install::install_log::{InstallLog, elapsed};
use crate::install::lines::Mask;
use crate::install::record::{DeploymentRecord, DeploymentState, Step};
use crate::logs::log::Append;
use crate::logs::record::Stream;

impl App {
    pub(super) fn log_start(&self, deployment: u64) {
        self.write_install_log(deployment, vec!["=== start".to_owned()]);
    }

    pub(super) fn log_end(&self, deployment: u64) {
        let records = self.deployer.deployments.records();
        if let Some(record) = records.iter().find(|r| r.id == deployment) {
            self.write_install_log(deployment, last_words(record));
        }
    }

    /// The log for the image that an operation needs, which may have no deployment. Lines are lost while it is being
    /// restarted.
    pub(super) fn image_log_of(&self, deployment: Option<u64>) -> InstallLog {
        let log = match (self.children.log.get(), deployment) {
            (Some(log), Some(deployment)) => {
                InstallLog::new(log.recipient(), deployment, Mask::new::<String>([]))
            }
            _ => InstallLog::nowhere(),
        };
        log.at(Step::Image)
    }

    fn write_install_log(&self, deployment: u64, mut lines: Vec<String>) {
        // Lines are lost while the log is being restarted: a deployment does not fail for that.
        if let (Some(log), false) = (self.children.log.get(), lines.is_empty()) {
            lines.push(String::new());
            log.do_send(Append {
                stream: Stream::Install,
                process: Step::Start.name().to_owned(),
                release: deployment,
                text: lines.join("\n").into_bytes(),
            });
        }
    }
}

/// How a start ended (pure); empty for a deployment that never started.
fn last_words(record: &DeploymentRecord) -> Vec<String> {
    let Some(start) = record.steps.iter().find(|s| s.step == Step::Start) else {
        return vec![];
    };
    match (&record.failure, record.state) {
        (Some(failure), _) => {
            let mut lines = vec![format!("=== start failed: {}", failure.reason)];
            lines.extend(failure.log_tail.iter().map(|line| format!("    | {line}")));
            lines.extend(failure.hint.iter().map(|hint| format!("    {hint}")));
            lines
        }
        (None, DeploymentState::Succeeded) => {
            let took = Duration::try_from_secs_f64(start.seconds.unwrap_or_default());
            let took = elapsed(took.unwrap_or_default());
            let release = record.release.unwrap_or_default();
            vec![
                format!("=== start done in {took}"),
                format!("=== deployment {} succeeded: release {release}", record.id),
            ]
        }
        (None, _) => vec!["=== start cancelled".to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::install::record::{Failure, StepRecord};

    fn record(state: DeploymentState, failure: Option<Failure>) -> DeploymentRecord {
        DeploymentRecord {
            id: 7,
            state,
            release: Some(3),
            commit: None,
            by: None,
            started: jiff::Timestamp::UNIX_EPOCH,
            finished: None,
            steps: vec![StepRecord {
                step: Step::Start,
                started: jiff::Timestamp::UNIX_EPOCH,
                seconds: Some(0.5),
            }],
            failure,
        }
    }

    #[test]
    fn the_end_says_how_long_it_took_or_why_not() {
        let well = last_words(&record(DeploymentState::Succeeded, None));
        assert_eq!(
            well,
            [
                "=== start done in 0.5s",
                "=== deployment 7 succeeded: release 3"
            ]
        );
        let mut failure = Failure::new(Step::Start, "it ended").hint("look");
        failure.log_tail = vec!["last".to_owned()];
        let badly = last_words(&record(DeploymentState::Failed, Some(failure)));
        assert_eq!(
            badly,
            ["=== start failed: it ended", "    | last", "    look"]
        );
        let mut early = record(DeploymentState::Cancelled, None);
        early.steps.clear();
        assert!(last_words(&early).is_empty());
    }
}
