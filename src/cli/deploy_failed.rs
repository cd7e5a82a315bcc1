//! [`DeployFailed`]: how a deployment ended that did not do what it was for, as sentences.

use std::fmt;

use crate::document::name::AppName;
use crate::install::record::{DeploymentState, Failure};

/// A deployment that did not do what it was for.
#[derive(Debug)]
pub struct DeployFailed {
    pub name: AppName,
    pub state: DeploymentState,
    pub failure: Option<Failure>,
}

impl std::error::Error for DeployFailed {}

impl fmt::Display for DeployFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match self.state {
            DeploymentState::Superseded => {
                return write!(
                    f,
                    "the deploy of {name} never began: a newer one took its place"
                );
            }
            DeploymentState::Cancelled => return write!(f, "the deploy of {name} was cancelled"),
            DeploymentState::Interrupted => {
                return write!(
                    f,
                    "the server ended during the deploy of {name}: try \"procserver redeploy {name}\""
                );
            }
            _ => {}
        }
        let Some(failure) = &self.failure else {
            return write!(
                f,
                "the deploy of {name} failed: see \"procserver logs {name} --install\""
            );
        };
        write!(f, "the deploy of {name} failed in the step {failure}")?;
        for line in &failure.log_tail {
            write!(f, "\n  | {line}")?;
        }
        if let Some(hint) = &failure.hint {
            write!(f, "\nhint: {hint}")?;
        }
        write!(f, "\nall of it: procserver logs {name} --install")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::install::record::Step;

    #[test]
    fn a_failure_tells_step_reason_last_lines_and_hint() {
        let failed = DeployFailed {
            name: AppName::parse("a").unwrap(),
            state: DeploymentState::Failed,
            failure: Some(Failure {
                step: Step::Install,
                reason: "\"make\" ended with exit code 2".into(),
                exit_code: Some(2),
                signal: None,
                log_tail: vec!["no rule".into()],
                hint: Some("add a Makefile".into()),
            }),
        };
        let text = failed.to_string();
        for part in [
            "a failed",
            "install: \"make\"",
            "  | no rule",
            "hint: add",
            "logs a --install",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
