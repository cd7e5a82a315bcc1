//! What all deploying verbs do: send the call, follow the deployment, show its steps, tell how it ended.

use std::fmt;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use awc::http::Method;
use clap::Args;
use serde_json::Value;

use super::client::{Answer, Call, Client, ClientError};
use super::output::{Output, seconds};
use super::progress::Progress;
use crate::app::name::AppName;
use crate::install::record::{DeploymentRecord, DeploymentState, Failure};

/// How often the record is looked at.
const EVERY: Duration = Duration::from_millis(50);

/// How long an answer may be waited for: less than proxies between us and the server commonly allow.
const PATIENCE: Duration = Duration::from_secs(50);

/// Whether to wait.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct WaitArgs {
    /// Do not wait until it is done
    #[arg(long)]
    pub no_wait: bool,
}

impl WaitArgs {
    /// `call`, to be answered when it is done: for what need not be a deployment and so cannot be followed.
    #[must_use]
    pub fn patient(self, call: Call) -> Call {
        if self.no_wait {
            call
        } else {
            call.wait(PATIENCE)
        }
    }
}

/// A deployment that did not do what it was for.
#[derive(Debug)]
pub struct DeployFailed {
    name: AppName,
    state: DeploymentState,
    failure: Option<Failure>,
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

/// Sends `call`, which deploys the app `name`, and follows it to its end unless `wait` says not to.
///
/// # Errors
/// What the API refuses, and [`DeployFailed`].
pub async fn run(
    name: &AppName,
    call: Call,
    wait: WaitArgs,
    client: &Client,
    out: &mut Output,
) -> anyhow::Result<ExitCode> {
    let begun = Instant::now();
    let answer = client
        .send(&call)
        .await
        .map_err(|error| waited_for(name, error))?;
    let deployment = answer.location.as_deref().and_then(deployment_path);
    let Some(path) = deployment.filter(|_| !wait.no_wait) else {
        return accepted(name, &answer, out);
    };
    let record = follow(path, client, out).await?;
    if out.is_json() {
        out.json(&serde_json::to_value(&record)?)?;
    }
    if record.state != DeploymentState::Succeeded {
        let failed = DeployFailed {
            name: name.clone(),
            state: record.state,
            failure: record.failure,
        };
        return Err(failed.into());
    }
    if !out.is_json() {
        let time = seconds(begun.elapsed().as_secs_f64());
        out.line(&format!("{name}: {} in {time}", described(&record)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Changes the document of `name` by a merge patch and waits until that is done.
///
/// # Errors
/// As [`run`].
pub async fn change(
    name: &AppName,
    patch: &Value,
    wait: WaitArgs,
    client: &Client,
    out: &mut Output,
) -> anyhow::Result<ExitCode> {
    let call = Call::new(Method::PATCH, format!("/applications/{name}")).body(patch.to_string());
    run(name, wait.patient(call), wait, client, out).await
}

/// Looks at the record until it is over, showing each step.
///
/// # Errors
/// What the API refuses, and those of the output.
pub async fn follow(
    path: &str,
    client: &Client,
    out: &mut Output,
) -> anyhow::Result<DeploymentRecord> {
    let mut progress = Progress::default();
    loop {
        let record: DeploymentRecord = match client.get(path).await {
            Ok(record) => record,
            Err(error) => {
                progress.clear(out)?;
                return Err(error.into());
            }
        };
        progress.update(&record, out)?;
        if record.state.is_over() {
            return Ok(record);
        }
        actix_rt::time::sleep(EVERY).await;
    }
}

/// A deployment that failed while the API kept us waiting is shown like one that was followed.
fn waited_for(name: &AppName, error: ClientError) -> anyhow::Error {
    match error {
        ClientError::Refused(problem) if problem.failure.is_some() => DeployFailed {
            name: name.clone(),
            state: DeploymentState::Failed,
            failure: problem.failure,
        }
        .into(),
        other => other.into(),
    }
}

/// The path of a `Location` that names a deployment: only paths of the API are followed, never another host.
fn deployment_path(location: &str) -> Option<&str> {
    let path = match location.split_once("://") {
        Some((_, rest)) => &rest[rest.find('/')?..],
        None => location,
    };
    (path.starts_with("/applications/") && path.contains("/deployments/")).then_some(path)
}

/// Says that it was accepted, or was so already.
fn accepted(name: &AppName, answer: &Answer, out: &mut Output) -> anyhow::Result<ExitCode> {
    if out.is_json() {
        out.json(&answer.json())?;
    } else if answer.status == 202 {
        out.line(&format!("{name}: under way, see \"procserver ps {name}\""))?;
    } else if answer.json().get("changed") == Some(&Value::Bool(false)) {
        out.line(&format!("{name}: it is so already, nothing was done"))?;
    } else {
        let state = answer
            .json()
            .get("state")
            .and_then(Value::as_str)
            .map(str::to_owned);
        out.line(&format!("{name}: {}", state.as_deref().unwrap_or("done")))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn described(record: &DeploymentRecord) -> String {
    let release = record
        .release
        .map_or_else(|| "done".into(), |id| format!("release {id}"));
    match &record.commit {
        Some(commit) => format!("{release} at {}", commit.get(..8).unwrap_or(commit)),
        None => release,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::install::record::Step;

    #[test]
    fn only_deployments_of_the_same_server_are_followed() {
        assert_eq!(
            deployment_path("/applications/a/deployments/1"),
            Some("/applications/a/deployments/1")
        );
        assert_eq!(
            deployment_path("http://h:1/applications/a/deployments/1"),
            Some("/applications/a/deployments/1")
        );
        assert_eq!(deployment_path("/applications/a"), None);
        assert_eq!(deployment_path("http://h"), None);
    }

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
