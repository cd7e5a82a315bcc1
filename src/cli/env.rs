//! `procserver env`: show or change an application's environment variables.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Map, Value, json};

use super::client::{Client, ClientArgs};
use super::deploy::{self, WaitArgs};
use super::document::pair;
use super::input;
use super::output::Output;
use super::usage::Usage;
use crate::document::dotenv::Dotenv;
use crate::document::name::AppName;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  procserver env blog                          show them
  procserver env blog RAILS_ENV                show one value
  procserver env blog RAILS_ENV=production     set one, replace the processes, install nothing
  procserver env blog A=1 B=2 -OLD             set two, remove one
  procserver env blog SECRET_KEY=-             asks for the value, or reads it from standard input
  procserver env blog --file .env              set what a file has; - reads standard input
  procserver env blog --json

Other users of the machine can read a command line: give secrets by - or --file.")]
pub struct EnvArgs {
    /// The application
    #[arg(value_parser = AppName::parse)]
    pub name: AppName,
    /// Variables to set, or with a leading - to remove; the value - is read from standard input
    #[arg(value_name = "NAME=VALUE|-NAME|NAME", allow_hyphen_values = true)]
    pub variables: Vec<String>,
    /// File with variables to set, written as .env is
    #[arg(long, value_name = "FILE")]
    pub file: Option<String>,
    #[command(flatten)]
    pub wait: WaitArgs,
    #[command(flatten)]
    pub client: ClientArgs,
}

impl EnvArgs {
    /// Takes the options out that stand behind variables: there, clap takes all words for variables.
    ///
    /// # Errors
    /// [`Usage`]: an option that must stand before them.
    pub fn settled(mut self) -> Result<Self, Usage> {
        let mut words = std::mem::take(&mut self.variables).into_iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--json" => self.client.json = true,
                "--no-wait" => self.wait.no_wait = true,
                "--file" => {
                    let file = words.next();
                    self.file = Some(file.ok_or_else(|| Usage("--file needs a file".into()))?);
                }
                option if option.starts_with("--file=") => {
                    self.file = option.strip_prefix("--file=").map(str::to_owned);
                }
                option if option.starts_with("--") => {
                    let text = format!("{option} must stand before the variables");
                    return Err(Usage(text));
                }
                _ => self.variables.push(word),
            }
        }
        Ok(self)
    }

    /// Whether variables are only to be shown.
    fn only_shows(&self) -> bool {
        let is_name = |word: &String| !word.contains('=') && !word.starts_with('-');
        self.file.is_none() && self.variables.iter().all(is_name)
    }
}

/// Shows the variables, or changes them and follows what that takes.
///
/// # Errors
/// [`Usage`], what the API refuses, and a deployment that fails.
pub async fn run(args: &EnvArgs, client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
    if args.only_shows() {
        return show(args, client, out).await;
    }
    let patch = json!({ "env": changes(args)? });
    deploy::change(&args.name, &patch, args.wait, client, out).await
}

