//! `procserver cancel`: end a deployment that waits or is at work.

use std::process::ExitCode;

use awc::http::Method;
use clap::Args;

use super::client::{Call, Client, ClientArgs};
use super::deploy;
use super::deployments;
use super::output::Output;
use super::progress::Progress;
use crate::document::name::AppName;
use crate::install::record::DeploymentState;

/// Arguments of `cancel`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  procserver cancel blog                       the one that is at work: what it runs is ended, what ran before runs on
  procserver cancel blog 7
  procserver cancel blog --json")]
pub struct CancelArgs {
    /// The application
    #[arg(value_parser = AppName::parse)]
    pub name: AppName,
    /// Which deployment [default: the last]
    pub id: Option<u64>,
    /// How to reach the server.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Cancels it and waits until it is over.
///
/// # Errors
/// What the API refuses, and that it ended in another way before.
pub async fn run(args: &CancelArgs, client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
    let name = &args.name;
    let id = match args.id {
        Some(id) => id,
        None => deployments::last(name, client).await?.id,
    };
    let path = format!("/applications/{name}/deployments/{id}");
    client
        .send(&Call::new(Method::POST, format!("{path}/cancel")))
        .await?;
    let record = deploy::follow(&path, &mut Progress::default(), client, out).await?;
    anyhow::ensure!(
        record.state == DeploymentState::Cancelled,
        "deployment {id} of {name} ended before it was cancelled: see \"procserver deployment {name} {id}\""
    );
    if out.is_json() {
        out.json(&serde_json::to_value(&record)?)?;
    } else {
        out.line(&format!("{name}: deployment {id} was cancelled"))?;
    }
    Ok(ExitCode::SUCCESS)
}
