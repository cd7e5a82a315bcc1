//! `procserver domains`: show or change the names under which an application is reached.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{Client, ClientArgs};
use super::deploy::{self, WaitArgs};
use super::output::{Output, cell};
use super::usage::Usage;
use crate::document::formation::ROUTED;
use crate::document::host_entry::HostEntry;
use crate::document::host_name::HostName;
use crate::document::name::AppName;

/// Arguments of `domains`.
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    disable_help_subcommand = true,
    after_help = "Examples:
  procserver domains blog                              show them
  procserver domains add blog blog.example.org www.example.org
  procserver domains add blog '*.blog.example.org'     one label before the rest of the name
  procserver domains rm blog www.example.org
  procserver domains blog --json"
)]
pub struct DomainsArgs {
    /// What to change.
    #[command(subcommand)]
    pub change: Option<Change>,
    /// The application
    #[arg(value_parser = AppName::parse, required = true)]
    pub name: Option<AppName>,
    /// How to reach the server.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// What is done to an application's names.
#[derive(Subcommand, Debug)]
pub enum Change {
    /// Let an application be reached by names
    #[command(after_help = "Examples:
  procserver domains add blog blog.example.org www.example.org
  procserver domains add blog bücher.example           as xn--bcher-kva.example
  procserver domains add blog '*.blog.example.org'     one label before the rest of the name
  procserver domains add blog ws.example.org=cable     another process type than web answers there
  procserver domains add blog blog.example.org --json

A name belongs to one application. It comes before wildcards, and these before the patterns in `domain`. It must lead \
to this server in the DNS, which others look after.")]
    Add(AddArgs),
    /// Take names from an application
    #[command(aliases = ["remove", "delete"], after_help = "Examples:
  procserver domains rm blog www.example.org
  procserver domains rm blog www.example.org blog.example.org --json")]
    Rm(RmArgs),
}

/// Arguments of `domains add`.
#[derive(Args, Debug)]
pub struct AddArgs {
    /// The application
    #[arg(value_parser = AppName::parse)]
    pub name: AppName,
    /// A name, as in blog.example.org, or '*.example.org' for all of one label more; =TYPE where another process type
    /// than web answers there
    #[arg(required = true, value_name = "HOST[=TYPE]", value_parser = HostEntry::parse_typed)]
    pub hosts: Vec<HostEntry>,
    /// Whether to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
    /// How to reach the server.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Arguments of `domains rm`.
#[derive(Args, Debug)]
pub struct RmArgs {
    /// The application
    #[arg(value_parser = AppName::parse)]
    pub name: AppName,
    /// A name that it has
    #[arg(required = true, value_name = "HOST", value_parser = HostName::parse)]
    pub hosts: Vec<HostName>,
    /// Whether to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
    /// How to reach the server.
    #[command(flatten)]
    pub client: ClientArgs,
}

impl DomainsArgs {
    /// How to reach the server.
    #[must_use]
    pub fn client(&self) -> &ClientArgs {
        match &self.change {
            Some(Change::Add(args)) => &args.client,
            Some(Change::Rm(args)) => &args.client,
            None => &self.client,
        }
    }
}

/// Shows the names, or changes them.
///
/// # Errors
/// What the API refuses, and a name to be taken away that is not there.
pub async fn run(
    args: &DomainsArgs,
    client: &Client,
    out: &mut Output,
) -> anyhow::Result<ExitCode> {
    match (&args.change, &args.name) {
        (Some(Change::Add(args)), _) => {
            let patch = |document: &Value| {
                let hosts = added(list_of(&document["hosts"]), &args.hosts);
                Ok(json!({ "hosts": hosts }))
            };
            deploy::change_by(&args.name, patch, args.wait, client, out).await
        }
        (Some(Change::Rm(args)), _) => {
            let patch = |document: &Value| {
                let hosts = without(&args.name, list_of(&document["hosts"]), &args.hosts)?;
                Ok(json!({ "hosts": hosts }))
            };
            deploy::change_by(&args.name, patch, args.wait, client, out).await
        }
        (None, Some(name)) => show(name, client, out).await,
        (None, None) => Err(Usage("domains needs an application".to_owned()).into()),
    }
}

async fn show(name: &AppName, client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
    let document: Value = client.get(&format!("/applications/{name}")).await?;
    let (hosts, patterns) = (list_of(&document["hosts"]), list_of(&document["domain"]));
    if out.is_json() {
        out.json(&json!({ "hosts": hosts, "domain": patterns }))?;
        return Ok(ExitCode::SUCCESS);
    }
    if hosts.is_empty() && patterns.is_empty() {
        out.note(&format!(
            "{name} has no names; to add one: procserver domains add {name} {name}.example.org"
        ));
        return Ok(ExitCode::SUCCESS);
    }
    let row = |host: &Value, kind: &str| {
        let process = host["process"].as_str().unwrap_or(ROUTED);
        vec![name_of(host), kind.to_owned(), process.to_owned()]
    };
    let hosts = hosts
        .iter()
        .map(|host| match name_of(host).starts_with("*.") {
            true => row(host, "wildcard"),
            false => row(host, "name"),
        });
    let patterns = patterns.iter().map(|pattern| row(pattern, "pattern"));
    out.table(
        &["HOST", "KIND", "PROCESS"],
        &hosts.chain(patterns).collect::<Vec<_>>(),
    )?;
    Ok(ExitCode::SUCCESS)
}

/// `hosts` with `given`: a name that is there already gets the process type that is given now.
fn added(mut hosts: Vec<Value>, given: &[HostEntry]) -> Vec<Value> {
    for entry in given {
        let known = hosts
            .iter_mut()
            .find(|host| name_of(host) == entry.name.as_str());
        match known {
            Some(host) => *host = entry.to_value(),
            None => hosts.push(entry.to_value()),
        }
    }
    hosts
}

fn without(app: &AppName, mut hosts: Vec<Value>, given: &[HostName]) -> anyhow::Result<Vec<Value>> {
    for name in given {
        let at = hosts.iter().position(|host| name_of(host) == name.as_str());
        let Some(at) = at else {
            anyhow::bail!("{app} has no host {name}: \"procserver domains {app}\" lists them");
        };
        hosts.remove(at);
    }
    Ok(hosts)
}

/// The name of an entry of `hosts`.
fn name_of(host: &Value) -> String {
    match &host["name"] {
        Value::Null => cell(host),
        name => cell(name),
    }
}

fn list_of(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn parse(line: &str) -> Result<DomainsArgs, clap::Error> {
        Cli::try_parse_from(line.split(' ')).map(|cli| match cli.command {
            Command::Domains(args) => args,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn an_application_alone_is_shown_and_a_verb_changes_its_names() {
        let shown = parse("procserver domains blog --json").unwrap();
        assert_eq!(shown.name.as_ref().map(AppName::as_str), Some("blog"));
        assert!(shown.change.is_none() && shown.client().json);
        let args = parse("procserver domains add blog A.example *.b.example=cable --json").unwrap();
        assert!(args.client().json);
        let Some(Change::Add(add)) = args.change else {
            panic!("{args:?}")
        };
        let hosts: Vec<_> = add.hosts.iter().map(HostEntry::to_value).collect();
        let cable = json!({"name": "*.b.example", "process": "cable"});
        assert_eq!(hosts, [json!("a.example"), cable]);
        for wrong in [
            "procserver domains",
            "procserver domains add blog",
            "procserver domains rm blog https://a.example",
            "procserver domains blog a.example",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        for verb in ["add", "rm"] {
            let help = parse(&format!("procserver domains {verb} --help"));
            let help = help.unwrap_err().to_string();
            assert!(
                help.contains("Examples:") && help.contains("--json"),
                "{help}"
            );
        }
    }

    #[test]
    fn names_are_added_once_and_only_taken_where_they_are() {
        let app = AppName::parse("blog").unwrap();
        let name = HostName::parse("b.example").unwrap();
        let b = [HostEntry::from(name.clone())];
        let cable = [HostEntry::parse_typed("b.example=cable").unwrap()];
        let (one, both) = (
            vec![json!("a.example")],
            vec![json!("a.example"), json!("b.example")],
        );
        assert_eq!(added(one.clone(), &b), both);
        assert_eq!(added(both.clone(), &b), both);
        assert_eq!(added(both, &cable)[1], cable[0].to_value());
        let typed = vec![json!("a.example"), cable[0].to_value()];
        assert_eq!(
            without(&app, typed, std::slice::from_ref(&name)).unwrap(),
            one
        );
        let error = without(&app, one, &[name]).unwrap_err().to_string();
        assert!(error.contains("no host b.example"), "{error}");
    }
}
