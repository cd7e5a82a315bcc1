//! `procserver logs`: show what applications or their installations printed.

use std::process::ExitCode;

use clap::{Args, ColorChoice};
use futures::stream::{FuturesUnordered, StreamExt as _};
use serde_json::Value;

use super::client::{Client, ClientArgs, ClientError};
use super::document::encode_query;
use super::output::{Output, cell};
use crate::document::name::AppName;

mod feed;
mod printer;

use feed::{Feed, Item, Line};
use printer::{Colours, Printer};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  procserver logs blog                         the last 100 lines that its processes printed
  procserver logs blog -f                      and all that follow, until Ctrl-C
  procserver logs blog shop worker -f          of several applications
  procserver logs -f                           of all that there are
  procserver logs blog --stderr -n 20 -p web.1
  procserver logs blog --since 2h -n all --grep timeout
  procserver logs blog --since 2026-11-22T10:15:30Z
  procserver logs blog --install               what fetching and installing printed
  procserver logs blog --access -f             each request as it is answered
  procserver logs blog -f --json               one JSON object a line

A log that is followed goes on over restarts of the server: it waits, and then shows what came meanwhile.")]
pub struct LogsArgs {
    /// The applications [default: all]
    #[arg(value_name = "NAME", value_parser = AppName::parse)]
    pub names: Vec<AppName>,
    /// Go on with what is printed from now on
    #[arg(long, short)]
    pub follow: bool,
    /// How many of the last lines of each application, or "all"
    #[arg(long = "lines", short = 'n', alias = "num", value_name = "N", default_value = "100", value_parser = lines)]
    pub lines: String,
    /// As --follow; with a number, as --lines
    #[arg(long, short, value_name = "N", num_args = 0..=1, conflicts_with = "lines", value_parser = tail)]
    pub tail: Option<Option<String>>,
    /// Only what processes print on their standard output
    #[arg(long, group = "log")]
    pub stdout: bool,
    /// Only what they print as errors
    #[arg(long, group = "log")]
    pub stderr: bool,
    /// What installations printed
    #[arg(long, group = "log")]
    pub install: bool,
    /// The requests that it was sent
    #[arg(long, group = "log")]
    pub access: bool,
    /// Only this process, as in web.1, or all of a type, as in web
    #[arg(long, short, value_name = "PROCESS", aliases = ["ps", "dyno", "process-type"])]
    pub process: Option<String>,
    /// Only what was printed since then: a time, or how long ago, as in 2h
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Only lines with this text
    #[arg(long, value_name = "TEXT")]
    pub grep: Option<String>,
    /// Colours: on a terminal where NO_COLOR is not set, always, or never
    #[arg(
        long,
        alias = "colour",
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = true,
        value_parser = clap::value_parser!(ColorChoice)
    )]
    pub color: ColorChoice,
    #[command(flatten)]
    pub client: ClientArgs,
}

impl LogsArgs {
    fn follows(&self) -> bool {
        self.follow || self.tail == Some(None)
    }

    fn lines(&self) -> &str {
        let tail = self.tail.as_ref().and_then(Option::as_ref);
        tail.unwrap_or(&self.lines)
    }

    /// What is asked for the log of `name`. Where it goes on after an event, `resumed` says whether all that was stored
    /// before had come: then what is new has no `since`, whatever the clock of the server says.
    fn path(&self, name: &AppName, resumed: Option<bool>) -> String {
        let log = match self {
            Self { install: true, .. } => "/install",
            Self { access: true, .. } => "/access",
            Self { stderr: true, .. } => "/stderr",
            Self { stdout: true, .. } => "/stdout",
            _ => "",
        };
        let follow = self.follows();
        let mut path = format!("/applications/{name}/logs{log}?follow={follow}");
        let lines = self.lines().to_owned();
        let filters = [
            ("tail", Some(lines).filter(|_| resumed.is_none())),
            ("process", self.process.clone()),
            (
                "since",
                self.since.clone().filter(|_| resumed != Some(true)),
            ),
            ("grep", self.grep.clone()),
        ];
        for (name, value) in filters {
            if let Some(value) = value {
                path.push_str(&format!("&{name}={}", encode_query(&value)));
            }
        }
        path
    }
}

