//! `procserver reload`: the running server is replaced in place by the program that is installed now.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use actix_web::http::Method;
use clap::Args;
use serde_json::Value;

use super::client::{Call, Client, ClientArgs, ClientError};
use super::output::{Output, cell};

/// Pause between two looks how far it is.
const LOOK: Duration = Duration::from_millis(100);

/// How long a server may not answer: until the next one is ready, or the former one is back.
const SILENCE: Duration = Duration::from_secs(90);

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  procserver reload                            after a new version was installed
  procserver reload --json
  systemctl reload procserver                  the same, by systemd

The program that is installed is tried first; if it could not serve, nothing changes. Requests, tunnels and deploys in flight \
are waited for (timeouts.drain, 30s at most), new ones are served meanwhile. Then it takes over with the same pid: applications \
run on, and no client is refused. If it cannot start, the former server goes on.

Exit codes: 0 the new one serves, 1 the former one serves on (the reason is printed) or none answers, 2 wrong usage.")]
pub struct ReloadArgs {
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Replaces it, and waits until the next one serves.
///
/// # Errors
/// The program that is installed could not serve, or no server answers.
pub async fn run(client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
    let started = client.send(&Call::new(Method::POST, "/-/reload")).await?;
    let reload = started.json()["reload"].clone();
    let mut told = Value::Null;
    let mut answered = Instant::now();
    loop {
        tokio::time::sleep(LOOK).await;
        let status = match client.get::<Value>("/-/reload").await {
            Ok(status) => status,
            // Between two servers.
            Err(_) if answered.elapsed() < SILENCE => continue,
            Err(error) => return Err(ClientError::into(error)),
        };
        answered = Instant::now();
        let is_it = status["reload"] == reload;
        match status["state"].as_str() {
            Some("done") if is_it => {
                return tell(
                    out,
                    &status,
                    &format!("procserver {} serves", cell(&status["version"])),
                );
            }
            Some("failed") if is_it => {
                if out.is_json() {
                    out.json(&status)?;
                    return Ok(ExitCode::FAILURE);
                }
                anyhow::bail!("the former server goes on: {}", cell(&status["reason"]));
            }
            Some("waiting" | "trying") => {
                if status["waits_for"] != told && !status["waits_for"].is_null() {
                    let what = status["waits_for"].as_array().into_iter().flatten();
                    let what: Vec<_> = what.map(cell).collect();
                    out.note(&format!("waiting for {}", what.join(", ")));
                    told = status["waits_for"].clone();
                }
            }
            _ => anyhow::bail!("another server answers now, which knows of no reload: see its log"),
        }
    }
}

fn tell(out: &mut Output, status: &Value, line: &str) -> anyhow::Result<ExitCode> {
    match out.is_json() {
        true => out.json(status)?,
        false => out.line(line)?,
    }
    Ok(ExitCode::SUCCESS)
}
