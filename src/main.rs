//! The `procserver` binary: parses arguments, dispatches, turns errors into exit codes.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use clap::error::{ContextKind, ContextValue};
use procserver::cli::usage::Usage;
use procserver::cli::{self, Cli, elsewhere, tips};
use procserver::install::quota::confined;
use procserver::process::exec;

fn main() -> ExitCode {
    // The daemon starts each process with it: no time is to be lost on a command line that is known.
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == exec::VERB) && words.next().is_none() {
        exec::run();
    }
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == confined::VERB) {
        confined::run(words);
    }
    let mut words = std::env::args_os();
    let program = words.next();
    let words = program
        .into_iter()
        .chain(elsewhere::understood(words.collect()));
    let parsed = Cli::try_parse_from(words).unwrap_or_else(|error| refused(error));
    match cli::run(parsed.command) {
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

/// Says what is wrong with the command line, and for a verb of another tool what it is called here.
fn refused(mut error: clap::Error) -> ! {
    let word = match error.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(word)) => Some(word.clone()),
        _ => None,
    };
    let tip = word.as_ref().and_then(|word| {
        let mut words = std::env::args().skip_while(|argument| argument != word);
        tips::instead_of(word, words.nth(1).as_deref())
    });
    if tip.is_some() {
        // A verb that is only spelled alike is of no use.
        error.remove(ContextKind::SuggestedSubcommand);
    }
    // Nothing is left to tell when stderr is closed.
    let _ = error.print();
    if let Some(tip) = tip {
        let _ = writeln!(io::stderr(), "\n  tip: here it is {tip}");
    }
    std::process::exit(error.exit_code())
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
