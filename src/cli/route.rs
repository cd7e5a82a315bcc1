//! `procserver route`: which application would answer a URL, and why.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::client::{Client, ClientArgs};
use super::document::encode_query;
use super::output::{Output, cell};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  procserver route                             all routes
  procserver route http://blog.example/about   who would answer this
  procserver route / --x-app blog              with the field X-App
  procserver route blog.example --json")]
pub struct RouteArgs {
    /// The URL, as in http://blog.example/about; without one all routes are listed
    pub url: Option<String>,
    /// The value of the request's X-App field
    #[arg(long, value_name = "APP", requires = "url")]
    pub x_app: Option<String>,
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Says who answers.
pub async fn run(args: &RouteArgs, client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
    let answer: Value = client.get(&path(args)).await?;
    if out.is_json() {
        out.json(&answer)?;
    } else if args.url.is_some() {
        explain(&answer, out)?;
    } else {
        list(&answer, out)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn path(args: &RouteArgs) -> String {
    let mut path = "/routes".to_owned();
    if let Some(url) = &args.url {
        path.push_str(&format!("?url={}", encode_query(url)));
    }
    if let Some(x_app) = &args.x_app {
        path.push_str(&format!("&x_app={}", encode_query(x_app)));
    }
    path
}

fn explain(answer: &Value, out: &mut Output) -> std::io::Result<()> {
    let by = |found: &Value| {
        let host = found["name"].as_str().or_else(|| found["pattern"].as_str());
        match host {
            Some(host) => format!("{} {host}", cell(&found["rule"])),
            None => cell(&found["rule"]),
        }
    };
    match (answer["app"].as_str(), answer["rule"].as_str()) {
        (Some(app), _) => {
            let state = cell(&answer["state"]);
            out.line(&format!("{app} answers, by {}; it is {state}", by(answer)))?;
            out.line(&format!("it is sent {}", cell(&answer["path"])))?;
        }
        (None, Some(_)) => out.line("the API answers")?,
        (None, None) => out.line("nobody answers: 404")?,
    }
    for process in list_of(&answer["processes"]) {
        let (id, address) = (cell(&process["id"]), cell(&process["address"]));
        out.line(&format!("process {id} at {address}"))?;
    }
    for other in list_of(&answer["others"]) {
        let app = cell(&other["app"]);
        out.line(&format!("{app} matches too, by {}", by(other)))?;
    }
    Ok(())
}

fn list(routes: &Value, out: &mut Output) -> std::io::Result<()> {
    let row = |route: &Value| {
        let hosts = list_of(&route["hosts"]).iter();
        let hosts = hosts.map(|host| match host["name"].as_str() {
            Some(name) => format!("{name} ({})", cell(&host["process"])),
            None => cell(host),
        });
        let patterns = list_of(&route["domain"]).iter().map(cell);
        let hosts: Vec<_> = hosts.chain(patterns).collect();
        let processes = list_of(&route["processes"]).len();
        vec![
            cell(&route["app"]),
            cell(&route["state"]),
            cell(&route["path"]),
            cell(&route["port"]),
            processes.to_string(),
            hosts.join("  "),
        ]
    };
    let rows: Vec<_> = list_of(routes).iter().map(row).collect();
    let headings = ["APP", "STATE", "PATH", "PORT", "PROCESSES", "HOSTS"];
    out.table(&headings, &rows)
}

fn list_of(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    #[test]
    fn url_and_x_app_are_encoded_into_the_query() {
        let path = |line: &str| match Cli::try_parse_from(line.split(' ')).unwrap().command {
            Command::Route(args) => path(&args),
            other => panic!("{other:?}"),
        };
        assert_eq!(path("procserver route"), "/routes");
        assert_eq!(
            path("procserver route http://blog/a?b&c --x-app x"),
            "/routes?url=http%3A%2F%2Fblog%2Fa%3Fb%26c&x_app=x"
        );
        assert!(Cli::try_parse_from(["procserver", "route", "--x-app", "x"]).is_err());
    }
}
