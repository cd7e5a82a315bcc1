//! `procserver ps`: show an application's processes.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::client::{Client, ClientArgs};
use super::output::{Output, bytes, cell, seconds};
use crate::document::name::AppName;

const HEADINGS: [&str; 9] = [
    "PROCESS",
    "STATE",
    "PID",
    "PORT",
    "UP",
    "RESTARTS",
    "MEMORY",
    "CPU",
    "LAST EXIT",
];

/// Arguments of `ps`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  procserver ps blog
  procserver ps blog --json")]
pub struct PsArgs {
    /// The application
    #[arg(value_parser = AppName::parse)]
    pub name: AppName,
    /// How to reach the server.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Shows the state, the processes and the warnings.
///
/// # Errors
/// What the API refuses.
pub async fn run(args: &PsArgs, client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
    let status: Value = client
        .get(&format!("/applications/{}/status", args.name))
        .await?;
    if out.is_json() {
        out.json(&status)?;
        return Ok(ExitCode::SUCCESS);
    }
    out.line(&headline(&status))?;
    let processes = status["processes"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    if !processes.is_empty() {
        let now = jiff::Timestamp::now();
        let rows: Vec<_> = processes.iter().map(|process| row(process, now)).collect();
        out.table(&HEADINGS, &rows)?;
    }
    for warning in status["warnings"].as_array().into_iter().flatten() {
        out.line(&format!("warning: {}", cell(warning)))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn headline(status: &Value) -> String {
    let mut text = format!("{}: {}", cell(&status["name"]), cell(&status["state"]));
    if let Some(release) = status["release"].as_u64() {
        text.push_str(&format!(", release {release}"));
    }
    if let Some(commit) = status["commit"].as_str() {
        text.push_str(&format!(
            " at {}",
            commit.chars().take(8).collect::<String>()
        ));
    }
    text
}

fn row(process: &Value, now: jiff::Timestamp) -> Vec<String> {
    let started: Option<jiff::Timestamp> = process["started_at"]
        .as_str()
        .and_then(|text| text.parse().ok());
    vec![
        cell(&process["id"]),
        state(process),
        cell(&process["pid"]),
        cell(&process["port"]),
        started.map_or_else(|| "-".into(), |at| uptime(now.as_second() - at.as_second())),
        cell(&process["restarts"]),
        bytes(process["memory_bytes"].as_u64().unwrap_or(0)),
        seconds(process["cpu_seconds"].as_f64().unwrap_or(0.0)),
        last_exit(&process["last_exit"]),
    ]
}

/// Of one that is replaced also what is still on it.
fn state(process: &Value) -> String {
    let state = cell(&process["state"]);
    match process["draining"].as_u64() {
        Some(left) => format!("{state} ({left} left)"),
        None => state,
    }
}

/// Whole seconds in the two largest units.
fn uptime(seconds: i64) -> String {
    let seconds = seconds.max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h {}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

fn last_exit(exit: &Value) -> String {
    let how = match (exit["code"].as_i64(), exit["signal"].as_i64()) {
        (Some(code), _) => format!("code {code}"),
        (_, Some(signal)) => format!("signal {signal}"),
        _ if exit.is_null() => return "-".into(),
        _ => "unknown".into(),
    };
    match exit["reason"].as_str() {
        Some(reason) => format!("{how} ({reason})"),
        None => how,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_process_is_one_readable_row() {
        let process = json!({"id": "web.1", "state": "ready", "pid": 7, "port": 8001, "restarts": 2,
            "started_at": "2026-11-22T10:00:00Z", "memory_bytes": 3_145_728, "cpu_seconds": 1.25,
            "last_exit": {"code": 1, "at": "2026-11-22T09:59:59Z", "reason": "oh"}});
        let now = "2026-11-22T11:02:03Z".parse().unwrap();
        assert_eq!(
            row(&process, now),
            [
                "web.1",
                "ready",
                "7",
                "8001",
                "1h 2m",
                "2",
                "3M",
                "1.2 s",
                "code 1 (oh)"
            ]
        );
    }

    #[test]
    fn what_drains_shows_how_much_is_left() {
        let process = json!({"id": "web.1", "state": "ready", "draining": 3});
        assert_eq!(
            row(&process, jiff::Timestamp::UNIX_EPOCH)[1],
            "ready (3 left)"
        );
    }

    #[test]
    fn what_is_missing_is_a_dash() {
        let row = row(&json!({"id": "web.1"}), jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(&row[2..5], ["-", "-", "-"]);
        assert_eq!(row[8], "-");
    }
}
