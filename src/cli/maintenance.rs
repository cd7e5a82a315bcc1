//! `procserver maintenance`: let nobody in for a while, and again.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::client::{Client, ClientArgs};
use super::deploy::{self, WaitArgs};
use super::output::Output;
use super::usage::Usage;
use crate::document::name::AppName;

/// Arguments of `maintenance`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  procserver maintenance blog                      is it?
  procserver maintenance blog on                   everybody gets 503 and a page, at once
  procserver maintenance blog on --page down.html  with a page of the application's own files
  procserver maintenance blog on --retry-after 10m
  procserver maintenance blog off
  procserver maintenance blog off --json

Its processes, jobs and health checks run on, and the application can be deployed meanwhile. The page is a file of the \
release, which must be all that it shows: other files are not served.")]
pub struct MaintenanceArgs {
    /// The application
    #[arg(value_parser = AppName::parse)]
    pub name: AppName,
    /// on or off; without it, what is so
    pub state: Option<Switch>,
    /// A file of the release that browsers are shown, as in maintenance.html
    #[arg(long, value_name = "FILE")]
    pub page: Option<String>,
    /// When clients are told to ask again [default: 2m]
    #[arg(long, value_name = "TIME")]
    pub retry_after: Option<String>,
    #[command(flatten)]
    pub wait: WaitArgs,
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Whether it is maintained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    On,
    Off,
}

/// Shows whether an application is in maintenance, or changes that.
///
/// # Errors
/// What the API refuses, and a page for what is not switched on.
pub async fn run(
    args: &MaintenanceArgs,
    client: &Client,
    out: &mut Output,
) -> anyhow::Result<ExitCode> {
    let is_told = args.page.is_some() || args.retry_after.is_some();
    let patch = match args.state {
        Some(Switch::On) => {
            let patch = |document: &Value| Ok(patch(args, &document["maintenance"]));
            return deploy::change_by(&args.name, patch, args.wait, client, out).await;
        }
        _ if is_told => {
            let text = "--page and --retry-after go with \"on\"";
            return Err(Usage(text.to_owned()).into());
        }
        Some(Switch::Off) => json!({ "maintenance": null }),
        None => return show(&args.name, client, out).await,
    };
    deploy::change(&args.name, &patch, args.wait, client, out).await
}

/// What was said before of the page and of when to ask again stays as long as it is on.
fn patch(args: &MaintenanceArgs, present: &Value) -> Value {
    let given = [("page", &args.page), ("retry_after", &args.retry_after)];
    let given = given.into_iter();
    let fields: Map<_, _> = given
        .filter_map(|(field, text)| Some((field.to_owned(), Value::from(text.as_deref()?))))
        .collect();
    match fields.is_empty() && !present.is_object() {
        true => json!({ "maintenance": true }),
        false => json!({ "maintenance": fields }),
    }
}

async fn show(name: &AppName, client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
    let document: Value = client.get(&format!("/applications/{name}")).await?;
    let state = &document["maintenance"];
    let is_on = !matches!(state, Value::Null | Value::Bool(false));
    if out.is_json() {
        out.json(&json!({ "maintenance": if is_on { state.clone() } else { false.into() } }))?;
    } else if is_on {
        out.line("on")?;
    } else {
        out.line("off")?;
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    #[test]
    fn what_was_said_before_stays_while_it_is_on() {
        let page = json!({"page": "down.html"});
        for (typed, present, patched) in [
            ("", Value::Null, json!(true)),
            ("", json!(true), json!(true)),
            ("", page.clone(), json!({})),
            (" --retry-after 5m", page, json!({"retry_after": "5m"})),
            (" --page a.html", json!(false), json!({"page": "a.html"})),
        ] {
            let line = format!("procserver maintenance blog on{typed}");
            let Command::Maintenance(args) = Cli::parse_from(line.split(' ')).command else {
                panic!("{line}");
            };
            assert_eq!(patch(&args, &present), json!({"maintenance": patched}));
        }
    }
}
