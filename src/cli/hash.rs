//! `procserver hash`: make the hash of a password for `auth.basic`.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::input;
use super::output::Output;
use super::usage::Usage;
use crate::document::policies::password_hash::PasswordHash;

/// Arguments of `hash`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  procserver hash                              asks for the password, and does not show it
  procserver hash < password.txt
  procserver hash --json < password.txt
  procserver set blog auth.basic.ann=\"$(procserver hash)\"

It is a hash of bcrypt, as \"htpasswd -B\" makes it. Nothing is stored, and no server is asked.")]
pub struct HashArgs {
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// Prints the hash of the password that standard input has.
///
/// # Errors
/// There is no password, or it is too long for bcrypt.
pub fn run(args: &HashArgs) -> anyhow::Result<ExitCode> {
    let password = input::value("the password", input::STDIN)?;
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
    let hash = PasswordHash::of(&password, salt).map_err(Usage)?;
    let mut out = Output::stdout(args.json);
    match args.json {
        true => out.json(&json!({ "hash": hash }))?,
        false => out.line(&hash)?,
    }
    Ok(ExitCode::SUCCESS)
}
