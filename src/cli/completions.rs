//! `procserver completions`: print what makes a shell complete this command line.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::aot::{self, Shell};

use super::Cli;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  procserver completions bash > ~/.local/share/bash-completion/completions/procserver
  procserver completions zsh > ~/.zfunc/_procserver
  procserver completions fish > ~/.config/fish/completions/procserver.fish

The Debian package has all three. zsh reads ~/.zfunc where .zshrc has fpath+=~/.zfunc before compinit.")]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL", value_parser = parse)]
    pub shell: Shell,
}

/// Of all shells that `clap_complete` knows, the ones that were tried.
fn parse(text: &str) -> Result<Shell, String> {
    match text {
        "bash" => Ok(Shell::Bash),
        "zsh" => Ok(Shell::Zsh),
        "fish" => Ok(Shell::Fish),
        _ => Err("write bash, zsh or fish".to_owned()),
    }
}

/// Prints the script.
///
/// # Errors
/// Standard output cannot be written.
pub fn run(args: &CompletionsArgs) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    aot::generate(args.shell, &mut Cli::command(), "procserver", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}
