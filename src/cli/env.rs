//! `procserver env`: show or change an application's environment variables.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Map, Value, json};

use super::client::{Client, ClientArgs};
use super::deploy::{self, WaitArgs};
use super::document::pair;
use super::output::Output;
use super::usage::Usage;
use crate::app::name::AppName;

/// Arguments of `env`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  procserver env blog                          show them
  procserver env blog RAILS_ENV=production     set one: the processes are replaced, nothing is installed
  procserver env blog A=1 B=2 -OLD             set two, remove one
  procserver env blog --json")]
pub struct EnvArgs {
    /// The application
    #[arg(value_parser = AppName::parse)]
    pub name: AppName,
    /// Variables to set, or with a leading - to remove
    #[arg(value_name = "NAME=VALUE|-NAME", allow_hyphen_values = true)]
    pub variables: Vec<String>,
    /// Whether to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
    /// How to reach the server.
    #[command(flatten)]
    pub client: ClientArgs,
}

impl EnvArgs {
    /// Takes the options out that stand behind variables: there, clap takes all words for variables.
    ///
    /// # Errors
    /// [`Usage`]: an option that must stand before them.
    pub fn settled(mut self) -> Result<Self, Usage> {
        for word in std::mem::take(&mut self.variables) {
            match word.as_str() {
                "--json" => self.client.json = true,
                "--no-wait" => self.wait.no_wait = true,
                option if option.starts_with("--") => {
                    let text = format!("{option} must stand before the variables");
                    return Err(Usage(text));
                }
                _ => self.variables.push(word),
            }
        }
        Ok(self)
    }
}

/// Shows the variables, or changes them and follows what that takes.
///
/// # Errors
/// Words that are no variables, what the API refuses, and a release that does not get ready.
pub async fn run(args: &EnvArgs, client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
    if args.variables.is_empty() {
        return show(&args.name, client, out).await;
    }
    let patch = json!({ "env": changes(&args.variables)? });
    deploy::change(&args.name, &patch, args.wait, client, out).await
}

async fn show(name: &AppName, client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
    let document: Value = client.get(&format!("/applications/{name}")).await?;
    let variables = document.get("env").cloned().unwrap_or_else(|| json!({}));
    if out.is_json() {
        out.json(&variables)?;
        return Ok(ExitCode::SUCCESS);
    }
    for (name, value) in variables.as_object().into_iter().flatten() {
        out.line(&format!("{name}={}", value.as_str().unwrap_or_default()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn changes(words: &[String]) -> Result<Map<String, Value>, Usage> {
    let change = |word: &String| {
        if let Some(name) = word.strip_prefix('-') {
            return Ok((name.to_owned(), Value::Null));
        }
        let (name, value) = pair(word).map_err(|error| Usage(error.to_string()))?;
        Ok((name, Value::from(value)))
    };
    words.iter().map(change).collect()
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
        let changes = changes(&args.variables).unwrap();
        assert_eq!(
            Value::from(changes),
            json!({"A": "1=2", "OLD": null, "B": ""})
        );
        assert!(super::changes(&["A".to_owned()]).is_err());
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
