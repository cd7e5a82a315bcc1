//! `procserver ssh-key`: who may push over ssh.

use std::process::ExitCode;

use actix_web::http::Method;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{Call, Client, ClientArgs};
use super::document::encode_query;
use super::input;
use super::output::{Output, apps, cell, time};
use crate::document::name::AppName;

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
#[command(after_help = "Examples:
  procserver ssh-key add ~/.ssh/id_ed25519.pub
  procserver ssh-key add ci - --app blog < ci.pub
  curl -s https://github.com/ann.keys | head -n 1 | procserver ssh-key add ann -
  procserver ssh-key list
  procserver ssh-key remove ci
  procserver ssh-key --json

Who has the private key may git push ssh://procserver@SERVER/NAME.git and git clone it, to all applications or those of --app, \
and nothing else: there is no shell, no terminal and no forwarding. The machine's own sshd lets them in as the user \
\"procserver\", which the Debian package makes; without it \"add\" says what to type. By which key this server itself fetches \
code is shown by \"procserver key\".")]
pub struct SshKeyArgs {
    /// What to do; without it they are listed.
    #[command(subcommand)]
    pub action: Option<Action>,
    #[command(flatten)]
    pub client: ClientArgs,
}

#[derive(Subcommand, Debug)]
pub enum Action {
    /// Let the holder of a key push
    #[command(after_help = "Examples:
  procserver ssh-key add ~/.ssh/id_ed25519.pub
  procserver ssh-key add ci - --app blog < ci.pub")]
    Add(AddArgs),
    /// List all keys
    #[command(
        alias = "ls",
        after_help = "Examples:
  procserver ssh-key list
  procserver ssh-key list --json"
    )]
    List(ListArgs),
    /// Take a key away: from now on it opens nothing
    #[command(aliases = ["rm", "delete", "revoke"], after_help = "Examples:
  procserver ssh-key remove ci
  procserver ssh-key remove ci --json")]
    Remove(RemoveArgs),
}

/// Arguments of `ssh-key add`.
#[derive(Args, Debug)]
#[command(allow_missing_positional = true)]
pub struct AddArgs {
    /// A name that no other key has [default: the key's comment]
    pub name: Option<String>,
    /// File of the public key, such as ~/.ssh/id_ed25519.pub; - is standard input
    pub file: String,
    /// An application that it is for; repeat it for more [default: all]
    #[arg(long = "app", value_name = "NAME", value_parser = AppName::parse)]
    pub apps: Vec<AppName>,
    /// How to reach the server.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Arguments of `ssh-key list`.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// How to reach the server.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Arguments of `ssh-key remove`.
#[derive(Args, Debug)]
pub struct RemoveArgs {
    /// The id or the name of a key
    pub key_id: String,
    /// How to reach the server.
    #[command(flatten)]
    pub client: ClientArgs,
}

impl SshKeyArgs {
    /// How to reach the server.
    #[must_use]
    pub fn client(&self) -> &ClientArgs {
        match &self.action {
            Some(Action::Add(args)) => &args.client,
            Some(Action::List(args)) => &args.client,
            Some(Action::Remove(args)) => &args.client,
            None => &self.client,
        }
    }
}

/// Lists, adds or removes keys.
///
/// # Errors
/// What the API refuses; a file that cannot be read.
pub async fn run(args: &SshKeyArgs, client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
    match &args.action {
        Some(Action::Add(args)) => add(args, client, out).await?,
        Some(Action::Remove(args)) => remove(args, client, out).await?,
        Some(Action::List(_)) | None => list(client, out).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn add(args: &AddArgs, client: &Client, out: &mut Output) -> anyhow::Result<()> {
    let mut wish = json!({"key": input::text(&args.file)?});
    if let Some(name) = &args.name {
        wish["name"] = name.as_str().into();
    }
    if !args.apps.is_empty() {
        wish["apps"] = json!(args.apps);
    }
    let call = Call::new(Method::POST, "/-/ssh-keys").body(wish.to_string());
    let added = client.send(&call).await?.json();
    if out.is_json() {
        return Ok(out.json(&added)?);
    }
    let app = args.apps.first().map_or("NAME", AppName::as_str);
    Ok(out.line(&format!(
        "{}: added ({}); git push ssh://{}@SERVER/{app}.git main",
        cell(&added["name"]),
        cell(&added["fingerprint"]),
        cell(&added["user"]),
    ))?)
}

async fn remove(args: &RemoveArgs, client: &Client, out: &mut Output) -> anyhow::Result<()> {
    let path = format!("/-/ssh-keys/{}", encode_query(&args.key_id));
    let gone = client.send(&Call::new(Method::DELETE, path)).await?.json();
    match out.is_json() {
        true => out.json(&gone)?,
        false => out.line(&format!(
            "{}: removed, it opens nothing any more",
            cell(&gone["name"])
        ))?,
    }
    Ok(())
}

async fn list(client: &Client, out: &mut Output) -> anyhow::Result<()> {
    let keys: Vec<Value> = client.get("/-/ssh-keys").await?;
    if out.is_json() {
        return Ok(out.json(&Value::Array(keys))?);
    }
    let headings = [
        "NAME",
        "ID",
        "APPS",
        "KIND",
        "FINGERPRINT",
        "COMMENT",
        "ADDED",
        "LAST USED",
    ];
    let rows: Vec<_> = keys.iter().map(row).collect();
    Ok(out.table(&headings, &rows)?)
}

fn row(key: &Value) -> Vec<String> {
    vec![
        cell(&key["name"]),
        cell(&key["id"]),
        apps(&key["apps"]),
        cell(&key["kind"]),
        cell(&key["fingerprint"]),
        cell(&key["comment"]),
        time(&key["created"]),
        time(&key["last_used"]),
    ]
}
