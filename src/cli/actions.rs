//! `procserver start`, `stop`, `restart` and `redeploy`: what takes an application's name and nothing else.

use std::process::ExitCode;

use awc::http::Method;
use clap::Args;

use super::client::{Call, Client, ClientArgs};
use super::deploy::{self, WaitArgs};
use super::output::Output;
use crate::document::name::AppName;

#[derive(Args, Debug)]
pub struct ActionArgs {
    /// The application
    #[arg(value_parser = AppName::parse)]
    pub name: AppName,
    #[command(flatten)]
    pub wait: WaitArgs,
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Waits until `action` is done: the server answers then.
pub async fn run(
    action: &str,
    args: &ActionArgs,
    client: &Client,
    out: &mut Output,
) -> anyhow::Result<ExitCode> {
    let call = args.wait.patient(call(action, args));
    deploy::run(&args.name, call, args.wait, client, out).await
}

/// Follows the deployment that a redeploy always is, however long it takes.
pub async fn redeploy(
    args: &ActionArgs,
    client: &Client,
    out: &mut Output,
) -> anyhow::Result<ExitCode> {
    deploy::run(&args.name, call("redeploy", args), args.wait, client, out).await
}

fn call(action: &str, args: &ActionArgs) -> Call {
    Call::new(
        Method::POST,
        format!("/applications/{}/{action}", args.name),
    )
}
