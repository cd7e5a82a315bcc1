//! The `procserver` binary: parses arguments, dispatches, turns errors into exit codes.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use procserver::cli::usage::Usage;
use procserver::cli::{self, Cli};
use procserver::process::exec;

fn main() -> ExitCode {
    // The daemon starts each process with it: no time is to be lost on a command line that is known.
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == exec::VERB) && words.next().is_none() {
        exec::run();
    }
    match cli::run(Cli::parse().command) {
        Ok(code) => code,
        // `procserver logs a | head`: the reader has what it wanted.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to tell when stderr is closed.
            let _ = writeln!(io::stderr(), "error: {}", in_full(&error));
            if error.is::<Usage>() {
                ExitCode::from(2)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

/// The error with its causes, each said once: some errors have their cause's text in their own.
fn in_full(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |text, cause| {
        let cause = cause.to_string();
        match text.as_str() {
            "" => cause,
            said if said.contains(&cause) => text,
            said => format!("{said}: {cause}"),
        }
    })
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
