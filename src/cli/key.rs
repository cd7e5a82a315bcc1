//! `procserver key`: print the public key by which an application's repository is reached over ssh.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::client::{Client, ClientArgs};
use super::output::{Output, cell};
use crate::document::name::AppName;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  procserver key blog                          to add to the repository as a read-only key
  procserver key blog --json

An application whose repo.url is an ssh URL gets a key pair of its own, in a directory that only root can read. The first \
deployment fails in the step fetch and shows the public key, as this verb does: add it to the repository as a read-only \
deploy key, and redeploy. The key stays until the application is removed; neither ~/.ssh nor an agent is used. \
A git server's host key is remembered in the file known_hosts of the data directory when it is first met (put it there \
before, if you have it), and a changed one is refused.")]
pub struct KeyArgs {
    /// The application
    #[arg(value_parser = AppName::parse)]
    pub name: AppName,
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
