//! `procserver update`: replace an application's document and deploy it.

use std::process::ExitCode;

use awc::http::Method;
use clap::Args;

use super::client::{Call, Client, ClientArgs};
use super::deploy::{self, WaitArgs};
use super::document::Document;
use super::output::Output;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  procserver update blog.json                  the application is the one that the file names
  procserver show blog | jq '.scale.web = 3' | procserver update -
  procserver update blog.json --no-wait --json")]
pub struct UpdateArgs {
    /// A file with the application's new document; - reads standard input
    pub file: String,
    #[command(flatten)]
    pub wait: WaitArgs,
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Replaces the document and follows the deployment.
///
/// # Errors
/// What is wrong with the file, what the API refuses, and a deployment that fails.
pub async fn run(args: &UpdateArgs, client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
    let document = Document::read(&args.file)?;
    let call =
        Call::new(Method::PUT, format!("/applications/{}", document.name)).body(document.text);
    deploy::run(&document.name, call, args.wait, client, out).await
}
