//! `procserver rm`: stop an application and remove it.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use awc::http::Method;
use clap::Args;

use super::client::{Call, Client, ClientArgs};
use super::output::{Output, cell};
use super::usage::Usage;
use crate::document::name::AppName;

/// How long the answer may be waited for.
const PATIENCE: Duration = Duration::from_secs(50);

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  procserver rm blog                           asks first
  procserver rm blog --yes                     for scripts: else it asks, on a terminal
  procserver rm blog --keep-storage            keeps what the application stored in $STORAGE_DIR")]
pub struct RmArgs {
    /// The application
    #[arg(value_parser = AppName::parse)]
    pub name: AppName,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    /// Keep the application's storage
    #[arg(long)]
    pub keep_storage: bool,
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Asks, removes, and waits until it is gone.
///
/// # Errors
/// [`Usage`] where nobody can be asked, and what the API refuses.
pub async fn run(args: &RmArgs, client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
    let name = &args.name;
    if !args.yes && !confirmed(args)? {
        out.line("nothing was removed")?;
        return Ok(ExitCode::FAILURE);
    }
    let keep = if args.keep_storage {
        "?keep=storage"
    } else {
        ""
    };
    let call = Call::new(Method::DELETE, format!("/applications/{name}{keep}")).wait(PATIENCE);
    let answer = client.send(&call).await?;
    if out.is_json() {
        out.json(&answer.json())?;
    } else if answer.status == 202 {
        out.line(&format!("{name}: is being removed"))?;
    } else {
        out.line(&format!("{name}: removed"))?;
        // Nothing else is left of it to be warned of.
        for warning in answer.json()["warnings"].as_array().into_iter().flatten() {
            out.note(&format!("{name}: {}", cell(warning)));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn confirmed(args: &RmArgs) -> anyhow::Result<bool> {
    let name = &args.name;
    if !io::stdin().is_terminal() {
        let text = format!("rm removes {name} for good: pass --yes where nobody can be asked");
        return Err(Usage(text).into());
    }
    let what = if args.keep_storage {
        "code, logs and configuration"
    } else {
        "code, logs, configuration and storage"
    };
    write!(io::stderr(), "Stop {name} and remove its {what}? [y/N] ")?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(
        answer.trim().to_ascii_lowercase().as_str(),
        "y" | "yes"
    ))
}
