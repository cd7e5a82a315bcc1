//! `procserver apps`: list the applications.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::client::{Client, ClientArgs};
use super::output::{Output, cell};

/// Arguments of `apps`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  procserver apps
  procserver apps --json
  procserver apps --server http://nas.local --token-file ~/.nas-token")]
pub struct AppsArgs {
    /// How to reach the server.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Lists the applications.
///
/// # Errors
/// What the API refuses.
pub async fn run(client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
    let apps: Vec<Value> = client.get("/applications").await?;
    if out.is_json() {
        out.json(&Value::Array(apps))?;
    } else if apps.is_empty() {
        out.line("no applications yet: add one with \"procserver create NAME --repo URL\"")?;
    } else {
        let row = |app: &Value| {
            ["name", "state", "release"]
                .iter()
                .map(|key| cell(&app[key]))
                .collect()
        };
        let rows: Vec<_> = apps.iter().map(row).collect();
        out.table(&["NAME", "STATE", "RELEASE"], &rows)?;
    }
    Ok(ExitCode::SUCCESS)
}
