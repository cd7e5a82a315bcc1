//! `procserver preview`: a branch of an application beside it.

use std::process::ExitCode;
use std::time::Duration;

use awc::http::Method;
use clap::Args;
use serde_json::{Value, json};

use super::client::{Call, Client, ClientArgs};
use super::deploy::{self, WaitArgs};
use super::output::{Output, cell, time};
use super::usage::Usage;
use crate::document::name::AppName;
use crate::document::preview::name_of;

/// A removal that takes longer goes on by itself.
const PATIENCE: Duration = Duration::from_mins(1);

const HEADINGS: [&str; 5] = ["NAME", "BRANCH", "STATE", "HOST", "EXPIRES"];

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  procserver preview blog feature/login        makes blog-feature-login, or makes it anew
  procserver preview blog feature/login --for 2d
  procserver preview blog                      lists them
  procserver preview blog feature/login --rm
  procserver preview blog --json

A preview is removed by itself when its branch is deleted (told by a webhook), or some time after its last deployment.")]
pub struct PreviewArgs {
    /// The application
    #[arg(value_parser = AppName::parse)]
    pub name: AppName,
    /// The branch [default: list the previews]
    pub branch: Option<String>,
    /// How long it is kept after its last deployment [default: previews.expires of the document, else 7d]
    #[arg(long = "for", value_name = "TIME", requires = "branch")]
    pub expires: Option<String>,
    /// List the previews
    #[arg(long, conflicts_with = "branch")]
    pub list: bool,
    /// Remove it, with its files
    #[arg(long, requires = "branch", conflicts_with = "expires")]
    pub rm: bool,
    #[command(flatten)]
    pub wait: WaitArgs,
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Makes, removes or lists.
///
/// # Errors
/// What the API refuses.
pub async fn run(
    args: &PreviewArgs,
    client: &Client,
    out: &mut Output,
) -> anyhow::Result<ExitCode> {
    let path = format!("/applications/{}/previews", args.name);
    let Some(branch) = &args.branch else {
        return list(args, &path, client, out).await;
    };
    if args.rm {
        return remove(args, branch, &path, client, out).await;
    }
    let preview = name_of(&args.name, branch)
        .map_err(|why| Usage(format!("the branch \"{branch}\" {why}")))?;
    let mut wish = json!({ "branch": branch });
    if let Some(expires) = &args.expires {
        wish["expires"] = expires.as_str().into();
    }
    let call = Call::new(Method::POST, path).body(wish.to_string());
    deploy::run(&preview, args.wait.patient(call), args.wait, client, out).await
}

/// Removes what is a preview, and nothing else that has such a name.
async fn remove(
    args: &PreviewArgs,
    branch: &str,
    path: &str,
    client: &Client,
    out: &mut Output,
) -> anyhow::Result<ExitCode> {
    let all: Vec<Value> = client.get(path).await?;
    let Some(preview) = all.iter().find(|one| one["branch"] == branch) else {
        let text = format!("{} has no preview of the branch {branch}", args.name);
        return Err(Usage(text).into());
    };
    let name = cell(&preview["name"]);
    let call = Call::new(Method::DELETE, format!("/applications/{name}")).wait(PATIENCE);
    let answer = client.send(&call).await?;
    match (out.is_json(), answer.status == 202) {
        (true, _) => out.json(&answer.json())?,
        (false, true) => out.line(&format!("{name}: is being removed"))?,
        (false, false) => out.line(&format!("{name}: removed"))?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(
    args: &PreviewArgs,
    path: &str,
    client: &Client,
    out: &mut Output,
) -> anyhow::Result<ExitCode> {
    let all: Vec<Value> = client.get(path).await?;
    if out.is_json() {
        out.json(&Value::Array(all))?;
    } else if all.is_empty() {
        let name = &args.name;
        out.line(&format!(
            "{name} has no preview: make one with \"procserver preview {name} BRANCH\""
        ))?;
    } else {
        let row = |one: &Value| {
            let mut row = ["name", "branch", "state", "host"]
                .map(|field| cell(&one[field]))
                .to_vec();
            row.push(time(&one["expires_at"]));
            row
        };
        let rows: Vec<Vec<String>> = all.iter().map(row).collect();
        out.table(&HEADINGS, &rows)?;
    }
    Ok(ExitCode::SUCCESS)
}
