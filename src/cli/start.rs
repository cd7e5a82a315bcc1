//! `procserver start`: start a stopped application.

use std::process::ExitCode;

use awc::http::Method;
use clap::Args;

use super::client::{Call, Client, ClientArgs};
use super::deploy::{self, WaitArgs};
use super::output::Output;
use crate::document::name::AppName;

/// Arguments of `start`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  procserver start blog
  procserver start blog --json")]
pub struct StartArgs {
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

/// Starts and waits until it runs.
///
/// # Errors
/// What the API refuses, and a deployment that fails.
pub async fn run(args: &StartArgs, client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
    let call = Call::new(Method::POST, format!("/applications/{}/start", args.name));
    deploy::run(&args.name, args.wait.patient(call), args.wait, client, out).await
}
