//! `procserver route`: which application would answer a URL, and why.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::client::{Client, ClientArgs};
use super::document::encode_query;
use super::output::{Output, cell};

/// Arguments of `route`.
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
    /// How to reach the server.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Says who answers.
///
/// # Errors
/// What the API refuses.
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
    let by = |found: &Value| match found["pattern"].as_str() {
        Some(pattern) => format!("{} {pattern}", cell(&found["rule"])),
        None => cell(&found["rule"]),
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
        let domain: Vec<String> = list_of(&route["domain"]).iter().map(cell).collect();
        let processes = list_of(&route["processes"]).len();
        vec![
            cell(&route["app"]),
            cell(&route["state"]),
            cell(&route["path"]),
            cell(&route["port"]),
            processes.to_string(),
            domain.join("  "),
        ]
    };
    let rows: Vec<_> = list_of(routes).iter().map(row).collect();
    let headings = ["APP", "STATE", "PATH", "PORT", "PROCESSES", "DOMAIN"];
    out.table(&headings, &rows)
}

fn list_of(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::super::fake_api::{FakeApi, exchange};
    use super::*;
    use crate::cli::{Cli, Command};

    /// What is printed when the API answers `body` to `request`.
    fn printed(line: &str, request: &'static str, body: &Value) -> String {
        let parsed = Cli::try_parse_from(line.split(' ')).unwrap().command;
        let Command::Route(args) = parsed else {
            panic!("{parsed:?}")
        };
        actix_rt::System::new().block_on(async {
            let api = FakeApi::start(vec![exchange(request, 200, body)]);
            let (mut out, captured) = Output::captured(false);
            run(&args, &api.client, &mut out).await.unwrap();
            captured.text()
        })
    }

    #[test]
    fn a_url_is_explained_in_sentences() {
        let body = json!({
            "app": "blog", "rule": "host", "pattern": "^blog", "state": "ready", "path": "/a",
            "processes": [{"id": "web.1", "address": "127.0.0.1:8001"}],
            "others": [{"app": "wiki", "rule": "path"}],
        });
        let shown = printed(
            "procserver route http://blog/a?b&c --x-app x",
            "GET /routes?url=http%3A%2F%2Fblog%2Fa%3Fb%26c&x_app=x",
            &body,
        );
        assert_eq!(
            shown,
            "blog answers, by host ^blog; it is ready\nit is sent /a\nprocess web.1 at 127.0.0.1:8001\n\
             wiki matches too, by path\n"
        );
        let nobody = json!({"app": null, "rule": null, "others": []});
        let shown = printed("procserver route a", "GET /routes?url=a", &nobody);
        assert_eq!(shown, "nobody answers: 404\n");
    }

    #[test]
    fn without_a_url_all_routes_are_listed() {
        let body = json!([{"app": "blog", "state": "ready", "path": "/blog/", "port": null,
            "processes": [{}], "domain": ["^a$", "b"]}]);
        let shown = printed("procserver route", "GET /routes", &body);
        let row: Vec<&str> = shown.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(row, ["blog", "ready", "/blog/", "-", "1", "^a$", "b"]);
    }
}
