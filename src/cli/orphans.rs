//! `procserver orphans`: list, or remove, what is left of applications that have no document any more.

use std::process::ExitCode;

use actix_web::http::Method;
use clap::{Args, Subcommand};
use serde_json::Value;

use super::client::{Call, Client, ClientArgs};
use super::output::{Output, cell};
use crate::document::name::AppName;

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "Examples:
  procserver orphans                           directories that belong to no application
  procserver orphans rm blog                   removes one for good, its storage too")]
pub struct OrphansArgs {
    /// What to do; without it they are listed.
    #[command(subcommand)]
    pub action: Option<Action>,
    #[command(flatten)]
    pub client: ClientArgs,
}

/// What to do with them.
#[derive(Subcommand, Debug)]
pub enum Action {
    /// Remove one for good, with its storage
    #[command(after_help = "Examples:
  procserver orphans rm blog
  procserver orphans rm blog --json")]
    Rm {
        /// The application that it was of
        #[arg(value_parser = AppName::parse)]
        name: AppName,
        #[command(flatten)]
        client: ClientArgs,
    },
}

impl OrphansArgs {
    /// How to reach the server.
    #[must_use]
    pub fn client(&self) -> &ClientArgs {
        match &self.action {
            Some(Action::Rm { client, .. }) => client,
            None => &self.client,
        }
    }
}

/// Lists them, or removes one.
pub async fn run(
    args: &OrphansArgs,
    client: &Client,
    out: &mut Output,
) -> anyhow::Result<ExitCode> {
    if let Some(Action::Rm { name, .. }) = &args.action {
        let call = Call::new(Method::DELETE, format!("/applications/{name}?orphan=true"));
        let answer = client.send(&call).await?;
        match out.is_json() {
            true => out.json(&answer.json())?,
            false => out.line(&format!("{name}: what was left of it is removed"))?,
        }
        return Ok(ExitCode::SUCCESS);
    }
    let orphans: Vec<Value> = client.get("/applications?orphans=true").await?;
    if out.is_json() {
        out.json(&Value::Array(orphans))?;
    } else if orphans.is_empty() {
        out.line("no orphans: every directory belongs to an application")?;
    } else {
        let row = |orphan: &Value| vec![cell(&orphan["name"]), cell(&orphan["directory"])];
        let rows: Vec<_> = orphans.iter().map(row).collect();
        out.table(&["NAME", "DIRECTORY"], &rows)?;
    }
    Ok(ExitCode::SUCCESS)
}
