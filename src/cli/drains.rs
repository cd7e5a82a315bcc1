//! `procserver drains`: show or change where the logs of an application are sent.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{Client, ClientArgs};
use super::deploy::{self, WaitArgs};
use super::output::{Output, cell};
use super::usage::Usage;
use crate::document::drain::{self, DrainConfig};
use crate::document::name::AppName;
use crate::regular;

/// Arguments of `drains`.
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    disable_help_subcommand = true,
    after_help = "Examples:
  procserver drains blog                               what each has got, and what waits
  procserver drains add blog syslog+tls://logs.example.org:6514
  procserver drains rm blog syslog+tls://logs.example.org:6514
  procserver drains blog --json"
)]
pub struct DrainsArgs {
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

/// What is done to an application's drains.
#[derive(Subcommand, Debug)]
pub enum Change {
    /// Send an application's logs to a receiver
    #[command(after_help = "Examples:
  procserver drains add blog syslog+tls://logs.example.org:6514
  procserver drains add blog syslog+tls://10.0.0.5:6514 --receiver-ca receiver.pem
  procserver drains add blog loki+https://USER:PASSWORD@loki.example.org
  procserver drains add blog https://TOKEN@logs.example.org/in --stream access --type web

From then on each new line is sent, also what was written while the receiver was away, as far as the log has it. A \
receiver that is there already gets the options that are given now.")]
    Add(AddArgs),
    /// Send an application's logs to a receiver no more
    #[command(aliases = ["remove", "delete"], after_help = "Examples:
  procserver drains rm blog syslog+tls://logs.example.org:6514
  procserver drains rm blog https://logs.example.org/in   also without its TOKEN
  procserver drains rm blog 2                          the second of \"procserver drains blog\"")]
    Rm(RmArgs),
}

