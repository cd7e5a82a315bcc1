//! `procserver token`: who may call the API over TCP.

use std::process::ExitCode;

use actix_web::http::Method;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{Call, Client, ClientArgs};
use super::document::encode_query;
use super::output::{Output, apps, cell, time};
use crate::document::name::AppName;
use crate::tokens::Scope;

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
#[command(after_help = "Examples:
  procserver token
  procserver token create ci --scope deploy --app blog --expires 90d
  procserver token create dashboard --scope read > token
  procserver token revoke ci
  procserver token --json

Scopes: read shows everything but values of env and credentials; deploy may also start, stop, restart, redeploy, roll back, \
cancel, upload and scale; admin may do everything. The first token is in the file \"token\" of the server's data directory and \
stays; to replace it, remove that file and restart the server.")]
pub struct TokenArgs {
    /// What to do; without it they are listed.
    #[command(subcommand)]
    pub action: Option<Action>,
    #[command(flatten)]
    pub client: ClientArgs,
}

#[derive(Subcommand, Debug)]
pub enum Action {
    /// Make a token and print it: it is shown this once
    #[command(after_help = "Examples:
  procserver token create ci --scope deploy --app blog --expires 90d
  procserver token create dashboard --scope read > token
  procserver token create ops --scope admin --json")]
    Create(CreateArgs),
    /// List all tokens
    #[command(
        alias = "ls",
        after_help = "Examples:
  procserver token list
  procserver token list --json"
    )]
    List(ListArgs),
    /// Take a token away: from now on it opens nothing
    #[command(aliases = ["rm", "delete"], after_help = "Examples:
  procserver token revoke ci
  procserver token revoke ci --json")]
    Revoke(RevokeArgs),
}

/// Arguments of `token create`.
#[derive(Args, Debug)]
pub struct CreateArgs {
    /// A name that no other token has, such as ci
    pub name: String,
    /// What it may do: read, deploy or admin
    #[arg(long, value_parser = parse_scope)]
    pub scope: Scope,
    /// An application that it is for; repeat it for more [default: all, and the server itself]
    #[arg(long = "app", value_name = "NAME", value_parser = AppName::parse)]
    pub apps: Vec<AppName>,
    /// When it ends: a span such as 90d or 12h, or a time [default: never]
    #[arg(long, value_name = "TIME")]
    pub expires: Option<String>,
    /// How to reach the server.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Arguments of `token list`.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// How to reach the server.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Arguments of `token revoke`.
#[derive(Args, Debug)]
pub struct RevokeArgs {
    /// The id or the name of a token
    pub token_id: String,
    /// How to reach the server.
    #[command(flatten)]
    pub client: ClientArgs,
}

fn parse_scope(text: &str) -> Result<Scope, &'static str> {
    Scope::parse(text).ok_or("must be read, deploy or admin")
}

impl TokenArgs {
    /// How to reach the server.
    #[must_use]
    pub fn client(&self) -> &ClientArgs {
        match &self.action {
            Some(Action::Create(args)) => &args.client,
            Some(Action::List(args)) => &args.client,
            Some(Action::Revoke(args)) => &args.client,
            None => &self.client,
        }
    }
}

/// Lists, makes or revokes tokens.
///
/// # Errors
/// What the API refuses.
pub async fn run(args: &TokenArgs, client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
    match &args.action {
        Some(Action::Create(args)) => create(args, client, out).await?,
        Some(Action::Revoke(args)) => revoke(args, client, out).await?,
        Some(Action::List(_)) | None => list(client, out).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn create(args: &CreateArgs, client: &Client, out: &mut Output) -> anyhow::Result<()> {
    let mut wish = json!({"name": args.name, "scope": args.scope});
    if !args.apps.is_empty() {
        wish["apps"] = json!(args.apps);
    }
    if let Some(expires) = &args.expires {
        wish["expires"] = expires.as_str().into();
    }
    let call = Call::new(Method::POST, "/tokens").body(wish.to_string());
    let made = client.send(&call).await?.json();
    if out.is_json() {
        return Ok(out.json(&made)?);
    }
    out.note("keep it: it is shown this once");
    Ok(out.line(&cell(&made["token"]))?)
}

async fn revoke(args: &RevokeArgs, client: &Client, out: &mut Output) -> anyhow::Result<()> {
    let path = format!("/tokens/{}", encode_query(&args.token_id));
    let gone = client.send(&Call::new(Method::DELETE, path)).await?.json();
    match out.is_json() {
        true => out.json(&gone)?,
        false => out.line(&format!(
            "{}: revoked, it opens nothing any more",
            cell(&gone["name"])
        ))?,
    }
    Ok(())
}

async fn list(client: &Client, out: &mut Output) -> anyhow::Result<()> {
    let tokens: Vec<Value> = client.get("/tokens").await?;
    if out.is_json() {
        return Ok(out.json(&Value::Array(tokens))?);
    }
    let headings = [
        "NAME",
        "ID",
        "SCOPE",
        "APPS",
        "CREATED",
        "EXPIRES",
        "LAST USED",
    ];
    let rows: Vec<_> = tokens.iter().map(row).collect();
    Ok(out.table(&headings, &rows)?)
}

fn row(token: &Value) -> Vec<String> {
    let expires = match token["expired"] == true {
        true => format!("{} (over)", time(&token["expires"])),
        false => time(&token["expires"]),
    };
    vec![
        cell(&token["name"]),
        cell(&token["id"]),
        cell(&token["scope"]),
        apps(&token["apps"]),
        time(&token["created"]),
        expires,
        time(&token["last_used"]),
    ]
}
