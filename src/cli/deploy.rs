//! What all deploying verbs do: send the call, follow the deployment, show its steps, tell how it ended.

use std::cell::Cell;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use awc::http::Method;
use clap::Args;
use serde_json::Value;

use super::changes;
use super::client::{Answer, Call, Client, ClientError};
use super::deploy_failed::DeployFailed;
use super::output::{Output, cell};
use super::progress::Progress;
use crate::amounts::took;
use crate::document::name::AppName;
use crate::install::record::{DeploymentRecord, DeploymentState};
use crate::install::upload::{FAILED, UNDERWAY};

/// The pause between two looks at the record.
const EVERY: Duration = Duration::from_millis(50);

/// The pause between two looks at an archive that is being read.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// How often a change is made anew because another came between.
const ATTEMPTS: u32 = 100;

/// RFC 9110 §15.5.13.
const PRECONDITION_FAILED: u16 = 412;

/// How long an answer may be waited for: less than proxies between us and the server commonly allow.
const PATIENCE: Duration = Duration::from_secs(50);

/// The exit code of a program that SIGINT ended, as shells tell it.
const INTERRUPTED: u8 = 130;

#[derive(Args, Clone, Copy, Debug, Default)]
pub struct WaitArgs {
    /// Do not wait until it is done
    #[arg(long)]
    pub no_wait: bool,
}

impl WaitArgs {
    /// Asks for the answer when the call is done: what is no deployment cannot be followed.
    #[must_use]
    pub fn patient(self, call: Call) -> Call {
        if self.no_wait {
            call
        } else {
            call.wait(PATIENCE)
        }
    }
}

/// Sends `call`, which deploys the app `name`, and follows it to its end unless `wait` says not to. Ctrl-C ends the
/// waiting, not the deployment, and says so.
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
    attended(name, call, wait, &[], client, out).await
}

/// Changes the document of `name` by a merge patch, waits until that is done, and says what has changed.
pub async fn change(
    name: &AppName,
    patch: &Value,
    wait: WaitArgs,
    client: &Client,
    out: &mut Output,
) -> anyhow::Result<ExitCode> {
    let path = format!("/applications/{name}");
    let document: Value = client.get(&path).await?;
    let changes = changes::told(&document, patch);
    let call = Call::new(Method::PATCH, path).body(patch.to_string());
    attended(name, wait.patient(call), wait, &changes, client, out).await
}

/// As [`change`], where `patch` is made of the document as it stands. A change that comes between is not undone: then it
/// is made anew.
pub async fn change_by(
    name: &AppName,
    patch: impl Fn(&Value) -> anyhow::Result<Value>,
    wait: WaitArgs,
    client: &Client,
    out: &mut Output,
) -> anyhow::Result<ExitCode> {
    let path = format!("/applications/{name}");
    let mut attempt = 1;
    loop {
        let seen = client.send(&Call::new(Method::GET, &path)).await?;
        let document = seen.json();
        let patch = patch(&document)?;
        let changes = changes::told(&document, &patch);
        let mut call = Call::new(Method::PATCH, &path).body(patch.to_string());
        call.if_match = seen.etag;
        let done = attended(name, wait.patient(call), wait, &changes, client, out).await;
        match done {
            Err(error) if is_of_another_state(&error) && attempt < ATTEMPTS => attempt += 1,
            done => return done,
        }
    }
}

/// Whether somebody else has changed the document meanwhile.
fn is_of_another_state(error: &anyhow::Error) -> bool {
    let refused = error.downcast_ref();
    matches!(refused, Some(ClientError::Refused(problem)) if problem.status == PRECONDITION_FAILED)
}

async fn attended(
    name: &AppName,
    call: Call,
    wait: WaitArgs,
    changes: &[String],
    client: &Client,
    out: &mut Output,
) -> anyhow::Result<ExitCode> {
    let underway = Underway::default();
    tokio::select! {
        done = carry_out(name, call, wait, changes, &underway, client, out) => done,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            Ok(left_alone(name, underway.deployment.get()))
        }
    }
}

/// What the verb knows of the deployment for which it waits.
#[derive(Debug, Default)]
pub struct Underway {
    deployment: Cell<Option<u64>>,
}

