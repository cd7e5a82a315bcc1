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
    let script = with_names(args.shell, &String::from_utf8(script)?);
    std::io::stdout().write_all(script.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// The script, with what [`super::candidates`] tells of the server in front of what clap knows.
fn with_names(shell: Shell, script: &str) -> String {
    match shell {
        Shell::Bash => format!("{script}{BASH}"),
        // Behind the names of "logs" its options go on: `::` would end them.
        Shell::Zsh => script.replace("'*::names", "'*:names").replacen(
            "_procserver() {\n",
            &format!("_procserver() {{\n{ZSH}"),
            1,
        ),
        Shell::Fish => format!("{script}{FISH}"),
        _ => script.to_owned(),
    }
}

// Words go through a pipe, not on a command line that all users of the machine can read. What comes is split at line
// ends and never read as a pattern or as code.

const BASH: &str = r#"
_procserver_with_applications() {
    _procserver "$@"
    local IFS=$'\n' found
    found=$(printf '%s\n' "${COMP_WORDS[@]:1:COMP_CWORD-1}" "$2" | procserver candidates 2>/dev/null)
    if [[ -n $found ]]; then
        mapfile -t COMPREPLY <<<"$found"
    fi
}
complete -F _procserver_with_applications -o bashdefault -o default procserver
"#;

const ZSH: &str = r#"    local -a found
    found=( "${(@f)$(print -rl -- "${(@)words[2,CURRENT]}" | procserver candidates 2>/dev/null)}" )
    if [[ -n "$found" ]]; then
        compadd -- "${(@)found}"
        return
    fi
"#;

const FISH: &str = r#"
function __procserver_candidates
    set -g __procserver_found (begin; string join -- \n (commandline -opc)[2..-1]; commandline -ct; end | procserver candidates 2>/dev/null)
    test (count $__procserver_found) -gt 0
end
complete -c procserver -n __procserver_candidates -f -a '$__procserver_found'
complete -c procserver -n __procserver_candidates -l process -s p -x -a '$__procserver_found'
for option in app only x-app
    complete -c procserver -n __procserver_candidates -l $option -x -a '$__procserver_found'
end
"#;
