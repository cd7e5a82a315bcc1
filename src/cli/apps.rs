//! `procserver apps`: list the applications.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::client::{Client, ClientArgs};
use super::output::{Output, bytes, cell};

/// What is said instead of an empty list.
pub(super) const NO_APPLICATIONS: &str =
    "no applications yet: add one with \"procserver create NAME --repo URL\"";

const HEADINGS: [&str; 7] = [
    "NAME",
    "STATE",
    "RELEASE",
    "COMMIT",
    "MEMORY",
    "URL",
    "FAILED DEPLOY",
];

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  procserver apps
  procserver apps --json
  procserver apps --server http://nas.local --token-file ~/.nas-token")]
pub struct AppsArgs {
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Lists the applications.
pub async fn run(client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
    let apps: Vec<Value> = client.get("/applications").await?;
    if out.is_json() {
        out.json(&Value::Array(apps))?;
    } else if apps.is_empty() {
        out.line(NO_APPLICATIONS)?;
    } else {
        let rows: Vec<_> = apps.iter().map(row).collect();
        out.table(&HEADINGS, &out.with_short_names(rows))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn row(app: &Value) -> Vec<String> {
    let commit: String = cell(&app["commit"]).chars().take(8).collect();
    vec![
        cell(&app["name"]),
        state(app),
        cell(&app["release"]),
        commit,
        bytes(app["memory_bytes"].as_u64().unwrap_or(0)),
        cell(&app["url"]),
        failed_deploy(&app["last_failure"]),
    ]
}

/// Its state, and why it answers nobody although it runs.
fn state(app: &Value) -> String {
    let state = cell(&app["state"]);
    match (app["maintenance"] == true, app["paused_until"].is_string()) {
        (true, _) => format!("{state}, maintenance"),
        (false, true) => format!("{state}, paused"),
        (false, false) => state,
    }
}

/// The last deployment, where it failed; `procserver deployment NAME` has the reason.
fn failed_deploy(failure: &Value) -> String {
    match failure["deployment"].as_u64() {
        Some(number) => format!("{number} ({})", cell(&failure["step"])),
        None => "-".into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_tells_what_runs_where_and_which_deploy_failed() {
        let app = json!({
            "name": "blog", "state": "running", "release": 3, "commit": "0123456789abcdef",
            "memory_bytes": 5 << 20, "url": "http://blog.example.org/",
            "last_failure": { "deployment": 4, "step": "install", "reason": "it did" },
        });
        let words = "blog running 3 01234567 5M http://blog.example.org/";
        let mut expected: Vec<_> = words.split(' ').map(str::to_owned).collect();
        expected.push("4 (install)".to_owned());
        assert_eq!(row(&app), expected);
        let shut = json!({ "state": "running", "maintenance": true });
        assert_eq!(row(&shut)[1], "running, maintenance");
        let paused = json!({ "state": "asleep", "paused_until": "2026-11-30T10:00:00Z" });
        assert_eq!(row(&paused)[1], "asleep, paused");
        let stopped = json!({ "name": "blog", "state": "stopped" });
        assert_eq!(row(&stopped)[2..], ["-", "-", "-", "-", "-"]);
    }
}