/// Shows lines as they come, those of several applications in the order of their times.
///
/// # Errors
/// What the API refuses. A log that is followed ends with its application, or by Ctrl-C.
pub async fn run(args: &LogsArgs, client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
    let names = match args.names.is_empty() {
        true => all(client).await?,
        false => args.names.clone(),
    };
    if names.is_empty() {
        out.note("there are no applications yet: procserver create --help");
        return Ok(ExitCode::SUCCESS);
    }
    let names_apps = names.len() > 1 || args.names.is_empty();
    let mut view = View {
        printer: Printer::new(out, colours(args.color, out), names_apps),
        waiting: 0,
        out,
    };
    let feeds = names.into_iter().map(|name| Feed::new(name, args, client));
    let mut feeds: Vec<_> = feeds.collect();
    futures::future::try_join_all(feeds.iter_mut().map(Feed::begin)).await?;
    view.stored(&mut feeds).await?;
    if args.follows() {
        return Err(view.new_lines(feeds).await?.into());
    }
    if view.printer.is_empty {
        view.out.note(&nothing(args));
        if let ([name], Some(_)) = (args.names.as_slice(), &args.process) {
            let status: Value = client.get(&format!("/applications/{name}/status")).await?;
            view.out.note(&processes(name, &status));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Whose lines there could be.
fn processes(name: &AppName, status: &Value) -> String {
    let processes = status["processes"].as_array().into_iter().flatten();
    let mut ids = Vec::new();
    for id in processes.map(|process| cell(&process["id"])) {
        // Two releases have the same while one is deployed.
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    match ids.is_empty() {
        true => format!("{name} has no process just now: procserver ps {name}"),
        false => format!("the processes of {name} are {}", ids.join(", ")),
    }
}

/// The applications that there are.
async fn all(client: &Client) -> anyhow::Result<Vec<AppName>> {
    let applications: Vec<Value> = client.get("/applications").await?;
    let names = applications.iter().filter_map(|app| app["name"].as_str());
    Ok(names.filter_map(|name| AppName::parse(name).ok()).collect())
}

/// Which colours are shown (<https://no-color.org>).
fn colours(choice: ColorChoice, out: &Output) -> Colours {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    match choice {
        ColorChoice::Always => Colours::OfProcesses,
        ColorChoice::Never => Colours::None,
        ColorChoice::Auto if set("NO_COLOR").is_some() => Colours::None,
        ColorChoice::Auto if !out.is_terminal() => Colours::OfText,
        ColorChoice::Auto => match set("TERM") {
            Some(term) if term != "dumb" => Colours::OfProcesses,
            _ => Colours::OfText,
        },
    }
}

/// What a person sees of logs.
struct View<'a> {
    printer: Printer,
    out: &'a mut Output,
    /// How many logs wait for the server.
    waiting: usize,
}

impl View<'_> {
    /// Shows what is stored: of all the first line, as long as there is one.
    async fn stored(&mut self, feeds: &mut [Feed<'_>]) -> anyhow::Result<()> {
        let mut heads = Vec::new();
        for feed in feeds.iter_mut() {
            heads.push(self.next_stored(feed).await?);
        }
        loop {
            let lines = heads.iter().enumerate();
            let lines = lines.filter_map(|(at, line)| Some((at, line.as_ref()?)));
            let Some((first, line)) = lines.min_by_key(|(_, line)| &line.time) else {
                return Ok(self.printer.flush(self.out)?);
            };
            self.printer.line(&feeds[first].name, line, self.out)?;
            heads[first] = self.next_stored(&mut feeds[first]).await?;
        }
    }

    /// The next line that was stored; `None` after the last.
    async fn next_stored(&mut self, feed: &mut Feed<'_>) -> anyhow::Result<Option<Line>> {
        loop {
            if !feed.has_next() {
                self.printer.flush(self.out)?;
            }
            match feed.next().await? {
                Item::Line(line) => return Ok(Some(line)),
                Item::Current | Item::End => return Ok(None),
                other => self.tell(&feed.name, other),
            }
        }
    }

    /// Shows what comes, until no log is left; returns why the last one ended.
    async fn new_lines(&mut self, feeds: Vec<Feed<'_>>) -> anyhow::Result<ClientError> {
        let mut coming: FuturesUnordered<_> = feeds.into_iter().map(next).collect();
        loop {
            let Some((mut feed, item)) = coming.next().await else {
                anyhow::bail!("no log is left");
            };
            match item {
                Ok(Item::Line(line)) => self.printer.line(&feed.name, &line, self.out)?,
                Ok(other) => self.tell(&feed.name, other),
                Err(error) if coming.is_empty() => return Ok(error),
                Err(error) => {
                    self.out.note(&format!("{}: {error}", feed.name));
                    continue;
                }
            }
            if !feed.has_next() {
                self.printer.flush(self.out)?;
            }
            coming.push(next(feed));
        }
    }

    fn tell(&mut self, name: &AppName, item: Item) {
        match item {
            Item::Lost(lines) => self.printer.lost(name, lines),
            Item::Waits => {
                if self.waiting == 0 {
                    self.out
                        .note("the server does not answer: waiting for it, until Ctrl-C");
                }
                self.waiting += 1;
            }
            Item::Back => {
                self.waiting -= 1;
                if self.waiting == 0 {
                    self.out.note("the server answers again");
                }
            }
            Item::Line(_) | Item::Current | Item::End => {}
        }
    }
}

/// A log with what comes next of it.
async fn next<'a>(mut feed: Feed<'a>) -> (Feed<'a>, Result<Item, ClientError>) {
    let item = feed.next().await;
    (feed, item)
}

/// Where to look instead of in a log that has nothing.
fn nothing(args: &LogsArgs) -> String {
    let name = match args.names.as_slice() {
        [name] => name.to_string(),
        _ => "NAME".to_owned(),
    };
    match args.install {
        true => {
            format!("no such lines: \"procserver deployments {name}\" lists what was installed")
        }
        false if args.process.is_some() || args.since.is_some() || args.grep.is_some() => {
            format!("no such lines; all there are: procserver logs {name} -n all")
        }
        false => format!(
            "no such lines; what installing and starting {name} printed: procserver logs {name} --install"
        ),
    }
}

/// A number of lines, or `all`.
fn lines(text: &str) -> Result<String, &'static str> {
    match text.parse::<u32>() {
        Ok(_) => Ok(text.to_owned()),
        Err(_) if text == "all" => Ok(text.to_owned()),
        Err(_) => Err("write a number of lines, or \"all\""),
    }
}

/// As [`lines`]; behind `--tail` there may be none.
fn tail(text: &str) -> Result<String, &'static str> {
    lines(text).map_err(
        |_| "write the application first, as in \"logs NAME --tail\", or a number of lines",
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn args(line: &str) -> LogsArgs {
        match Cli::try_parse_from(line.split(' ')).unwrap().command {
            Command::Logs(args) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn flags_become_the_query() {
        let parse = |line: &str| {
            let args = args(line);
            args.path(&args.names[0], None)
        };
        for (line, path) in [
            ("a", "?follow=false&tail=100"),
            (
                "a --stdout --since 2h --grep x",
                "/stdout?follow=false&tail=100&since=2h&grep=x",
            ),
            ("a --tail", "?follow=true&tail=100"),
            ("a b -t", "?follow=true&tail=100"),
            ("a -f", "?follow=true&tail=100"),
            ("a --tail 5", "?follow=false&tail=5"),
            ("a --tail=5", "?follow=false&tail=5"),
            ("a --num 5", "?follow=false&tail=5"),
            ("a -n5", "?follow=false&tail=5"),
            (
                "a -f -n 5 --stderr -p web.1",
                "/stderr?follow=true&tail=5&process=web.1",
            ),
            ("a --access", "/access?follow=false&tail=100"),
            ("a --install -n all", "/install?follow=false&tail=all"),
        ] {
            let path = format!("/applications/a/logs{path}");
            assert_eq!(parse(&format!("procserver logs {line}")), path);
        }
        for wrong in ["-n -1", "--access --stderr", "--color perhaps"] {
            let line = format!("procserver logs a {wrong}");
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_goes_on_has_no_tail_and_no_beginning() {
        let args = args("procserver logs a -f --since 2h --grep x");
        let path = |is_current| args.path(&args.names[0], Some(is_current));
        let all = "/applications/a/logs?follow=true&grep=x";
        assert_eq!(path(true), all);
        // What was not read yet may be too old.
        assert_eq!(path(false), all.replace("&grep", "&since=2h&grep"));
    }

    #[test]
    fn where_a_process_has_no_lines_those_are_named_that_there_are() {
        let name = AppName::parse("blog").unwrap();
        let status =
            serde_json::json!({"processes": [{"id": "web.1"}, {"id": "run.7"}, {"id": "web.1"}]});
        let told = processes(&name, &status);
        assert_eq!(told, "the processes of blog are web.1, run.7");
        let told = processes(&name, &Value::Null);
        assert!(told.contains("procserver ps blog"), "{told}");
    }
}