/// Like [`run`], but Ctrl-C does not end it.
pub async fn carry_out(
    name: &AppName,
    call: Call,
    wait: WaitArgs,
    changes: &[String],
    underway: &Underway,
    client: &Client,
    out: &mut Output,
) -> anyhow::Result<ExitCode> {
    let begun = Instant::now();
    let mut progress = Progress::default();
    let before = Before::of(name, client).await;
    let sent = if call.wait.is_some() {
        let watching = watch(name, &before, &mut progress, underway, client, out);
        tokio::select! {
            biased;
            sent = client.send(&call) => sent,
            never = watching => never?,
        }
    } else {
        client.send(&call).await
    };
    progress.clear(out)?;
    let answer = match sent {
        Ok(answer) => answer,
        Err(error) => {
            if let ClientError::Refused(problem) = &error {
                warn(&problem.warnings, out);
            }
            return Err(waited_for(name, error));
        }
    };
    let answered = answer.json();
    let mut deployment = deployment_path(name, &answer, &answered);
    if deployment.is_none() && call.upload.is_some() && answer.status == 202 && !wait.no_wait {
        deployment = Some(read_later(name, &before, client, out).await?);
    }
    let deployment = deployment.filter(|_| !wait.no_wait);
    let Some(path) = deployment else {
        accepted(name, &answer, changes, out)?;
        before.warn(name, warnings_of(&answered), out);
        return Ok(ExitCode::SUCCESS);
    };
    underway.deployment.set(number(&path));
    // What it says that was not so before is about this call; more of that is told when it is over, as it is then.
    let news = before.news(&answered);
    warn(&news, out);
    let record = follow(&path, &mut progress, client, out).await?;
    told(name, record, changes, begun, &before, out)?;
    let status: Value = client
        .get(&format!("/applications/{name}/status"))
        .await
        .unwrap_or_default();
    let mut warnings = warnings_of(&status);
    warnings.retain(|warning| !news.contains(warning));
    before.warn(name, warnings, out);
    Ok(ExitCode::SUCCESS)
}

/// Tells how the deployment ended; fails if it failed.
fn told(
    name: &AppName,
    record: DeploymentRecord,
    changes: &[String],
    begun: Instant,
    before: &Before,
    out: &mut Output,
) -> anyhow::Result<()> {
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
        let time = took(begun.elapsed().as_secs_f64());
        let was = before.told(record.release);
        out.line(&format!("{name}: {}{was} in {time}", described(&record)))?;
        for change in changes {
            out.line(&format!("  {change}"))?;
        }
    }
    Ok(())
}

/// The application before the call.
#[derive(Debug, Default)]
struct Before {
    deployment: Option<u64>,
    release: Option<u64>,
    warnings: Vec<String>,
}

impl Before {
    /// Empty where the API does not answer: the call itself will say why.
    async fn of(name: &AppName, client: &Client) -> Self {
        let status: Value = client
            .get(&format!("/applications/{name}/status"))
            .await
            .unwrap_or_default();
        Self {
            deployment: status["deployment"].as_u64(),
            release: status["release"].as_u64(),
            warnings: warnings_of(&status),
        }
    }

    /// The warnings of an answer that were not there before.
    fn news(&self, answer: &Value) -> Vec<String> {
        let mut warnings = warnings_of(answer);
        warnings.retain(|warning| !self.warnings.contains(warning));
        warnings
    }

    /// Tells people of warnings, and only that there are those which they were told of before.
    fn warn(&self, name: &AppName, warnings: Vec<String>, out: &Output) {
        let (old, new): (Vec<_>, Vec<_>) = warnings
            .into_iter()
            .partition(|warning| self.warnings.contains(warning));
        warn(&new, out);
        match old.len() {
            0 => {}
            1 => out.note(&format!("a warning as before: procserver ps {name}")),
            n => out.note(&format!("{n} warnings as before: procserver ps {name}")),
        }
    }

    fn told(&self, now: Option<u64>) -> String {
        match self.release {
            Some(before) if now.is_some_and(|now| now != before) => {
                format!(" (was release {before})")
            }
            _ => String::new(),
        }
    }
}

/// Shows the steps of the deployment that follows those of `before`, while the answer to a call is waited for.
async fn watch<T>(
    name: &AppName,
    before: &Before,
    progress: &mut Progress,
    underway: &Underway,
    client: &Client,
    out: &mut Output,
) -> io::Result<T> {
    let next = before.deployment.unwrap_or(0) + 1;
    let path = format!("/applications/{name}/deployments/{next}");
    loop {
        if let Ok(record) = client.get::<DeploymentRecord>(&path).await {
            underway.deployment.set(Some(next));
            progress.show(&path, &record, client, out).await?;
        }
        actix_rt::time::sleep(EVERY).await;
    }
}

