//! `procserver releases`: show an application's releases.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::client::{Client, ClientArgs};
use super::output::{Output, cell, time};
use crate::document::name::AppName;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  procserver releases blog
  procserver releases blog --json")]
pub struct ReleasesArgs {
    /// The application
    #[arg(value_parser = AppName::parse)]
    pub name: AppName,
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Lists the kept releases.
pub async fn run(
    args: &ReleasesArgs,
    client: &Client,
    out: &mut Output,
) -> anyhow::Result<ExitCode> {
    let releases: Vec<Value> = client
        .get(&format!("/applications/{}/releases", args.name))
        .await?;
    if out.is_json() {
        out.json(&Value::Array(releases))?;
        return Ok(ExitCode::SUCCESS);
    }
    let row = |release: &Value| {
        let commit: String = cell(&release["commit"]).chars().take(12).collect();
        let current = if release["current"] == Value::Bool(true) {
            "current"
        } else {
            ""
        };
        vec![
            cell(&release["id"]),
            commit,
            time(&release["created"]),
            current.to_owned(),
        ]
    };
    if releases.is_empty() {
        out.note(&format!("{} has no release yet", args.name));
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<_> = releases.iter().map(row).collect();
    out.table(&["RELEASE", "COMMIT", "CREATED", ""], &rows)?;
    Ok(ExitCode::SUCCESS)
}
