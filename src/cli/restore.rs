//! `procserver restore`: brings applications back from a backup.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};

use super::client::{Client, ClientArgs};
use super::output::{Output, cell};
use crate::backup::reader;
use crate::document::name::AppName;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  procserver restore procserver.tar.gz --list  what is in it; needs no server
  procserver restore procserver.tar.gz         on a new machine, where a server runs
  procserver restore procserver.tar.gz --only blog --replace
                                               blog as it was, in the place of the one that is there

The backup is read to its end before anything is changed. Each application gets its document, its storage (which is its own \
user's here) and its deploy key, and is deployed from its repository. Once it has begun, it goes on even if the server is killed. \
Token and certificates count from the next start of the server on; settings are made only where there are none.")]
pub struct RestoreArgs {
    /// The backup, or "-" for standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Only this application, and nothing of the server itself; may be repeated
    #[arg(long, value_name = "APP", value_parser = AppName::parse)]
    pub only: Vec<AppName>,
    /// Remove an application that is there already, with its storage, and put the backup's in its place
    #[arg(long)]
    pub replace: bool,
    /// Say what is in it, and change nothing
    #[arg(long, conflicts_with_all = ["only", "replace"])]
    pub list: bool,
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Restores, or lists.
///
/// # Errors
/// The file is no whole backup; what the API refuses.
pub async fn run(
    args: &RestoreArgs,
    client: &Client,
    out: &mut Output,
) -> anyhow::Result<ExitCode> {
    let is_stdin = args.file.as_os_str() == "-";
    let open = || File::open(&args.file).with_context(|| args.file.display().to_string());
    if args.list {
        let contents = match is_stdin {
            true => reader::walk(io::stdin(), |_, _| Ok(())),
            false => reader::walk(open()?, |_, _| Ok(())),
        }?;
        match out.is_json() {
            true => out.json(&json!({
                "manifest": contents.manifest,
                "applications": contents.end.applications,
            }))?,
            false => {
                let manifest = &contents.manifest;
                out.line(&format!(
                    "made {:.0} by procserver {}",
                    manifest.created, manifest.procserver
                ))?;
                for line in contents.lines(&args.file.display().to_string()) {
                    out.line(&line)?;
                }
            }
        }
        return Ok(ExitCode::SUCCESS);
    }
    let answer = match is_stdin {
        true => client.upload(&path(args), io::stdin()).await?,
        false => client.upload(&path(args), open()?).await?,
    };
    if out.is_json() {
        out.json(&answer)?;
    } else {
        for line in lines(&answer) {
            out.line(&line)?;
        }
    }
    let failed = answer["failed"].as_array().map_or(0, Vec::len);
    Ok(match failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

fn path(args: &RestoreArgs) -> String {
    let only: Vec<&str> = args.only.iter().map(AppName::as_str).collect();
    let replace = args.replace;
    match only.is_empty() {
        true => format!("/-/restore?replace={replace}"),
        false => format!("/-/restore?replace={replace}&only={}", only.join(",")),
    }
}

fn lines(answer: &Value) -> Vec<String> {
    let all = |field: &str| answer[field].as_array().cloned().unwrap_or_default();
    let mut lines = Vec::new();
    for name in all("applications") {
        let name = cell(&name);
        lines.push(format!(
            "{name}: restored, and is being deployed: \"procserver ps {name}\""
        ));
    }
    for failed in all("failed") {
        lines.push(format!(
            "{}: NOT restored: {}",
            cell(&failed["name"]),
            cell(&failed["reason"])
        ));
    }
    lines.extend(
        all("notes")
            .iter()
            .map(|note| format!("note: {}", cell(note))),
    );
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_back_and_what_did_not_is_told() {
        let answer = json!({
            "applications": ["a"], "failed": [{"name": "b", "reason": "why"}], "notes": ["n"],
        });
        let lines = lines(&answer);
        assert!(lines[0].starts_with("a: restored"));
        assert_eq!(lines[1..], ["b: NOT restored: why", "note: n"]);
    }
}