async fn show(args: &EnvArgs, client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
    let name = &args.name;
    let document: Value = client.get(&format!("/applications/{name}")).await?;
    let mut variables = document["env"].as_object().cloned().unwrap_or_default();
    let wanted = &args.variables;
    if let Some(missing) = wanted
        .iter()
        .find(|wanted| !variables.contains_key(*wanted))
    {
        anyhow::bail!("{name} has no variable {missing}; to set it, write {missing}=VALUE");
    }
    if !wanted.is_empty() {
        variables.retain(|variable, _| wanted.contains(variable));
    }
    if out.is_json() {
        out.json(&Value::Object(variables))?;
        return Ok(ExitCode::SUCCESS);
    }
    // What is shown is the document's, which a rollback or a failed deploy leaves behind or ahead of what runs.
    let status: Value = client.get(&format!("/applications/{name}/status")).await?;
    if let Some(why) = status["left_out"].as_str() {
        out.note(&format!("these are of the newest document, and {why}"));
    }
    if variables.is_empty() {
        out.note(&format!(
            "{name} has no variables in its document; to set one: procserver env {name} VARIABLE=VALUE"
        ));
    }
    for (name, value) in &variables {
        let value = value.as_str().unwrap_or_default();
        match wanted.len() {
            1 => out.line(value)?,
            _ => out.line(&format!("{name}={value}"))?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The merge patch of `env`: what the file has, then what the words say.
fn changes(args: &EnvArgs) -> anyhow::Result<Map<String, Value>> {
    let (mut set, mut removed) = (Vec::new(), Vec::new());
    for word in &args.variables {
        match word.strip_prefix('-') {
            Some(name) => removed.push(name.to_owned()),
            None => set.push(pair(word).map_err(|_| Usage(no_change(&args.name, word)))?),
        }
    }
    let safer = format!(
        "procserver env {} NAME=- (asks for it), or --file FILE",
        args.name
    );
    if let Some(note) = input::note_on_variables(&set, &safer) {
        input::warn(&note);
    }
    if args.file.as_deref() == Some(input::STDIN) && set.iter().any(|(_, v)| v == input::STDIN) {
        let text = "standard input is either the file or a value, not both";
        return Err(Usage(text.into()).into());
    }
    input::fill(&mut set)?;
    let mut patch = match &args.file {
        Some(file) => of_file(file)?,
        None => Map::new(),
    };
    patch.extend(
        set.into_iter()
            .map(|(name, value)| (name, Value::from(value))),
    );
    patch.extend(removed.into_iter().map(|name| (name, Value::Null)));
    Ok(patch)
}

/// What is wrong with a word that neither sets nor removes a variable, beside others that do.
fn no_change(name: &AppName, word: &str) -> String {
    format!(
        "\"{word}\" neither sets nor removes a variable: write {word}=VALUE or -{word}, or to show it alone: \
         procserver env {name} {word}"
    )
}

/// The variables of a file that is written as `.env` is.
pub(super) fn of_file(file: &str) -> anyhow::Result<Map<String, Value>> {
    let dotenv = Dotenv::parse(input::text(file)?.as_bytes())?;
    for warning in &dotenv.warnings {
        input::warn(&warning.replacen(".env", file, 1));
    }
    if dotenv.variables.is_empty() {
        return Err(Usage(format!(
            "{file} has no variable: write lines such as NAME=value"
        ))
        .into());
    }
    let variables = dotenv.variables.into_iter();
    Ok(variables
        .map(|(name, value)| (name, Value::from(value)))
        .collect())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn parse(words: &[&str]) -> EnvArgs {
        let all = ["procserver", "env"].iter().chain(words);
        match Cli::try_parse_from(all).unwrap().command {
            Command::Env(args) => args.settled().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn variables_are_set_and_removed() {
        let args = parse(&["blog", "A=1=2", "-OLD", "B="]);
        let changes = changes(&args).unwrap();
        assert_eq!(
            Value::from(changes),
            json!({"A": "1=2", "OLD": null, "B": ""})
        );
        assert!(super::changes(&parse(&["blog", "A", "B=1"])).is_err());
        assert!(parse(&["blog", "A", "B"]).only_shows() && parse(&["blog"]).only_shows());
        assert!(!parse(&["blog", "-A"]).only_shows());
    }

    #[test]
    fn a_file_is_read_as_a_dotenv_file_and_words_win() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("vars");
        std::fs::write(&file, "A=1\nB='x y'\n# no\n").unwrap();
        let file = file.to_str().unwrap();
        for words in [
            ["blog", "--file", file, "A=2"],
            ["blog", "A=2", "--file", file],
        ] {
            let changes = changes(&parse(&words)).unwrap();
            assert_eq!(Value::from(changes), json!({"A": "2", "B": "x y"}));
        }
        std::fs::write(file, "\n").unwrap();
        assert!(
            changes(&parse(&["blog", "--file", file]))
                .unwrap_err()
                .is::<Usage>()
        );
    }

    #[test]
    fn options_may_stand_on_either_side() {
        for words in [
            &["--json", "blog", "-OLD"][..],
            &["blog", "--json", "-OLD"],
            &["blog", "-OLD", "--json"],
        ] {
            let args = parse(words);
            assert!(args.client.json, "{words:?}");
            assert_eq!(args.variables, ["-OLD"], "{words:?}");
        }
    }
}
