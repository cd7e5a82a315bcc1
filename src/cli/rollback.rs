//! `procserver rollback`: go back to a kept release.

use std::process::ExitCode;

use awc::http::Method;
use clap::Args;
use serde_json::json;

use super::client::{Call, Client, ClientArgs};
use super::deploy::{self, WaitArgs};
use super::output::Output;
use crate::document::name::AppName;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  procserver rollback blog                     to the release before
  procserver rollback blog 12                  to release 12; \"procserver releases blog\" lists them
  procserver rollback blog --json")]
pub struct RollbackArgs {
    /// The application
    #[arg(value_parser = AppName::parse)]
    pub name: AppName,
    /// The release [default: the one before the current]
    pub release: Option<u64>,
    #[command(flatten)]
    pub wait: WaitArgs,
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Rolls back and waits until the old release runs.
pub async fn run(
    args: &RollbackArgs,
    client: &Client,
    out: &mut Output,
) -> anyhow::Result<ExitCode> {
    let mut call = Call::new(
        Method::POST,
        format!("/applications/{}/rollback", args.name),
    );
    if let Some(release) = args.release {
        call = call.body(json!({ "release": release }).to_string());
    }
    deploy::run(&args.name, args.wait.patient(call), args.wait, client, out).await
}