/// Arguments of `drains add`.
#[derive(Args, Debug)]
pub struct AddArgs {
    /// The application
    #[arg(value_parser = AppName::parse)]
    pub name: AppName,
    /// Of the receiver: syslog+tls, syslog+tcp or syslog+udp://HOST:PORT, https://…, http://…, loki+https://… or
    /// loki+http://…
    #[arg(value_parser = url)]
    pub url: String,
    /// Which log: stdout, stderr, install or access; may be repeated [default: stdout and stderr]
    #[arg(long = "stream", value_name = "LOG", value_parser = drain::stream)]
    pub streams: Vec<String>,
    /// Only of processes of this type; may be repeated [default: of all]
    #[arg(long = "type", value_name = "TYPE")]
    pub types: Vec<String>,
    /// File of certificates (PEM) that are trusted instead of those of the server's machine
    #[arg(long = "receiver-ca", value_name = "FILE")]
    pub receiver_ca: Option<PathBuf>,
    /// Whether to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
    /// How to reach the server.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Arguments of `drains rm`.
#[derive(Args, Debug)]
pub struct RmArgs {
    /// The application
    #[arg(value_parser = AppName::parse)]
    pub name: AppName,
    /// Its URL, with or without its password, or its number in the list
    pub url: String,
    /// Whether to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
    /// How to reach the server.
    #[command(flatten)]
    pub client: ClientArgs,
}

fn url(text: &str) -> Result<String, String> {
    DrainConfig::to(text)
        .map(|_| text.to_owned())
        .map_err(|error| format!("it {error}"))
}

impl DrainsArgs {
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

/// Shows the drains, or changes them.
///
/// # Errors
/// What the API refuses, a file that cannot be read, and a drain to be taken away that is not there.
pub async fn run(args: &DrainsArgs, client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
    match (&args.change, &args.name) {
        (Some(Change::Add(args)), _) => {
            let entry = entry(args)?;
            let patch = |document: &Value| Ok(json!({ "drains": added(document, &entry) }));
            deploy::change_by(&args.name, patch, args.wait, client, out).await
        }
        (Some(Change::Rm(args)), _) => {
            let patch = |document: &Value| {
                let drains = without(&args.name, document, &args.url)?;
                Ok(json!({ "drains": drains }))
            };
            deploy::change_by(&args.name, patch, args.wait, client, out).await
        }
        (None, Some(name)) => show(name, client, out).await,
        (None, None) => Err(Usage("drains needs an application".to_owned()).into()),
    }
}

/// What stands in the document.
fn entry(args: &AddArgs) -> anyhow::Result<Value> {
    let mut entry = json!({ "url": args.url });
    if !args.streams.is_empty() {
        entry["streams"] = json!(args.streams);
    }
    if !args.types.is_empty() {
        entry["types"] = json!(args.types);
    }
    if let Some(file) = &args.receiver_ca {
        let read = regular::read(file, drain::MAX_CA as u64);
        let text = read.with_context(|| format!("--receiver-ca {}", file.display()))?;
        entry["ca"] = String::from_utf8_lossy(&text).into();
    }
    Ok(entry)
}

async fn show(name: &AppName, client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
    let status: Value = client.get(&format!("/applications/{name}/status")).await?;
    let drains = status["drains"].as_array().cloned().unwrap_or_default();
    if out.is_json() {
        out.json(&json!(drains))?;
        return Ok(ExitCode::SUCCESS);
    }
    if drains.is_empty() {
        out.note(&format!(
            "the logs of {name} are sent nowhere; to send them: procserver drains add {name} syslog+tls://HOST:PORT"
        ));
        return Ok(ExitCode::SUCCESS);
    }
    let is_shown_twice = |url: &Value| drains.iter().filter(|one| one["url"] == *url).count() > 1;
    // Those of the document come first, in its order.
    let rows = drains.iter().enumerate().map(|(place, drain)| {
        let number = match drain["of_server"].as_bool() {
            Some(true) => "server".to_owned(),
            _ => (place + 1).to_string(),
        };
        let mut url = cell(&drain["url"]);
        if is_shown_twice(&drain["url"]) {
            // What tells them apart is not shown to all; metrics and "drains rm" know them by this.
            url.push_str(&format!(" ({})", cell(&drain["key"])));
        }
        let columns = ["state", "sent", "waiting", "dropped", "error"];
        let cells = columns.iter().map(|column| cell(&drain[*column]));
        [number, url].into_iter().chain(cells).collect()
    });
    let columns = ["", "URL", "STATE", "SENT", "WAITING", "DROPPED", "ERROR"];
    out.table(&columns, &rows.collect::<Vec<Vec<_>>>())?;
    Ok(ExitCode::SUCCESS)
}

/// The drains of `document` with `entry`, in the place of the one to the same receiver: its password may be another.
fn added(document: &Value, entry: &Value) -> Vec<Value> {
    let mut drains = list_of(document);
    let key = key_of(entry);
    let known = drains.iter_mut().find(|one| key_of(one) == key);
    match known {
        Some(known) => *known = entry.clone(),
        None => drains.push(entry.clone()),
    }
    drains
}

fn without(app: &AppName, document: &Value, url: &str) -> anyhow::Result<Vec<Value>> {
    let mut drains = list_of(document);
    let number: Option<usize> = url.parse().ok();
    let by_number = number.and_then(|number| number.checked_sub(1));
    let key = DrainConfig::to(url).map_or(url.to_owned(), |drain| drain.url.key());
    let is_it = |one: &Value| key_of(one).is_some_and(|known| known == key);
    let at = by_number
        .filter(|at| *at < drains.len())
        .or_else(|| drains.iter().position(is_it));
    let Some(at) = at else {
        anyhow::bail!("{app} has no drain {url}: \"procserver drains {app}\" lists them");
    };
    drains.remove(at);
    Ok(drains)
}

/// What the server knows a receiver by.
fn key_of(entry: &Value) -> Option<String> {
    let drain = DrainConfig::to(entry["url"].as_str()?).ok()?;
    Some(drain.url.key())
}

fn list_of(document: &Value) -> Vec<Value> {
    document["drains"].as_array().cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn parse(line: &str) -> Result<DrainsArgs, clap::Error> {
        Cli::try_parse_from(line.split(' ')).map(|cli| match cli.command {
            Command::Drains(args) => args,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn a_drain_is_added_once_and_taken_by_its_url_or_number() {
        let line = "procserver drains add blog https://t@h/in --stream access --type web";
        let Some(Change::Add(add)) = parse(line).unwrap().change else {
            panic!("{line}")
        };
        let one = entry(&add).unwrap();
        let expected = json!({"url": "https://t@h/in", "streams": ["access"], "types": ["web"]});
        assert_eq!(one, expected);
        let document = json!({"drains": [{"url": "https://t@h/in"}, {"url": "syslog+tcp://h"}]});
        let both = added(&document, &one);
        assert_eq!(both, [expected, json!({"url": "syslog+tcp://h"})]);
        let app = AppName::parse("blog").unwrap();
        let left = |url: &str| without(&app, &document, url).map(|left| left[0]["url"].clone());
        assert_eq!(left("2").unwrap(), "https://t@h/in");
        assert_eq!(left("https://t@h/in").unwrap(), "syslog+tcp://h");
        // The same receiver, by another password and by what metrics know it by.
        assert_eq!(left("https://u@h/in").unwrap(), "syslog+tcp://h");
        let key = DrainConfig::to("https://h/in").unwrap().url.key();
        assert_eq!(left(&key).unwrap(), "syslog+tcp://h");
        let other = json!({"url": "https://other@h/in"});
        assert_eq!(
            added(&document, &other),
            [other.clone(), json!({"url": "syslog+tcp://h"})]
        );
        for missing in ["0", "3", "https://h/other", ""] {
            let error = left(missing).unwrap_err().to_string();
            assert!(error.contains("procserver drains blog"), "{error}");
        }
    }

    #[test]
    fn rubbish_is_refused_before_anything_is_sent() {
        for wrong in [
            "procserver drains",
            "procserver drains add blog",
            "procserver drains add blog ftp://h",
            "procserver drains add blog https://h --stream all",
            "procserver drains rm blog",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
