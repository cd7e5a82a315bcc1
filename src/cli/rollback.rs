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
    /// The release, as 12 or v12 [default: the one before the current]
    #[arg(value_parser = release)]
    pub release: Option<u64>,
    #[command(flatten)]
    pub wait: WaitArgs,
    #[command(flatten)]
    pub client: ClientArgs,
}

/// The number of a release, which other tools write with a `v`.
fn release(text: &str) -> Result<u64, String> {
    let number = text.strip_prefix(['v', 'V']).unwrap_or(text);
    number.parse().map_err(|_| {
        "must be the number of a release, as \"procserver releases\" lists them".to_owned()
    })
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

#[cfg(test)]
mod tests {
    use super::release;

    #[test]
    fn a_release_may_be_written_as_other_tools_do() {
        assert_eq!(release("12"), Ok(12));
        assert_eq!(release("v12"), Ok(12));
        for wrong in ["", "v", "vv1", "-1", "1.5", "latest"] {
            assert!(release(wrong).is_err(), "{wrong}");
        }
    }
}
