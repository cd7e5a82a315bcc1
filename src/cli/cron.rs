//! `procserver cron`: show an application's jobs, or run one now.

use std::process::ExitCode;

use awc::http::Method;
use clap::{Args, Subcommand};
use serde_json::Value;

use super::client::{Call, Client, ClientArgs};
use super::document::encode_query;
use super::output::{Output, cell, time};
use super::usage::Usage;
use crate::document::name::AppName;

#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    disable_help_subcommand = true,
    after_help = "Examples:
  procserver cron blog                         when each is due, and how it went last
  procserver cron run blog report              now
  procserver logs blog -p cron.report
  procserver stop blog -p cron.report          ends what is at work
  procserver cron blog --json

Jobs are in the document: cron: [{name: \"report\", schedule: \"30 3 * * *\", command: \"./report\", timezone: \"Europe/Berlin\"}]. Each runs as a command of \"run\" does, for at most timeout (1h). One that was missed while the server was away is made up for if that is under an hour ago."
)]
pub struct CronArgs {
    #[command(subcommand)]
    pub change: Option<CronVerb>,
    /// The application
    #[arg(value_parser = AppName::parse, required = true)]
    pub name: Option<AppName>,
    #[command(flatten)]
    pub client: ClientArgs,
}

#[derive(Subcommand, Debug)]
pub enum CronVerb {
    /// Run a job now, whatever its schedule says
    #[command(after_help = "Examples:
  procserver cron run blog report
  procserver cron run blog report --json")]
    Run(RunArgs),
}

#[derive(Args, Debug)]
pub struct RunArgs {
    /// The application
    #[arg(value_parser = AppName::parse)]
    pub name: AppName,
    /// The job
    #[arg(value_name = "JOB")]
    pub job: String,
    #[command(flatten)]
    pub client: ClientArgs,
}

impl CronArgs {
    #[must_use]
    pub fn client(&self) -> &ClientArgs {
        match &self.change {
            Some(CronVerb::Run(args)) => &args.client,
            None => &self.client,
        }
    }
}

/// Shows the jobs, or runs one.
pub async fn run(args: &CronArgs, client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
    match (&args.change, &args.name) {
        (Some(CronVerb::Run(args)), _) => start(args, client, out).await,
        (None, Some(name)) => list(name, client, out).await,
        (None, None) => Err(Usage("name an application".to_owned()).into()),
    }
}

async fn start(args: &RunArgs, client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
    let (name, job) = (&args.name, &args.job);
    let path = format!("/applications/{name}/cron/{}/run", encode_query(job));
    let answer = client.send(&Call::new(Method::POST, path)).await?.json();
    match out.is_json() {
        true => out.json(&answer)?,
        false => out.line(&format!(
            "{name}: {job} runs; procserver logs {name} -p {}",
            cell(&answer["id"])
        ))?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(name: &AppName, client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
    let jobs: Vec<Value> = client.get(&format!("/applications/{name}/cron")).await?;
    if out.is_json() {
        out.json(&Value::Array(jobs))?;
        return Ok(ExitCode::SUCCESS);
    }
    if jobs.is_empty() {
        out.line(&format!(
            "{name} has no jobs: procserver set {name} 'cron=[{{\"name\": \"NAME\", \"schedule\": \"30 3 * * *\", \"command\": \"COMMAND\"}}]'"
        ))?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<_> = jobs.iter().map(row).collect();
    out.table(
        &["JOB", "SCHEDULE", "NEXT", "LAST", "TOOK", "EXIT", "COMMAND"],
        &rows,
    )?;
    Ok(ExitCode::SUCCESS)
}

fn row(job: &Value) -> Vec<String> {
    let runs = job["runs"].as_array();
    let last = runs.and_then(|runs| runs.last()).unwrap_or(&Value::Null);
    let zone = match job["timezone"].as_str() {
        None | Some("UTC") => String::new(),
        Some(zone) => format!(" {zone}"),
    };
    let exit = match (last.is_null(), last["last_exit"].is_null()) {
        (false, true) => "runs".to_owned(),
        _ => super::ps::last_exit(&last["last_exit"]),
    };
    vec![
        cell(&job["name"]),
        format!("{}{zone}", cell(&job["schedule"])),
        time(&job["next"]),
        time(&last["started_at"]),
        last["seconds"]
            .as_f64()
            .map_or_else(|| "-".to_owned(), crate::amounts::took),
        exit,
        cell(&job["command"]),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_job_is_one_row_with_its_last_run() {
        let job = json!({"name": "report", "schedule": "30 3 * * *", "timezone": "Europe/Berlin", "command": "./report",
            "next": "2026-11-30T02:30:00Z", "runs": [
                {"started_at": "2026-11-28T02:30:00Z", "last_exit": {"code": 1}, "seconds": 4.0},
                {"started_at": "2026-11-29T02:30:00Z", "last_exit": {"code": 0}, "seconds": 2.0}]});
        let row = row(&job);
        assert_eq!(row[1], "30 3 * * * Europe/Berlin");
        assert_eq!(row[3], "2026-11-29T02:30:00Z");
        assert_eq!(row[5], "code 0");
    }
}
