//! `procserver events`: show what happens as it happens.

use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use serde_json::Value;

use super::client::{Client, ClientArgs};
use super::output::{Output, time};
use crate::document::name::AppName;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  procserver events                            of all applications, until Ctrl-C
  procserver events blog                       of one application
  procserver events --json                     one JSON object a line")]
pub struct EventsArgs {
    /// Only of this application
    #[arg(value_parser = AppName::parse)]
    pub name: Option<AppName>,
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Prints events as they come.
///
/// # Errors
/// What the API refuses, and that the stream ended: only Ctrl-C ends it well.
pub async fn run(args: &EventsArgs, client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
    let path = match &args.name {
        Some(name) => format!("/events?app={name}"),
        None => "/events".to_owned(),
    };
    let mut unread = Vec::new();
    client
        .stream(&path, "text/event-stream", |piece| {
            unread.extend_from_slice(piece);
            while let Some(end) = unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = unread.drain(..=end).collect();
                if let Some(data) = line.strip_prefix(b"data: ") {
                    show(data, out)?;
                }
            }
            anyhow::Ok(())
        })
        .await?;
    bail!("the server closed the stream of events: it stops")
}

fn show(data: &[u8], out: &mut Output) -> anyhow::Result<()> {
    let event: Value = serde_json::from_slice(data)?;
    match out.is_json() {
        true => out.line(&event.to_string())?,
        false => out.line(&in_words(&event))?,
    }
    Ok(())
}

/// `TIME APP EVENT name=value …`, what every event has in front.
fn in_words(event: &Value) -> String {
    if let Some(lost) = event["lost"].as_u64() {
        return format!("({lost} events were left out: they came faster than they were read)");
    }
    let text = |name: &str| event[name].as_str().unwrap_or("-");
    let mut line = format!("{} {} {}", time(&event["time"]), text("app"), text("event"));
    let fields = event.as_object().into_iter().flatten();
    for (name, value) in fields {
        if !["id", "time", "app", "event"].contains(&name.as_str()) {
            match value.as_str() {
                // Escaped: an app's name for its command must not draw on the terminal.
                Some(text) => line.push_str(&format!(" {name}={}", text.escape_debug())),
                None => line.push_str(&format!(" {name}={value}")),
            }
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_a_line_that_cannot_draw_on_the_terminal() {
        let event = json!({
            "id": 7, "time": "2026-11-22T10:15:30.123456789Z", "event": "process.exited", "app": "blog", "pid": 9, "reason": "\u{1b}[31m",
        });
        let line = in_words(&event);
        assert_eq!(
            line,
            "2026-11-22T10:15:30Z blog process.exited pid=9 reason=\\u{1b}[31m"
        );
    }

    #[test]
    fn events_that_are_missing_are_told() {
        assert!(in_words(&json!({ "lost": 2 })).starts_with("(2 events were left out"));
    }
}
