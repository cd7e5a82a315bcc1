//! `procserver audit`: who has changed what.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::client::{Client, ClientArgs};
use super::output::{Output, cell, time};
use crate::document::name::AppName;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  procserver audit
  procserver audit -n 1000 --app blog
  procserver audit --json

Each call that changes something has a line, and each that was refused; so has each change of a file in the config \
directory. The server keeps them in logs/audit.log of its data directory.")]
pub struct AuditArgs {
    /// How many of the newest lines, at most 10000
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100)]
    pub tail: usize,
    /// Only those about this application
    #[arg(long, value_name = "NAME", value_parser = AppName::parse)]
    pub app: Option<AppName>,
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Shows the newest lines, the newest last.
///
/// # Errors
/// What the API refuses.
pub async fn run(args: &AuditArgs, client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
    let mut path = format!("/audit?tail={}", args.tail);
    if let Some(app) = &args.app {
        path.push_str(&format!("&app={app}"));
    }
    let lines: Vec<Value> = client.get(&path).await?;
    if out.is_json() {
        out.json(&Value::Array(lines))?;
    } else if lines.is_empty() {
        out.note("no lines");
    } else {
        let rows: Vec<_> = lines.iter().map(row).collect();
        out.table(&["TIME", "WHO", "FROM", "CALL", "OUTCOME"], &rows)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn row(line: &Value) -> Vec<String> {
    vec![
        time(&line["time"]),
        cell(&line["who"]),
        cell(&line["from"]),
        format!("{} {}", cell(&line["method"]), cell(&line["path"])),
        cell(&line["outcome"]),
    ]
}
