//! `procserver cancel`: end a deployment that waits or is at work.

use std::process::ExitCode;

use awc::http::Method;
use clap::Args;
use serde_json::Value;

use super::client::{Call, Client, ClientArgs};
use super::deploy;
use super::deployments;
use super::output::Output;
use super::progress::Progress;
use crate::document::name::AppName;
use crate::install::record::DeploymentState;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  procserver cancel blog                       what it runs is ended, what ran before goes on
  procserver cancel blog 7
  procserver cancel blog --json")]
pub struct CancelArgs {
    /// The application
    #[arg(value_parser = AppName::parse)]
    pub name: AppName,
    /// Which deployment [default: the last]
    pub id: Option<u64>,
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Cancels it and waits until it is over.
///
/// # Errors
/// What the API refuses, and that it ended in another way before.
pub async fn run(args: &CancelArgs, client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
    let name = &args.name;
    let id = match args.id {
        Some(id) => id,
        None => deployments::last(name, client).await?.id,
    };
    let path = format!("/applications/{name}/deployments/{id}");
    client
        .send(&Call::new(Method::POST, format!("{path}/cancel")))
        .await?;
    let record = deploy::follow(&path, &mut Progress::default(), client, out).await?;
    anyhow::ensure!(
        record.state == DeploymentState::Cancelled,
        "deployment {id} of {name} ended before it was cancelled: see \"procserver deployment {name} {id}\""
    );
    if out.is_json() {
        out.json(&serde_json::to_value(&record)?)?;
    } else {
        out.line(&format!("{name}: deployment {id} was cancelled"))?;
        let status: Value = client.get(&format!("/applications/{name}/status")).await?;
        for line in what_stays(name, &status) {
            out.line(&line)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What of the cancelled change is still there, and how to take it back.
fn what_stays(name: &AppName, status: &Value) -> Vec<String> {
    let has_release = !status["release"].is_null();
    match status["left_out"].is_string() {
        true => vec![
            format!(
                "  its document keeps what was changed: the next deploy or change of {name} carries that out too"
            ),
            format!(
                "  to take it back: procserver set {name} FIELD=OLD-VALUE, or procserver env {name} (\"procserver show \
                 {name}\" prints it)"
            ),
        ],
        false if !has_release => vec![format!(
            "  its document is kept: \"procserver redeploy {name}\" deploys it, \"procserver rm {name}\" removes it"
        )],
        false => vec![],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_cancelled_deployment_leaves_is_told_with_what_takes_it_back() {
        let name = AppName::parse("blog").unwrap();
        let told = |status| what_stays(&name, &status).join("\n");
        assert_eq!(told(json!({ "release": 1 })), "");
        let changed = told(json!({ "release": 1, "left_out": "why" }));
        assert!(changed.contains("procserver set blog FIELD="), "{changed}");
        let first = told(json!({ "release": null }));
        assert!(
            first.contains("redeploy blog") && first.contains("rm blog"),
            "{first}"
        );
    }
}
