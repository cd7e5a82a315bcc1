//! `procserver ps`: show the processes of an application, or of all.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::apps::NO_APPLICATIONS;
use super::client::{Client, ClientArgs, ClientError};
use super::output::{Output, bytes, cell, time};
use crate::amounts;
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

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  procserver ps                                of all applications
  procserver ps blog                           of one, with its warnings
  procserver ps blog --json")]
pub struct PsArgs {
    /// The application [default: all]
    #[arg(value_parser = AppName::parse)]
    pub name: Option<AppName>,
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Shows the state, the processes and the warnings.
pub async fn run(args: &PsArgs, client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
    match &args.name {
        Some(name) => one(name, client, out).await,
        None => all(client, out).await,
    }
}

async fn one(name: &AppName, client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
    let status: Value = client.get(&format!("/applications/{name}/status")).await?;
    if out.is_json() {
        out.json(&status)?;
        return Ok(ExitCode::SUCCESS);
    }
    out.line(&headline(&status))?;
    let rows = rows(&status);
    if !rows.is_empty() {
        out.table(&HEADINGS, &rows)?;
    }
    for warning in status["warnings"].as_array().into_iter().flatten() {
        out.line(&format!("warning: {}", cell(warning)))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn all(client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
    let apps: Vec<Value> = client.get("/applications").await?;
    let mut statuses: Vec<Value> = Vec::new();
    for app in &apps {
        match client
            .get(&format!("/applications/{}/status", cell(&app["name"])))
            .await
        {
            Ok(status) => statuses.push(status),
            // It was removed meanwhile.
            Err(ClientError::Refused(problem)) if problem.status == 404 => {}
            Err(error) => return Err(error.into()),
        }
    }
    if out.is_json() {
        out.json(&Value::Array(statuses))?;
    } else if statuses.is_empty() {
        out.line(NO_APPLICATIONS)?;
    } else {
        let headings = [&["APP"][..], &HEADINGS].concat();
        let rows: Vec<_> = statuses.iter().flat_map(rows_of_app).collect();
        out.table(&headings, &out.with_short_names(rows))?;
        for status in &statuses {
            let name = cell(&status["name"]);
            match status["warnings"].as_array().map_or(0, Vec::len) {
                0 => {}
                1 => out.note(&format!("{name}: a warning, see \"procserver ps {name}\"")),
                n => out.note(&format!(
                    "{name}: {n} warnings, see \"procserver ps {name}\""
                )),
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The rows of an application among others: one with its state where it has no process.
fn rows_of_app(status: &Value) -> Vec<Vec<String>> {
    let mut rows = rows(status);
    if rows.is_empty() {
        let mut row = vec!["-".to_owned(); HEADINGS.len()];
        row[1] = cell(&status["state"]);
        rows.push(row);
    }
    for row in &mut rows {
        row.insert(0, cell(&status["name"]));
    }
    rows
}

fn rows(status: &Value) -> Vec<Vec<String>> {
    let now = jiff::Timestamp::now();
    let processes = status["processes"].as_array().into_iter().flatten();
    processes.map(|process| row(process, now)).collect()
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
    if let Some(user) = status["user"].as_str() {
        text.push_str(&format!(", as user {user}"));
    }
    if status["maintenance"] == true {
        text.push_str(", in maintenance");
    }
    if status["paused_until"].is_string() {
        text.push_str(&format!(", paused until {}", time(&status["paused_until"])));
    }
    match status["held"].as_u64() {
        None => {}
        Some(1) => text.push_str(", 1 request held"),
        Some(held) => text.push_str(&format!(", {held} requests held")),
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
        match process["node"].as_str() {
            Some(node) => format!("on {node}"),
            None => cell(&process["pid"]),
        },
        cell(&process["port"]),
        started.map_or_else(|| "-".into(), |at| up(at, now)),
        cell(&process["restarts"]),
        bytes(process["memory_bytes"].as_u64().unwrap_or(0)),
        amounts::took(process["cpu_seconds"].as_f64().unwrap_or(0.0)),
        last_exit(&process["last_exit"]),
    ]
}

fn up(since: jiff::Timestamp, now: jiff::Timestamp) -> String {
    let seconds = now.as_second() - since.as_second();
    amounts::span(u64::try_from(seconds).unwrap_or(0))
}

/// Of one that is replaced also what is still on it.
fn state(process: &Value) -> String {
    let state = cell(&process["state"]);
    match process["draining"].as_u64() {
        Some(left) => format!("{state} ({left} left)"),
        None => state,
    }
}

pub(super) fn last_exit(exit: &Value) -> String {
    let how = match (exit["code"].as_i64(), exit["signal"].as_i64()) {
        _ if exit["oom"] == true => "oom".to_owned(),
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
                "1 h 2 min",
                "2",
                "3M",
                "1.2 s",
                "code 1 (oh)"
            ]
        );
    }

    #[test]
    fn among_others_an_application_without_a_process_has_a_row_with_its_state() {
        let rows = rows_of_app(&json!({"name": "blog", "state": "stopped", "processes": []}));
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0][..3], ["blog", "-", "stopped"]);
        let status = json!({"name": "blog", "state": "running", "processes": [{"id": "web.1"}, {"id": "web.2"}]});
        let rows = rows_of_app(&status);
        assert_eq!(
            rows.iter().map(|row| &row[1]).collect::<Vec<_>>(),
            ["web.1", "web.2"]
        );
    }

    #[test]
    fn the_headline_tells_of_a_pause_and_of_who_waits() {
        let status = json!({"name": "blog", "state": "running", "held": 1, "paused_until": "2026-11-30T10:00:00.123Z"});
        let text = headline(&status);
        assert!(
            text.ends_with(", 1 request held") && !text.contains(".123"),
            "{text}"
        );
        let status = json!({"name": "blog", "state": "running", "maintenance": true});
        assert_eq!(headline(&status), "blog: running, in maintenance");
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
