//! `procserver stop`: stop an application until it is started again.

use std::process::ExitCode;

use awc::http::Method;
use clap::Args;

use super::client::{Call, Client, ClientArgs};
use super::deploy::{self, WaitArgs};
use super::output::Output;
use crate::document::name::AppName;

/// Arguments of `stop`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  procserver stop blog
  procserver stop blog --no-wait")]
pub struct StopArgs {
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

/// Stops and waits until it is stopped.
///
/// # Errors
/// What the API refuses, and a deployment that fails.
pub async fn run(args: &StopArgs, client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
    let call = Call::new(Method::POST, format!("/applications/{}/stop", args.name));
    deploy::run(&args.name, args.wait.patient(call), args.wait, client, out).await
}
