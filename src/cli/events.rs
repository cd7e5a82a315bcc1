//! `procserver events`: show what happens as it happens, and what has happened: who had what done, and when.

use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use serde_json::Value;

use super::client::{Client, ClientArgs};
use super::document::encode_query;
use super::output::{Output, time};
use crate::document::name::AppName;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  procserver events                            of all applications as they come, until Ctrl-C
  procserver events blog                       of one application
  procserver events blog -n 50                 the last 50 that are kept
  procserver events --since 2h -f              those of two hours, then those that come
  procserver events --type application,deployment -n 20
  procserver events --json                     one JSON object a line

The server keeps them in logs/events.log of its data directory, but for steps of deployments and changes of routes. Of \
what happens by itself an application may fill a hundred lines at once; what is beyond that is counted.")]
pub struct EventsArgs {
    /// Only of this application
    #[arg(value_parser = AppName::parse)]
    pub name: Option<AppName>,
    /// So many of the newest that are kept, at most 10000
    #[arg(short = 'n', long, value_name = "N")]
    pub tail: Option<usize>,
    /// Those that are kept since then: a time, or how long ago, as in 2h
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Only events of these names, or whose names begin so: deployment,process.exited
    #[arg(long = "type", value_name = "NAMES")]
    pub kinds: Option<String>,
    /// Go on with those that come: without -n and --since that is so in any case
    #[arg(short, long)]
    pub follow: bool,
    #[command(flatten)]
    pub client: ClientArgs,
}

impl EventsArgs {
    fn follows(&self) -> bool {
        self.follow || self.tail.is_none() && self.since.is_none()
    }

    fn path(&self) -> String {
        let goes_on = self.follow && (self.tail.is_some() || self.since.is_some());
        let parameters = [
            ("app", self.name.as_ref().map(ToString::to_string)),
            ("type", self.kinds.clone()),
            ("tail", self.tail.map(|tail| tail.to_string())),
            ("since", self.since.clone()),
            ("follow", goes_on.then(|| "true".to_owned())),
        ];
        let given = parameters
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        let given = given.map(|(name, value)| format!("{name}={}", encode_query(&value)));
        match given.collect::<Vec<_>>() {
            given if given.is_empty() => "/events".to_owned(),
            given => format!("/events?{}", given.join("&")),
        }
    }
}

/// Prints events: those that are kept, those that come, or both.
///
/// # Errors
/// What the API refuses, and that the stream ended: only Ctrl-C ends it well.
pub async fn run(args: &EventsArgs, client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
    if !args.follows() {
        let events: Vec<Value> = client.get(&args.path()).await?;
        for event in &events {
            show(event, out)?;
        }
        if events.is_empty() {
            out.note("no events");
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(name) = &args.name {
        // Of one that is not there nothing would ever come.
        let _is_there: Value = client.get(&format!("/applications/{name}/status")).await?;
    }
    let mut unread = Vec::new();
    client
        .stream(&args.path(), "text/event-stream", |piece| {
            unread.extend_from_slice(piece);
            while let Some(end) = unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = unread.drain(..=end).collect();
                if let Some(data) = line.strip_prefix(b"data: ") {
                    show(&serde_json::from_slice(data)?, out)?;
                }
            }
            anyhow::Ok(())
        })
        .await?;
    bail!("the server closed the stream of events: it stops")
}

fn show(event: &Value, out: &mut Output) -> anyhow::Result<()> {
    match out.is_json() {
        true => out.line(&event.to_string())?,
        false => out.line(&in_words(event))?,
    }
    Ok(())
}

/// `TIME APP EVENT name=value …`, what every event has in front.
fn in_words(event: &Value) -> String {
    if let (Some(lost), None) = (event["lost"].as_u64(), event["time"].as_str()) {
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
    use clap::Parser as _;
    use serde_json::json;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        events: EventsArgs,
    }

    #[test]
    fn what_is_kept_ends_and_what_comes_does_not() {
        for (line, path, follows) in [
            ("e", "/events", true),
            ("e blog -f", "/events?app=blog", true),
            ("e -n 5", "/events?tail=5", false),
            (
                "e blog --since 2h --type deployment -f",
                "/events?app=blog&type=deployment&since=2h&follow=true",
                true,
            ),
        ] {
            let args = Line::parse_from(line.split(' ')).events;
            assert_eq!((&*args.path(), args.follows()), (path, follows), "{line}");
        }
    }

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
