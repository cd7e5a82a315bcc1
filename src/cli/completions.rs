//! `procserver completions`: print what makes a shell complete this command line.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::aot::{self, Shell};

use super::Cli;
use super::app_option::takes_name;

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
    let script = with_applications(args.shell, &String::from_utf8(script)?);
    std::io::stdout().write_all(script.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// In a shell: the names of the applications that the server has now, one a line. Nothing where it does not answer.
const NAMES: &str =
    r#"procserver apps --json 2>/dev/null | grep -o '"name": *"[^"]*"' | cut -d '"' -f 4"#;

/// The script with the server's applications behind those verbs whose first word one is.
fn with_applications(shell: Shell, script: &str) -> String {
    let command = Cli::command();
    let verbs = command.get_subcommands().filter(|verb| takes_name(verb));
    let verbs = verbs.flat_map(|verb| verb.get_all_aliases().chain([verb.get_name()]));
    let verbs: Vec<&str> = verbs.collect();
    match shell {
        Shell::Bash => format!(
            r#"{script}
_procserver_with_applications() {{
    _procserver "$@"
    if [[ $COMP_CWORD -eq 2 && $2 != -* ]]; then
        case "${{COMP_WORDS[1]}}" in
            {}) COMPREPLY=( $(compgen -W "$({NAMES})" -- "$2") ) ;;
        esac
    fi
}}
complete -F _procserver_with_applications -o bashdefault -o default procserver
"#,
            verbs.join("|")
        ),
        Shell::Zsh => {
            let mut lines: Vec<String> = script.lines().map(str::to_owned).collect();
            let takes_name = |line: &str| line.starts_with("':name -- The application:_default'");
            for line in lines.iter_mut().filter(|line| takes_name(line)) {
                *line = line.replace("_default'", "_procserver_applications'");
            }
            let function = format!(
                "_procserver_applications() {{\n    local -a names=( ${{(f)\"$({NAMES})\"}} )\n    \
                 compadd -a names\n}}\n"
            );
            // Behind the first line, which says whose it is.
            lines.insert(1, function);
            lines.join("\n") + "\n"
        }
        Shell::Fish => format!(
            "{script}complete -c procserver -n '__fish_procserver_using_subcommand {}; and test (count \
             (commandline -opc)) -eq 2' -f -a \"({})\"\n",
            verbs.join(" "),
            NAMES.replace('"', "\\\"")
        ),
        _ => script.to_owned(),
    }
}
