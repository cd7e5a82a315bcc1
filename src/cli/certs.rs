//! `procserver certs`: the certificates that the server answers handshakes with.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::client::{Client, ClientArgs};
use super::output::{Output, cell, time};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  procserver certs
  procserver certs --json

Certificates are files that the settings name: certificates = [{ cert = \"/etc/ssl/a.pem\", key = \"/etc/ssl/a.key\" }] \
under [tls]. They are read again when they change.")]
pub struct CertsArgs {
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Lists them.
///
/// # Errors
/// What the API refuses.
pub async fn run(client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
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
