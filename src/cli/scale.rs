//! `procserver scale`: change how many processes of a type run.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Map, Value, json};

use super::client::{Client, ClientArgs};
use super::deploy::{self, WaitArgs};
use super::document::quantity;
use super::output::Output;
use crate::app::name::AppName;

/// Arguments of `scale`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  procserver scale blog web=2
  procserver scale blog web=4 worker=0     those that stay run on untouched
  procserver scale blog web=2 --no-wait --json")]
pub struct ScaleArgs {
    /// The application
    #[arg(value_parser = AppName::parse)]
    pub name: AppName,
    /// How many processes of a type
    #[arg(required = true, value_name = "TYPE=N", value_parser = quantity)]
    pub types: Vec<(String, u32)>,
    /// Whether to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
    /// How to reach the server.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Changes the scale and waits until it is so.
///
/// # Errors
/// What the API refuses, and added processes that do not get ready.
pub async fn run(args: &ScaleArgs, client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
    let types = args.types.iter().cloned();
    let types: Map<_, _> = types
        .map(|(name, count)| (name, Value::from(count)))
        .collect();
    deploy::change(
        &args.name,
        &json!({ "scale": types }),
        args.wait,
        client,
        out,
    )
    .await
}
