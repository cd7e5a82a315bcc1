//! `procserver route`: tell which application would answer a URL, and why.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::client::{Client, ClientArgs};
use super::document::encode_query;
use super::output::{Output, cell};

/// Arguments of `route`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  procserver route http://blog.example/posts
  procserver route http://nas.local/blog/posts
  procserver route http://nas.local/ --x-app blog --json")]
pub struct RouteArgs {
    /// The URL of a request
    pub url: String,
    /// Its X-App field
    #[arg(long, value_name = "NAME")]
    pub x_app: Option<String>,
    /// How to reach the server.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Explains the routing of one request.
///
/// # Errors
/// What the API refuses.
pub async fn run(args: &RouteArgs, client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
    let mut path = format!("/routes?url={}", encode_query(&args.url));
    if let Some(x_app) = &args.x_app {
        path.push_str(&format!("&x_app={}", encode_query(x_app)));
    }
    let route: Value = client.get(&path).await?;
    match route.as_object() {
        Some(fields) if !out.is_json() => {
            for (name, value) in fields {
                out.line(&format!("{name}: {}", cell(value)))?;
            }
        }
        _ => out.json(&route)?,
    }
    Ok(ExitCode::SUCCESS)
}
