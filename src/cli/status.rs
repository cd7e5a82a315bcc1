//! `procserver status`: how the server is.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::client::{Client, ClientArgs};
use super::output::{Output, bytes, cell};
use crate::amounts::{size, span};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  procserver status
  procserver status --json
  procserver status --server https://nas.example.org --token-file ~/.nas-token

Exit codes: 0 all is well, or there are only warnings; 1 there is a problem, or no server answers; 2 wrong usage. So it can be \
the command of a monitoring check; \"state\" in the JSON is ok, warning or problem.")]
pub struct StatusArgs {
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Shows it.
///
/// # Errors
/// No server answers, or it refuses.
pub async fn run(client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
    let status: Value = client.get("/-/status").await?;
    if out.is_json() {
        out.json(&status)?;
    } else {
        for line in lines(&status) {
            out.line(&line)?;
        }
    }
    Ok(
        match status["problems"]
            .as_array()
            .is_some_and(|problems| !problems.is_empty())
        {
            true => ExitCode::FAILURE,
            false => ExitCode::SUCCESS,
        },
    )
}

fn lines(status: &Value) -> Vec<String> {
    let mut lines: Vec<String> = rows(status)
        .into_iter()
        .map(|(title, text)| format!("{title:<15}{text}"))
        .collect();
    for (field, word) in [("problems", "problem"), ("warnings", "warning")] {
        let told = status[field].as_array().into_iter().flatten();
        lines.extend(told.map(|text| format!("{word}: {}", cell(text))));
    }
    lines
}

fn rows(status: &Value) -> Vec<(&'static str, String)> {
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let mut rows = vec![
        (
            "procserver",
            format!(
                "{}, pid {}, up {}",
                cell(&status["version"]),
                cell(&status["pid"]),
                span(number(&status["uptime_seconds"]))
            ),
        ),
        ("listens on", listeners(status)),
        ("applications", applications(&status["applications"])),
        ("connections", cell(&status["connections"])),
    ];
    let (ports, disk, open) = (&status["ports"], &status["disk"], &status["descriptors"]);
    rows.push((
        "ports",
        format!(
            "{} of {}-{} used, {} free",
            cell(&ports["used"]),
            cell(&ports["first"]),
            cell(&ports["last"]),
            cell(&ports["free"])
        ),
    ));
    rows.push(("memory", bytes(number(&status["memory_bytes"]))));
    let limit = match &open["limit"] {
        Value::Null => String::new(),
        limit => format!(" of {limit}"),
    };
    rows.push(("descriptors", format!("{}{limit}", cell(&open["open"]))));
    let mut room = format!(
        "{}: {} of {} free",
        cell(&disk["path"]),
        size(number(&disk["free_bytes"])),
        size(number(&disk["total_bytes"]))
    );
    let (free, total) = (number(&disk["free_inodes"]), number(&disk["total_inodes"]));
    if let Some(percent) = (free * 100).checked_div(total) {
        room.push_str(&format!(", {percent} % of the inodes"));
    }
    rows.push(("disk", room));
    if let Some(by_app) = by_app(&status["applications"]) {
        rows.push(("disk by app", by_app));
    }
    for certificate in status["certificates"].as_array().into_iter().flatten() {
        rows.push(("certificate", told(certificate)));
    }
    rows
}

/// The largest first: `blog 12M, shop 3M`.
fn by_app(apps: &Value) -> Option<String> {
    const MOST: usize = 10;
    let apps = apps.as_object()?;
    let size_of = |app: &Value| app["disk_bytes"].as_u64();
    let mut sizes: Vec<(u64, &String)> = apps
        .iter()
        .filter_map(|(name, app)| Some((size_of(app)?, name)))
        .collect();
    sizes.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    let told = sizes.iter().take(MOST);
    let told: Vec<_> = told
        .map(|(bytes, name)| format!("{name} {}", size(*bytes)))
        .collect();
    let more = match sizes.len().saturating_sub(MOST) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    (!told.is_empty()).then(|| format!("{}{more}", told.join(", ")))
}

fn listeners(status: &Value) -> String {
    let of = |field: &str, scheme: &str| -> Vec<String> {
        let addresses = status[field].as_array().into_iter().flatten();
        addresses
            .map(|a| format!("{scheme}://{}", cell(a)))
            .collect()
    };
    let mut all = of("listen", "http");
    all.extend(of("tls_listen", "https"));
    all.push(cell(&status["socket"]));
    all.join(" ")
}

/// `3: 2 running, 1 stopped`.
fn applications(apps: &Value) -> String {
    let Some(apps) = apps.as_object().filter(|apps| !apps.is_empty()) else {
        return "none".into();
    };
    let mut states: Vec<(String, usize)> = Vec::new();
    for app in apps.values() {
        let state = cell(&app["state"]);
        match states.iter_mut().find(|(known, _)| *known == state) {
            Some((_, count)) => *count += 1,
            None => states.push((state, 1)),
        }
    }
    states.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let states: Vec<_> = states
        .iter()
        .map(|(state, n)| format!("{n} {state}"))
        .collect();
    format!("{}: {}", apps.len(), states.join(", "))
}

fn told(certificate: &Value) -> String {
    let names = certificate["names"].as_array().into_iter().flatten();
    let names: Vec<_> = names.map(cell).collect();
    let left = match certificate["days_left"].as_i64() {
        Some(days) => format!(", {days} days left"),
        None => String::new(),
    };
    format!("{}: {}{left}", names.join(" "), cell(&certificate["state"]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_server_is_told_in_aligned_lines_and_its_problems_last() {
        let status = json!({
            "version": "0.1.0", "pid": 7, "uptime_seconds": 90_000, "socket": "/run/p.sock",
            "listen": ["[::]:80"], "tls_listen": ["[::]:443"], "connections": 3, "memory_bytes": 20 << 20,
            "ports": {"first": 8001, "last": 8999, "used": 2, "free": 997},
            "descriptors": {"open": 40, "limit": 65_536},
            "applications": {"a": {"state": "running", "disk_bytes": 5 << 20}, "b": {"state": "running"}, "c": {"state": "failed"}},
            "disk": {"path": "/d", "total_bytes": 100_u64 << 30, "free_bytes": 50_u64 << 30,
                     "total_inodes": 100, "free_inodes": 90},
            "certificates": [{"names": ["a.b"], "state": "valid", "days_left": 60}],
            "problems": ["c has never been deployed well"], "warnings": ["w"],
        });
        let lines = lines(&status);
        for wanted in [
            "procserver     0.1.0, pid 7, up 1 d 1 h",
            "listens on     http://[::]:80 https://[::]:443 /run/p.sock",
            "applications   3: 2 running, 1 failed",
            "ports          2 of 8001-8999 used, 997 free",
            "descriptors    40 of 65536",
            "disk           /d: 50.0G of 100.0G free, 90 % of the inodes",
            "certificate    a.b: valid, 60 days left",
            "disk by app    a 5M",
        ] {
            assert!(
                lines.iter().any(|line| line == wanted),
                "{wanted}: {lines:#?}"
            );
        }
        let end = lines.len() - 2;
        assert_eq!(
            lines[end..],
            ["problem: c has never been deployed well", "warning: w"]
        );
    }
}
