//! `procserver pause` and `resume`: hold the requests of an application, and let them through.

use std::process::ExitCode;

use awc::http::Method;
use clap::Args;
use serde_json::{Value, json};

use super::client::{Call, Client, ClientArgs};
use super::output::{Output, cell, time};
use crate::document::name::AppName;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  procserver pause blog
  procserver pause blog --for 3m
  procserver run blog -- ./manage.py migrate
  procserver resume blog
  procserver pause blog --json

New requests wait and those in flight go on. The verb returns when these are done, or says how many are left.")]
pub struct PauseArgs {
    /// The application
    #[arg(value_parser = AppName::parse)]
    pub name: AppName,
    /// The time after which it ends by itself, 10m at most [default: 1m]
    #[arg(long = "for", value_name = "TIME")]
    pub time: Option<String>,
    #[command(flatten)]
    pub client: ClientArgs,
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  procserver resume blog
  procserver resume blog --json")]
pub struct ResumeArgs {
    /// The application
    #[arg(value_parser = AppName::parse)]
    pub name: AppName,
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Pauses it, and says what is still in flight.
///
/// # Errors
/// What the API refuses.
pub async fn pause(
    args: &PauseArgs,
    client: &Client,
    out: &mut Output,
) -> anyhow::Result<ExitCode> {
    let path = format!("/applications/{}/pause", args.name);
    let wish = match &args.time {
        Some(time) => json!({ "for": time }),
        None => json!({}),
    };
    let call = Call::new(Method::POST, path).body(wish.to_string());
    let answer: Value = client.send(&call).await?.json();
    match out.is_json() {
        true => out.json(&answer)?,
        false => out.line(&told(&answer))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Lets requests through again.
///
/// # Errors
/// What the API refuses.
pub async fn resume(
    args: &ResumeArgs,
    client: &Client,
    out: &mut Output,
) -> anyhow::Result<ExitCode> {
    let path = format!("/applications/{}/resume", args.name);
    let answer: Value = client.send(&Call::new(Method::POST, path)).await?.json();
    let name = &args.name;
    match (out.is_json(), answer["changed"] == true) {
        (true, _) => out.json(&answer)?,
        (false, true) => out.line(&format!("{name}: resumed"))?,
        (false, false) => out.line(&format!("{name} is not paused"))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn told(answer: &Value) -> String {
    let left = match answer["in_flight"].as_u64() {
        Some(0) | None => "no request is in flight".to_owned(),
        Some(1) => "1 request or tunnel is still in flight".to_owned(),
        Some(left) => format!("{left} requests or tunnels are still in flight"),
    };
    format!(
        "{0}: paused until {1}, {left}; \"procserver resume {0}\" ends it",
        cell(&answer["name"]),
        time(&answer["paused_until"])
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_in_flight_is_told() {
        let answer = |left: u64| json!({"name": "blog", "paused_until": "2026-11-30T10:00:00Z", "in_flight": left});
        assert!(told(&answer(0)).starts_with("blog: paused until 2026-11-30"));
        assert!(told(&answer(0)).contains("no request is in flight; \"procserver resume blog\""));
        assert!(told(&answer(1)).contains("1 request or tunnel is"));
        assert!(told(&answer(3)).contains("3 requests or tunnels are"));
    }
}
