//! `procserver notify test`: whether those who are told of what goes wrong can be reached.

use std::process::ExitCode;

use awc::http::Method;
use clap::{Args, Subcommand};
use serde_json::Value;

use super::client::{Call, Client, ClientArgs};
use super::output::{Output, cell};
use crate::document::name::AppName;

/// Arguments of `notify`.
#[derive(Args, Debug)]
#[command(
    disable_help_subcommand = true,
    after_help = "Examples:
  procserver notify test                               those of the server's settings
  procserver notify test blog                          and those of an application
  procserver notify test blog --json
  procserver set blog 'notify=[{url: \"https://hooks.slack.com/services/…\", events: [\"deploy\"]}]'"
)]
pub struct NotifyArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: NotifyAction,
}

/// What is done about notices.
#[derive(Subcommand, Debug)]
pub enum NotifyAction {
    /// Send a notice to everybody who is told of what goes wrong, and show who took it
    #[command(after_help = "Examples:
  procserver notify test
  procserver notify test blog --json")]
    Test(TestArgs),
}

/// Arguments of `notify test`.
#[derive(Args, Debug)]
pub struct TestArgs {
    /// Also those of this application
    #[arg(value_parser = AppName::parse)]
    pub name: Option<AppName>,
    /// How to reach the server.
    #[command(flatten)]
    pub client: ClientArgs,
}

impl NotifyArgs {
    /// How to reach the server.
    #[must_use]
    pub fn client(&self) -> &ClientArgs {
        match &self.action {
            NotifyAction::Test(args) => &args.client,
        }
    }
}

/// Sends a notice; fails where one was not taken.
///
/// # Errors
/// What the API refuses.
pub async fn run(args: &NotifyArgs, client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
    let NotifyAction::Test(args) = &args.action;
    let path = match &args.name {
        Some(name) => format!("/-/notify/test?app={name}"),
        None => "/-/notify/test".to_owned(),
    };
    let answer = client.send(&Call::new(Method::POST, &path)).await?;
    let tried: Vec<Value> = serde_json::from_slice(&answer.body)?;
    let is_good = tried.iter().all(|one| one["taken"] == true);
    if out.is_json() {
        out.json(&Value::from(tried))?;
    } else if tried.is_empty() {
        out.note(
            "nobody is told of what goes wrong: write notify in procserver.toml, or in a document",
        );
    } else {
        let rows = tried.iter().map(|one| {
            let taken = if one["taken"] == true { "yes" } else { "no" };
            vec![
                cell(&one["receiver"]),
                taken.to_owned(),
                cell(&one["error"]),
            ]
        });
        out.table(&["RECEIVER", "TAKEN", "ERROR"], &rows.collect::<Vec<_>>())?;
    }
    Ok(if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
