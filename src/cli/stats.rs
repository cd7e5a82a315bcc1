//! `procserver stats`: what was counted over the last day.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::client::{Client, ClientArgs};
use super::document::encode_query;
use super::output::{Output, bytes, cell, time};
use crate::amounts;
use crate::document::name::AppName;

/// The heights of a line that is drawn, the lowest first.
const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  procserver stats                           what each application does now
  procserver stats blog                      the last hour, by the minute
  procserver stats blog --since 24h          the last day, by five minutes
  procserver stats blog --json

A step in which the server did not run is left out. MEMORY is the most that was seen, CPU of one processor.")]
pub struct StatsArgs {
    /// The application [default: all of them, as they are now]
    #[arg(value_parser = AppName::parse)]
    pub name: Option<AppName>,
    /// Since then: a time, or how long ago; the last 24 hours are kept
    #[arg(long, value_name = "TIME", default_value = "1h")]
    pub since: String,
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Shows steps of time of one application, or what all of them do now.
///
/// # Errors
/// What the API refuses.
pub async fn run(args: &StatsArgs, client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
    let since = encode_query(&args.since);
    let path = match &args.name {
        Some(name) => format!("/applications/{name}/history?since={since}"),
        None => format!("/-/history?since={since}"),
    };
    let history: Value = client.get(&path).await?;
    if out.is_json() {
        out.json(&history)?;
        return Ok(ExitCode::SUCCESS);
    }
    match args.name {
        Some(_) => steps(&history, out)?,
        None => present(&history, out)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn steps(history: &Value, out: &mut Output) -> anyhow::Result<()> {
    let points = history["points"].as_array().map_or(&[][..], Vec::as_slice);
    if points.is_empty() {
        out.note("nothing was counted since then");
        return Ok(());
    }
    let rows: Vec<_> = points
        .iter()
        .map(|point| {
            let time = [time(&point["time"])];
            time.into_iter().chain(rates(point)).collect()
        })
        .collect();
    out.table(
        &[
            "TIME", "REQ/S", "4XX", "5XX", "P50", "P95", "P99", "MEMORY", "CPU",
        ],
        &rows,
    )?;
    for (name, field) in [
        ("requests", "requests_per_second"),
        ("p95", "p95_seconds"),
        ("memory", "memory_bytes"),
    ] {
        out.line(&format!("{name:<9} {}", drawn(points, field)))?;
    }
    Ok(())
}

fn present(history: &Value, out: &mut Output) -> anyhow::Result<()> {
    let apps = history["applications"].as_object().into_iter().flatten();
    let apps = apps.map(|(name, now)| (name.clone(), now));
    let server = &history["server"]["now"];
    let server = server.is_object().then(|| ("(all)".to_owned(), server));
    let rows: Vec<_> = apps
        .chain(server)
        .map(|(name, now)| {
            // Only points have the others.
            let [
                requests,
                status_4xx,
                status_5xx,
                _p50,
                p95,
                _p99,
                memory,
                cpu,
            ] = rates(now);
            vec![name, requests, status_4xx, status_5xx, p95, memory, cpu]
        })
        .collect();
    out.table(
        &["APP", "REQ/S", "4XX", "5XX", "P95", "MEMORY", "CPU"],
        &rows,
    )?;
    Ok(())
}

fn rates(point: &Value) -> [String; 8] {
    let took = |name: &str| point[name].as_f64().map_or("-".to_owned(), amounts::took);
    let number = |name: &str| point[name].as_f64().unwrap_or_default();
    [
        format!("{:.1}", number("requests_per_second")),
        cell(&point["status_4xx"]),
        cell(&point["status_5xx"]),
        took("p50_seconds"),
        took("p95_seconds"),
        took("p99_seconds"),
        bytes(point["memory_bytes"].as_u64().unwrap_or_default()),
        format!("{:.1}%", number("cpu_percent")),
    ]
}

/// A field of all points as a line: the highest is the whole height.
fn drawn(points: &[Value], field: &str) -> String {
    let values: Vec<f64> = points
        .iter()
        .map(|p| p[field].as_f64().unwrap_or_default())
        .collect();
    let most = values.iter().copied().fold(0.0, f64::max);
    let height = |value: &f64| match most > 0.0 {
        true => HEIGHTS[((value / most * 7.0).round() as usize).min(7)],
        false => HEIGHTS[0],
    };
    values.iter().map(height).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_highest_is_the_whole_height() {
        let points = [
            json!({"a": 0.0}),
            json!({"a": 7}),
            json!({"a": 14}),
            json!({}),
        ];
        assert_eq!(drawn(&points, "a"), "▁▅█▁");
        assert_eq!(drawn(&points, "b"), "▁▁▁▁");
    }

    #[test]
    fn a_point_is_a_row_also_where_nothing_was_timed() {
        let point = json!({"requests_per_second": 0.25, "status_4xx": 1, "status_5xx": 0, "p50_seconds": 0.003,
            "p95_seconds": null, "p99_seconds": null, "memory_bytes": 3_000_000, "cpu_percent": 1.26});
        assert_eq!(
            rates(&point),
            ["0.2", "1", "0", "3 ms", "-", "-", "2M", "1.3%"]
        );
    }
}
