//! `procserver doctor`: looks at this machine and says what is missing. [`report`] is what a check has found; a check more
//! is one more in the list of [`checks`].

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

pub mod report;
pub mod sandbox;

use super::output::Output;
use report::Finding;

#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  sudo procserver doctor                       what this kernel and machine give for the sandbox
  procserver doctor --json

It changes nothing. Exit codes: 0 all is well, 1 something is missing; the line says what to type.")]
pub struct DoctorArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Looks, and tells.
///
/// # Errors
/// Standard output cannot be written.
pub fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let found = checks();
    let mut out = Output::stdout(args.json);
    match args.json {
        true => out.json(&json!(found))?,
        false => found.iter().try_for_each(|f| out.line(&f.line()))?,
    }
    Ok(match found.iter().all(|finding| finding.ok) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn checks() -> Vec<Finding> {
    sandbox::checks()
}
