//! `procserver key`: print the public key by which an application's repository is reached over ssh.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::client::{Client, ClientArgs};
use super::output::{Output, cell};
use crate::app::name::AppName;

/// Arguments of `key`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  procserver key blog                          then add it to the repository as a read-only deploy key
  procserver key blog --json")]
pub struct KeyArgs {
    /// The application
    #[arg(value_parser = AppName::parse)]
    pub name: AppName,
    /// How to reach the server.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Prints the key on a line of its own, ready to be pasted.
///
/// # Errors
/// What the API refuses: 404 when there is no key.
pub async fn run(args: &KeyArgs, client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
    let key: Value = client
        .get(&format!("/applications/{}/deploy-key", args.name))
        .await?;
    if out.is_json() {
        out.json(&key)?;
    } else {
        out.line(&cell(&key["deploy_key"]))?;
    }
    Ok(ExitCode::SUCCESS)
}
