//! The `procserver` binary: parses arguments, dispatches, turns errors into exit codes.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use procserver::cli::usage::Usage;
use procserver::cli::{self, Cli};

fn main() -> ExitCode {
    match cli::run(Cli::parse().command) {
        Ok(code) => code,
        // `procserver logs a | head`: the reader has what it wanted.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to tell when stderr is closed.
            let _ = writeln!(io::stderr(), "error: {error:#}");
            if error.is::<Usage>() {
                ExitCode::from(2)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
