//! `procserver start`, `stop`, `restart` and `redeploy`: what takes an application's name and nothing else.

use std::process::ExitCode;

use awc::http::Method;
use clap::Args;

use super::client::{Call, Client, ClientArgs};
use super::deploy::{self, WaitArgs};
use super::document::encode_query;
use super::output::Output;
use crate::document::name::AppName;

#[derive(Args, Debug)]
pub struct ActionArgs {
    /// The application
    #[arg(value_parser = AppName::parse)]
    pub name: AppName,
    #[command(flatten)]
    pub wait: WaitArgs,
    #[command(flatten)]
    pub client: ClientArgs,
}

#[derive(Args, Debug)]
pub struct StopArgs {
    #[command(flatten)]
    pub action: ActionArgs,
    /// Only this command that "run" has started, as in run.1
    #[arg(long, short, value_name = "RUN")]
    pub process: Option<String>,
}

/// Stops all, or one command.
pub async fn stop(args: &StopArgs, client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
    let Some(id) = &args.process else {
        return run("stop", &args.action, client, out).await;
    };
    let name = &args.action.name;
    let path = format!("/applications/{name}/run/{}", encode_query(id));
    let answer = client.send(&Call::new(Method::DELETE, path)).await?;
    match out.is_json() {
        true => out.json(&answer.json())?,
        false => out.line(&format!("{name}: {id} is being stopped"))?,
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Args, Debug)]
pub struct RedeployArgs {
    /// Install everything anew: nothing of the release before is used, and the caches of package managers are emptied
    #[arg(long)]
    pub no_cache: bool,
    #[command(flatten)]
    pub action: ActionArgs,
}

/// Waits until `action` is done: the server answers then.
pub async fn run(
    action: &str,
    args: &ActionArgs,
    client: &Client,
    out: &mut Output,
) -> anyhow::Result<ExitCode> {
    let call = args.wait.patient(call(action, args));
    deploy::run(&args.name, call, args.wait, client, out).await
}

/// Follows the deployment that a redeploy always is, however long it takes.
pub async fn redeploy(
    args: &RedeployArgs,
    client: &Client,
    out: &mut Output,
) -> anyhow::Result<ExitCode> {
    let action = &args.action;
    let mut call = call("redeploy", action);
    if args.no_cache {
        call = call.body(serde_json::json!({"cache": false}).to_string());
    }
    deploy::run(&action.name, call, action.wait, client, out).await
}

fn call(action: &str, args: &ActionArgs) -> Call {
    Call::new(
        Method::POST,
        format!("/applications/{}/{action}", args.name),
    )
}
