//! `procserver logs`: show what an application or its installation printed.

use std::process::ExitCode;

use anyhow::bail;
use clap::Args;

use super::client::{Client, ClientArgs};
use super::document::encode_query;
use super::output::Output;
use super::terminal::Shown;
use crate::document::name::AppName;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  procserver logs blog                         the last 100 lines that its processes printed
  procserver logs blog -f                      and all that follow, until Ctrl-C
  procserver logs blog --stderr -n 20 -p web.1
  procserver logs blog --since 2h -n all --grep timeout
  procserver logs blog --install               what fetching and installing printed
  procserver logs blog --access -f             each request as it is answered
  procserver logs blog -f --json               one JSON object a line")]
pub struct LogsArgs {
    /// The application
    #[arg(value_parser = AppName::parse)]
    pub name: AppName,
    /// Go on with what is printed from now on
    #[arg(long, short)]
    pub follow: bool,
    /// How many of the last lines, or "all"
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
    /// Only this process, as in web.1
    #[arg(long, short, value_name = "PROCESS")]
    pub process: Option<String>,
    /// Only what was printed since then: a time, or how long ago, as in 2h
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Only lines with this text
    #[arg(long, value_name = "TEXT")]
    pub grep: Option<String>,
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
}

/// Copies the log to the output as it comes; to a terminal, as [`Shown`].
///
/// # Errors
/// What the API refuses, and with `--follow` that the log ended: only Ctrl-C ends it well.
pub async fn run(args: &LogsArgs, client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
    let media_type = if out.is_json() {
        "application/x-ndjson"
    } else {
        "text/plain"
    };
    let mut shown = out.is_terminal().then(Shown::default);
    let mut is_empty = true;
    client
        .stream(&path(args), media_type, |piece| {
            is_empty &= piece.is_empty();
            let written = match &mut shown {
                Some(shown) => out.bytes(&shown.piece(piece)),
                None => out.bytes(piece),
            };
            written.map_err(anyhow::Error::from)
        })
        .await?;
    if let Some(mut shown) = shown {
        out.bytes(&shown.end())?;
    }
    if is_empty && !args.follows() {
        out.note(&nothing(args));
    }
    if args.follows() {
        bail!(
            "the server closed the log of {}: it stops, or the application was removed",
            args.name
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Where to look instead of in a log that has nothing.
fn nothing(args: &LogsArgs) -> String {
    let name = &args.name;
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

fn path(args: &LogsArgs) -> String {
    let log = match args {
        LogsArgs { install: true, .. } => "/install",
        LogsArgs { access: true, .. } => "/access",
        LogsArgs { stderr: true, .. } => "/stderr",
        LogsArgs { stdout: true, .. } => "/stdout",
        _ => "",
    };
    let mut path = format!(
        "/applications/{}/logs{log}?tail={}",
        args.name,
        args.lines()
    );
    let filters = [
        ("process", &args.process),
        ("since", &args.since),
        ("grep", &args.grep),
    ];
    for (name, value) in filters {
        if let Some(value) = value {
            path.push_str(&format!("&{name}={}", encode_query(value)));
        }
    }
    if args.follows() {
        path.push_str("&follow=true");
    }
    path
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
        let parse = |line: &str| path(&args(line));
        assert_eq!(parse("procserver logs a"), "/applications/a/logs?tail=100");
        assert_eq!(
            parse("procserver logs a --stdout --since 2h --grep x"),
            "/applications/a/logs/stdout?tail=100&since=2h&grep=x"
        );
        for as_elsewhere in ["--tail", "-t", "-f"] {
            assert_eq!(
                parse(&format!("procserver logs a {as_elsewhere}")),
                "/applications/a/logs?tail=100&follow=true"
            );
        }
        for as_elsewhere in ["--tail 5", "--tail=5", "--num 5", "-n5"] {
            assert_eq!(
                parse(&format!("procserver logs a {as_elsewhere}")),
                "/applications/a/logs?tail=5"
            );
        }
        assert_eq!(
            parse("procserver logs a -f -n 5 --stderr -p web.1"),
            "/applications/a/logs/stderr?tail=5&process=web.1&follow=true"
        );
        assert!(Cli::try_parse_from(["procserver", "logs", "a", "-n", "-1"]).is_err());
        assert_eq!(
            parse("procserver logs a --access"),
            "/applications/a/logs/access?tail=100"
        );
        assert!(Cli::try_parse_from(["procserver", "logs", "a", "--access", "--stderr"]).is_err());
        assert_eq!(
            parse("procserver logs a --install -n all"),
            "/applications/a/logs/install?tail=all"
        );
    }
}
