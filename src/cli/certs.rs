//! `procserver certs`: the certificates that the server answers handshakes with.

use std::process::ExitCode;

use actix_web::http::Method;
use clap::{Args, Subcommand};
use serde_json::Value;

use super::client::{Call, Client, ClientArgs};
use super::output::{Output, cell, time};
use crate::document::host_name::HostName;

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
#[command(after_help = "Examples:
  procserver certs
  procserver certs --json
  procserver certs renew shop.example.org      asks the certificate authority for a new one now

With agree_terms = true under [acme], Let's Encrypt is asked for a certificate for each name in the hosts of an \
application. Others are files that the settings name: certificates = [{ cert = \"/etc/ssl/a.pem\", key = \
\"/etc/ssl/a.key\" }] under [tls]. These are read again when they change.")]
pub struct CertsArgs {
    /// What to do; without it they are listed.
    #[command(subcommand)]
    pub action: Option<Action>,
    #[command(flatten)]
    pub client: ClientArgs,
}

#[derive(Subcommand, Debug)]
pub enum Action {
    /// Ask the certificate authority for a new one now
    #[command(after_help = "Examples:
  procserver certs renew www.example.org
  procserver certs renew www.example.org --json")]
    Renew(RenewArgs),
}

/// Arguments of `certs renew`.
#[derive(Args, Debug)]
pub struct RenewArgs {
    /// A name in the hosts of an application, or a wildcard
    #[arg(value_parser = HostName::parse)]
    pub name: HostName,
    /// How to reach the server.
    #[command(flatten)]
    pub client: ClientArgs,
}

impl CertsArgs {
    /// How to reach the server.
    #[must_use]
    pub fn client(&self) -> &ClientArgs {
        match &self.action {
            Some(Action::Renew(args)) => &args.client,
            None => &self.client,
        }
    }
}

/// Lists them, or renews one.
///
/// # Errors
/// What the API refuses.
pub async fn run(args: &CertsArgs, client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
    if let Some(Action::Renew(RenewArgs { name, .. })) = &args.action {
        // An A-label, or a wildcard's `*`: none of it needs an escape in a path.
        let call = Call::new(Method::POST, format!("/certificates/{name}/renew"));
        let answer = client.send(&call).await?;
        match out.is_json() {
            true => out.json(&answer.json())?,
            false => out.line(&format!(
                "{name}: a new certificate is asked for; \"procserver certs\" shows what comes of it"
            ))?,
        }
        return Ok(ExitCode::SUCCESS);
    }
    let certificates: Vec<Value> = client.get("/certificates").await?;
    if out.is_json() {
        out.json(&Value::Array(certificates))?;
    } else if certificates.is_empty() {
        out.line("no certificates: see \"procserver certs --help\" for how to name one")?;
    } else {
        let rows: Vec<_> = certificates.iter().map(row).collect();
        out.table(
            &["NAMES", "STATE", "UNTIL", "ISSUER", "SOURCE", "ERROR"],
            &rows,
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

fn row(certificate: &Value) -> Vec<String> {
    let names = certificate["names"].as_array();
    let names: Vec<_> = names.into_iter().flatten().map(cell).collect();
    vec![
        names.join(" "),
        cell(&certificate["state"]),
        time(&certificate["not_after"]),
        cell(&certificate["issuer"]),
        cell(&certificate["source"]),
        cell(&certificate["error"]),
    ]
}
