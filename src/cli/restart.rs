//! `procserver restart`: replace the processes by new ones of the same release.

use std::process::ExitCode;

use awc::http::Method;
use clap::Args;

use super::client::{Call, Client, ClientArgs};
use super::deploy::{self, WaitArgs};
use super::output::Output;
use crate::document::name::AppName;

/// Arguments of `restart`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  procserver restart blog
  procserver restart blog --json")]
pub struct RestartArgs {
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

/// Restarts and waits until the new processes are ready.
///
/// # Errors
/// What the API refuses, and a deployment that fails.
pub async fn run(
    args: &RestartArgs,
    client: &Client,
    out: &mut Output,
) -> anyhow::Result<ExitCode> {
    let call = Call::new(Method::POST, format!("/applications/{}/restart", args.name));
    deploy::run(&args.name, args.wait.patient(call), args.wait, client, out).await
}
