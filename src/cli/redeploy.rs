//! `procserver redeploy`: fetch the code anew, install and start it.

use std::process::ExitCode;

use awc::http::Method;
use clap::Args;

use super::client::{Call, Client, ClientArgs};
use super::deploy::{self, WaitArgs};
use super::output::Output;
use crate::document::name::AppName;

/// Arguments of `redeploy`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  procserver redeploy blog
  procserver redeploy blog --no-wait
  procserver redeploy blog --json")]
pub struct RedeployArgs {
    /// The application
    #[arg(value_parser = AppName::parse)]
    pub name: AppName,
    /// Whether to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
    /// How to reach the server.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Deploys and follows the deployment.
///
/// # Errors
/// What the API refuses, and a deployment that fails.
pub async fn run(
    args: &RedeployArgs,
    client: &Client,
    out: &mut Output,
) -> anyhow::Result<ExitCode> {
    let call = Call::new(
        Method::POST,
        format!("/applications/{}/redeploy", args.name),
    );
    deploy::run(&args.name, call, args.wait, client, out).await
}
