//! `procserver show`: print an application's document.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::client::{Client, ClientArgs};
use super::output::Output;
use crate::document::name::AppName;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  procserver show blog
  procserver show blog > blog.json             then edit it, and: procserver update blog.json")]
pub struct ShowArgs {
    /// The application
    #[arg(value_parser = AppName::parse)]
    pub name: AppName,
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Prints the document, exactly what `update` takes: it is JSON with and without `--json`.
pub async fn run(args: &ShowArgs, client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
    let document: Value = client.get(&format!("/applications/{}", args.name)).await?;
    out.json(&document)?;
    Ok(ExitCode::SUCCESS)
}
