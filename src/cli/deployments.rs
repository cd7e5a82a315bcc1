//! `procserver deployments` and `procserver deployment`: what was deployed, and why it failed.

use std::process::ExitCode;

use clap::Args;

use super::client::{Client, ClientArgs};
use super::deploy_failed::DeployFailed;
use super::output::Output;
use crate::amounts;
use crate::document::name::AppName;
use crate::install::record::{DeploymentRecord, DeploymentState};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  procserver deployments blog
  procserver deployments blog --json")]
pub struct DeploymentsArgs {
    /// The application
    #[arg(value_parser = AppName::parse)]
    pub name: AppName,
    #[command(flatten)]
    pub client: ClientArgs,
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  procserver deployment blog                   the last one: its steps, and why it failed
  procserver deployment blog 7
  procserver deployment blog 7 --json")]
pub struct DeploymentArgs {
    /// The application
    #[arg(value_parser = AppName::parse)]
    pub name: AppName,
    /// Which [default: the last]
    pub id: Option<u64>,
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Lists the kept records.
pub async fn list(
    args: &DeploymentsArgs,
    client: &Client,
    out: &mut Output,
) -> anyhow::Result<ExitCode> {
    let records = all(&args.name, client).await?;
    if out.is_json() {
        out.json(&serde_json::to_value(&records)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<_> = records.iter().map(row).collect();
    let headings = [
        "DEPLOYMENT",
        "STATE",
        "RELEASE",
        "COMMIT",
        "STARTED",
        "TOOK",
        "BY",
        "WHY",
    ];
    out.table(&headings, &rows)?;
    Ok(ExitCode::SUCCESS)
}

/// Shows one record.
pub async fn show(
    args: &DeploymentArgs,
    client: &Client,
    out: &mut Output,
) -> anyhow::Result<ExitCode> {
    let name = &args.name;
    let record = match args.id {
        Some(id) => {
            client
                .get(&format!("/applications/{name}/deployments/{id}"))
                .await?
        }
        None => last(name, client).await?,
    };
    if out.is_json() {
        out.json(&serde_json::to_value(&record)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    for line in described(name, &record) {
        out.line(&line)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The last deployment of `name`.
pub async fn last(name: &AppName, client: &Client) -> anyhow::Result<DeploymentRecord> {
    let last = all(name, client).await?.pop();
    last.ok_or_else(|| anyhow::anyhow!("{name} was never deployed"))
}

async fn all(name: &AppName, client: &Client) -> anyhow::Result<Vec<DeploymentRecord>> {
    Ok(client
        .get(&format!("/applications/{name}/deployments"))
        .await?)
}

fn row(record: &DeploymentRecord) -> Vec<String> {
    let dash = || "-".to_owned();
    let why = record.failure.as_ref().map(ToString::to_string);
    vec![
        record.id.to_string(),
        state(record.state).to_owned(),
        record.release.map_or_else(dash, |id| id.to_string()),
        record
            .commit
            .as_deref()
            .map_or_else(dash, |id| id.chars().take(12).collect()),
        format!("{:.0}", record.started),
        took(record).unwrap_or_else(dash),
        by(record).unwrap_or_else(dash),
        why.unwrap_or_default(),
    ]
}

fn described(name: &AppName, record: &DeploymentRecord) -> Vec<String> {
    let mut lines = vec![format!(
        "{name}: deployment {} {}",
        record.id,
        state(record.state)
    )];
    let mut say = |what: &str, text: Option<String>| {
        lines.extend(text.map(|text| format!("  {what:<10} {text}")));
    };
    say("release", record.release.map(|id| id.to_string()));
    say("commit", record.commit.clone());
    say("started", Some(format!("{:.0}", record.started)));
    say("took", took(record));
    say("by", by(record));
    for step in &record.steps {
        let time = step
            .seconds
            .map_or_else(|| "not over".to_owned(), amounts::took);
        say(step.step.name(), Some(time));
    }
    if record.failure.is_some() {
        let failed = DeployFailed {
            name: name.clone(),
            state: record.state,
            failure: record.failure.clone(),
        };
        lines.push(failed.to_string());
    }
    lines
}

/// Who asked for it. A name must not draw on the terminal.
fn by(record: &DeploymentRecord) -> Option<String> {
    let by = record.by.as_ref()?;
    Some(by.to_string().escape_debug().to_string())
}

fn took(record: &DeploymentRecord) -> Option<String> {
    let time = record.finished?.duration_since(record.started);
    Some(amounts::took(time.as_secs_f64()))
}

fn state(state: DeploymentState) -> &'static str {
    match state {
        DeploymentState::Waiting => "waiting",
        DeploymentState::Running => "running",
        DeploymentState::Succeeded => "succeeded",
        DeploymentState::Failed => "failed",
        DeploymentState::Superseded => "superseded",
        DeploymentState::Cancelled => "cancelled",
        DeploymentState::Interrupted => "interrupted",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_failed_deployment_is_a_row_and_a_page_with_its_reason() {
        let record: DeploymentRecord = serde_json::from_value(json!({"id": 7, "state": "failed", "release": 3,
            "commit": "0123456789abcdef", "by": "token ci", "started": "2026-11-22T10:00:00.5Z", "finished": "2026-11-22T10:00:04Z",
            "steps": [{"step": "fetch", "started": "2026-11-22T10:00:00Z", "seconds": 0.5},
                {"step": "install", "started": "2026-11-22T10:00:01Z"}],
            "failure": {"step": "install", "reason": "`make` ended with exit code 2", "log_tail": ["no rule"],
                "hint": "add one"}}))
        .unwrap();
        let row = row(&record);
        assert_eq!(row[..4], ["7", "failed", "3", "0123456789ab"]);
        assert_eq!(
            row[5..],
            [
                "3.5 s",
                "token ci",
                "install: `make` ended with exit code 2"
            ]
        );
        let page = described(&AppName::parse("a").unwrap(), &record).join("\n");
        for part in [
            "a: deployment 7 failed",
            "fetch      500 ms",
            "install    not over",
            "| no rule",
            "hint: add one",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
    }
}