/// Waits until the server has read an archive that was too large to be read before it answered. Returns the path of its
/// deployment.
async fn read_later(
    name: &AppName,
    before: &Before,
    client: &Client,
    out: &Output,
) -> anyhow::Result<String> {
    out.note("the archive is large: the server is still reading it");
    loop {
        let status: Value = client.get(&format!("/applications/{name}/status")).await?;
        let warnings = warnings_of(&status);
        if let Some(why) = warnings.iter().find(|warning| warning.starts_with(FAILED)) {
            anyhow::bail!("{why}");
        }
        if warnings.iter().any(|warning| warning == UNDERWAY) {
            actix_rt::time::sleep(BETWEEN_LOOKS).await;
            continue;
        }
        let newest = status["deployment"].as_u64();
        return match newest.filter(|newest| Some(*newest) > before.deployment) {
            Some(newest) => Ok(format!("/applications/{name}/deployments/{newest}")),
            None => anyhow::bail!(
                "the server was started again before it had read the archive: deploy once more"
            ),
        };
    }
}

/// Says that the deployment goes on. Exits like a program that SIGINT ended.
fn left_alone(name: &AppName, deployment: Option<u64>) -> ExitCode {
    let text = match deployment {
        Some(id) => format!(
            "\ndeployment {id} of {name} goes on: \"procserver deployment {name} {id}\" shows it, \
             \"procserver cancel {name} {id}\" ends it"
        ),
        None => format!("\nwhat was asked of {name} goes on: \"procserver ps {name}\" shows it"),
    };
    // Nothing is left to tell when stderr is closed.
    let _ = writeln!(io::stderr(), "{text}");
    ExitCode::from(INTERRUPTED)
}

/// The warnings in a document of the server.
fn warnings_of(document: &Value) -> Vec<String> {
    let warnings = document["warnings"].as_array();
    warnings.into_iter().flatten().map(cell).collect()
}

/// Tells people of warnings.
fn warn(warnings: &[String], out: &Output) {
    for warning in warnings.iter().filter(|_| !out.is_json()) {
        // Nothing is left to tell when stderr is closed.
        let _ = writeln!(io::stderr(), "warning: {warning}");
    }
}

/// Shows each step of a deployment until it is over.
pub async fn follow(
    path: &str,
    progress: &mut Progress,
    client: &Client,
    out: &mut Output,
) -> anyhow::Result<DeploymentRecord> {
    loop {
        let record: DeploymentRecord = match client.get(path).await {
            Ok(record) => record,
            Err(error) => {
                progress.clear(out)?;
                return Err(error.into());
            }
        };
        progress.show(path, &record, client, out).await?;
        if record.state.is_over() {
            return Ok(record);
        }
        actix_rt::time::sleep(EVERY).await;
    }
}

/// Shows a deployment that failed while the API kept the answer waiting like one that was followed.
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

/// The path of the deployment that an answer names.
fn deployment_path(name: &AppName, answer: &Answer, answered: &Value) -> Option<String> {
    let located = answer.location.as_deref().and_then(path_of_deployment);
    let told = || {
        let id = answered["deployment"].as_u64()?;
        Some(format!("/applications/{name}/deployments/{id}"))
    };
    located.map(str::to_owned).or_else(told)
}

/// The path of a `Location` that names a deployment: only paths of the API are followed, never another host.
fn path_of_deployment(location: &str) -> Option<&str> {
    let path = match location.split_once("://") {
        Some((_, rest)) => &rest[rest.find('/')?..],
        None => location,
    };
    (path.starts_with("/applications/") && path.contains("/deployments/")).then_some(path)
}

/// The number of the deployment at `path`.
fn number(path: &str) -> Option<u64> {
    path.rsplit('/').next()?.parse().ok()
}

/// Says that the call was accepted, or that nothing had to change.
fn accepted(
    name: &AppName,
    answer: &Answer,
    changes: &[String],
    out: &mut Output,
) -> io::Result<()> {
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
        for change in changes {
            out.line(&format!("  {change}"))?;
        }
    }
    Ok(())
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

    #[test]
    fn only_deployments_of_the_same_server_are_followed() {
        assert_eq!(
            path_of_deployment("/applications/a/deployments/1"),
            Some("/applications/a/deployments/1")
        );
        assert_eq!(
            path_of_deployment("http://h:1/applications/a/deployments/1"),
            Some("/applications/a/deployments/1")
        );
        assert_eq!(path_of_deployment("/applications/a"), None);
        assert_eq!(path_of_deployment("http://h"), None);
    }
}
