//! `procserver doctor`: looks at this machine and says what is missing. [`report`] is what a check has found; a check more
//! is one more in the list of [`checks`]. Each gathers facts and has a pure function that judges them.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

pub mod bounded;
pub mod machine;
pub mod names;
pub mod ports;
pub mod programs;
pub mod report;
pub mod running;
pub mod sandbox;
pub mod settings;
pub mod swarm;
pub mod unit;

use super::output::Output;
use report::{Finding, Level};
use running::Running;

#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  sudo procserver doctor                       what there is, and what to type where there is not
  procserver doctor --config ./procserver.toml --data-dir ~/try
                                               for a server with these
  procserver doctor --json

It changes nothing, and works beside a server and without one. Exit codes: 0 all that is needed is there (there may be warnings), \
1 something is missing; the line says what to type. \"unseen\" is what this user cannot look at.")]
pub struct DoctorArgs {
    /// Settings file of the server [default: as for serve]
    #[arg(long, env = "PROCSERVER_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Data directory of the server [default: as for serve]
    #[arg(long, env = "PROCSERVER_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Runtime directory of the server [default: as for serve]
    #[arg(long, env = "PROCSERVER_RUNTIME_DIR", value_name = "DIR")]
    pub runtime_dir: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Looks, and tells.
///
/// # Errors
/// Standard output cannot be written.
pub fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let found = checks(args);
    let mut out = Output::stdout(args.json);
    match args.json {
        true => out.json(&json!(found))?,
        false => found.iter().try_for_each(|f| out.line(&f.line()))?,
    }
    Ok(
        match found.iter().any(|finding| finding.level == Level::Missing) {
            true => ExitCode::FAILURE,
            false => ExitCode::SUCCESS,
        },
    )
}

fn checks(args: &DoctorArgs) -> Vec<Finding> {
    let (settings, mut found) = settings::checks(args);
    found.extend(programs::checks());
    let running = settings.as_ref().and_then(Running::ask);
    if let Some(settings) = &settings {
        found.extend(machine::disks(settings));
        found.push(machine::state(settings));
        found.push(machine::quotas(settings));
        found.extend(ports::checks(settings, running.as_ref()));
        found.extend(running::checks(settings, running.as_ref()));
        found.extend(names::checks(settings, running.as_ref()));
        found.extend(swarm::checks(settings));
    }
    found.extend(machine::checks());
    found.extend(unit::checks());
    // Last: it leaves this process in a mount namespace of its own.
    found.extend(sandbox::checks());
    found
}
