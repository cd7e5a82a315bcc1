//! `procserver run`: run a command of an application, beside its processes.

mod attached;
mod raw_mode;

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::process::ExitCode;

use anyhow::Context as _;
use awc::http::Method;
use clap::Args;
use serde_json::{Value, json};

use super::client::{Call, Client, ClientArgs};
use super::output::{Output, cell, time};
use super::usage::Usage;
use crate::document::name::AppName;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  procserver run blog -- ./manage.py shell     a console; the exit code is the command's
  procserver run blog bash                     Ctrl-C goes to it, its end ends this
  procserver run blog 'echo $HOME | wc -c'     one word with spaces is for the shell
  procserver run blog ./import < data.csv > report.bin
  procserver run blog -d -- ./manage.py reindex
  procserver logs blog -p run.1                what a detached one prints
  procserver stop blog -p run.1                ends it
  procserver run blog                          lists those that run, and the last that ended

The command runs in the current release, as a process of the application does: its user, environment, sandbox and limits (limits.run), without a port. A deploy leaves it alone; \"stop\" and \"rm\" of the application end it. If this program goes away, the command is ended, unless it is detached. On a swarm it runs on any node, with the volumes of that node, without a terminal (-T), and gets no input: it reads from $STORAGE_DIR, or from where it can fetch it.

Exit code: the command's, or 128 and the number of the signal that ended it; 1 when the connection broke.")]
pub struct RunArgs {
    /// The application
    #[arg(value_parser = AppName::parse)]
    pub name: AppName,
    /// The command and its arguments
    #[arg(trailing_var_arg = true, value_name = "COMMAND")]
    pub command: Vec<String>,
    /// A variable for the command alone
    #[arg(long, short, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// Print its id and let it run; its output goes to the log
    #[arg(long, short)]
    pub detach: bool,
    /// End it after this time, as in 30m
    #[arg(long, value_name = "TIME")]
    pub timeout: Option<String>,
    /// No terminal for the command, also where this is one
    #[arg(long, short = 'T')]
    pub no_tty: bool,
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Runs the command and becomes its exit code.
pub async fn run(args: &RunArgs, client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
    let path = format!("/applications/{}/run", args.name);
    if args.command.is_empty() {
        return list(&path, client, out).await;
    }
    if out.is_json() && !args.detach {
        let why = "--json goes with --detach: otherwise the output is the command's";
        return Err(Usage(why.to_owned()).into());
    }
    let is_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let tty = is_terminal && !args.no_tty && !args.detach;
    let call = Call::new(Method::POST, path).body(request(args, tty)?.to_string());
    let started = client.send(&call).await?.json();
    if args.detach {
        match out.is_json() {
            true => out.json(&started)?,
            false => out.line(&cell(&started["id"]))?,
        }
        return Ok(ExitCode::SUCCESS);
    }
    let place = started["attach"]
        .as_str()
        .context("the server says not how to attach")?;
    attached::follow(place, tty, client).await
}

fn request(args: &RunArgs, tty: bool) -> anyhow::Result<Value> {
    let mut env = BTreeMap::new();
    if let (true, Ok(term)) = (tty, std::env::var("TERM")) {
        env.insert("TERM".to_owned(), term);
    }
    for pair in &args.env {
        let (name, value) = pair
            .split_once('=')
            .ok_or_else(|| Usage(format!("--env {pair}: write NAME=VALUE")))?;
        env.insert(name.to_owned(), value.to_owned());
    }
    let mut request = json!({ "command": command(&args.command), "env": env });
    if tty {
        request["tty"] = true.into();
        if let Some((columns, rows)) = raw_mode::size() {
            request["size"] = json!({ "columns": columns, "rows": rows });
        }
    }
    if args.detach {
        request["detach"] = true.into();
    }
    if let Some(timeout) = &args.timeout {
        request["timeout"] = timeout.as_str().into();
    }
    Ok(request)
}

/// One word is what a shell reads; of several each is an argument, as it is.
fn command(words: &[String]) -> String {
    match words {
        [text] => text.clone(),
        words => {
            let quoted: Vec<_> = words.iter().map(|word| quoted(word)).collect();
            quoted.join(" ")
        }
    }
}

fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./=:,@%+".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

async fn list(path: &str, client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
    let all: Vec<Value> = client.get(path).await?;
    if out.is_json() {
        out.json(&Value::Array(all))?;
        return Ok(ExitCode::SUCCESS);
    }
    if all.is_empty() {
        out.line("nothing was run: procserver run NAME -- COMMAND")?;
        return Ok(ExitCode::SUCCESS);
    }
    let (headings, rows) = table(&all);
    out.table(&headings, &rows)?;
    Ok(ExitCode::SUCCESS)
}

/// With the machines of a swarm that they are on, or were, if there are any.
fn table(all: &[Value]) -> (Vec<&'static str>, Vec<Vec<String>>) {
    let mut headings = vec!["RUN", "STATE", "RELEASE", "STARTED", "EXIT", "COMMAND"];
    let row = |one: &Value| {
        vec![
            cell(&one["id"]),
            cell(&one["state"]),
            cell(&one["release"]),
            time(&one["started_at"]),
            super::ps::last_exit(&one["last_exit"]),
            cell(&one["command"]),
        ]
    };
    let mut rows: Vec<_> = all.iter().map(row).collect();
    if all.iter().any(|one| one["node"].is_string()) {
        headings.insert(2, "NODE");
        for (row, one) in rows.iter_mut().zip(all) {
            row.insert(2, cell(&one["node"]));
        }
    }
    (headings, rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_stay_as_they_are_and_a_single_word_is_for_the_shell() {
        let told = |words: &[&str]| {
            let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
            command(&words)
        };
        assert_eq!(told(&["echo $HOME | cat"]), "echo $HOME | cat");
        assert_eq!(told(&["./manage.py", "shell"]), "./manage.py shell");
        assert_eq!(
            told(&["echo", "a b", "it's", ""]),
            "echo 'a b' 'it'\\''s' ''"
        );
    }

    #[test]
    fn the_list_has_nodes_where_there_are_any() {
        let here = json!({"id": "run.1", "state": "ready", "node": null});
        let (headings, rows) = table(std::slice::from_ref(&here));
        assert!(!headings.contains(&"NODE") && rows[0].len() == headings.len());
        let there = json!({"id": "run.2", "state": "ready", "node": "node2"});
        let (headings, rows) = table(&[here, there]);
        assert_eq!(
            (headings[2], &*rows[0][2], &*rows[1][2]),
            ("NODE", "-", "node2")
        );
    }
}
