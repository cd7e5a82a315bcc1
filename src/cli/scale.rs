//! `procserver scale`: show or change how many processes of a type run.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Map, Value, json};

use super::client::{Client, ClientArgs};
use super::deploy::{self, WaitArgs};
use super::document::quantity;
use super::output::Output;
use crate::document::name::AppName;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  procserver scale blog                    show them
  procserver scale blog web=2
  procserver scale blog web=4 worker=0     those that stay run on untouched
  procserver scale blog web=2 --no-wait --json")]
pub struct ScaleArgs {
    /// The application
    #[arg(value_parser = AppName::parse)]
    pub name: AppName,
    /// How many processes of a type
    #[arg(value_name = "TYPE=N", value_parser = quantity)]
    pub types: Vec<(String, u32)>,
    #[command(flatten)]
    pub wait: WaitArgs,
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Shows the formation, or changes it and waits until it is so.
///
/// # Errors
/// What the API refuses, and added processes that do not get ready.
pub async fn run(args: &ScaleArgs, client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
    if args.types.is_empty() {
        return show(&args.name, client, out).await;
    }
    let types = args.types.iter().cloned();
    let types: Map<_, _> = types
        .map(|(name, count)| (name, Value::from(count)))
        .collect();
    deploy::change(
        &args.name,
        &json!({ "scale": types }),
        args.wait,
        client,
        out,
    )
    .await
}

async fn show(name: &AppName, client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
    let path = format!("/applications/{name}");
    let document: Value = client.get(&path).await?;
    let status: Value = client.get(&format!("{path}/status")).await?;
    let formation = formation(&document, &status);
    if out.is_json() {
        let counts = formation
            .into_iter()
            .map(|(name, wanted, _)| (name, Value::from(wanted)));
        out.json(&Value::Object(counts.collect()))?;
        return Ok(ExitCode::SUCCESS);
    }
    if formation.is_empty() {
        out.note(&format!(
            "{name} runs nothing: \"procserver ps {name}\" says why"
        ));
    }
    for (process_type, wanted, ready) in formation {
        out.line(&format!("{process_type}={wanted} ({ready} ready)"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Each type with how many processes of it are wanted, and how many are ready. What the document does not name runs in
/// as many as there are. While a batch takes the place of another, both have a process of each name, which counts once.
fn formation(document: &Value, status: &Value) -> Vec<(String, u64, u64)> {
    let mut types: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    let release = &status["release"];
    let processes = status["processes"].as_array().into_iter().flatten();
    let leaves = |process: &Value| {
        ["stopping", "stopped"]
            .map(Value::from)
            .contains(&process["state"])
    };
    let of_release = processes.filter(|process| process["release"] == *release && !leaves(process));
    let mut is_ready: BTreeMap<(&str, &str), bool> = BTreeMap::new();
    for process in of_release {
        let text = |field: &str| process[field].as_str().unwrap_or("?");
        let of_name = is_ready.entry((text("type"), text("id"))).or_default();
        *of_name |= process["state"] == "ready";
    }
    for ((of_type, _), is_ready) in is_ready {
        let entry = types.entry(of_type).or_default();
        entry.0 += 1;
        entry.1 += u64::from(is_ready);
    }
    for (name, wanted) in document["scale"].as_object().into_iter().flatten() {
        types.entry(name).or_default().0 = wanted.as_u64().unwrap_or(0);
    }
    let types = types.into_iter();
    types
        .map(|(name, (wanted, ready))| (name.to_owned(), wanted, ready))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_formation_is_what_the_document_says_and_what_runs() {
        let document = json!({"scale": {"worker": 0, "web": 3}});
        let process = |id: &str, state: &str, release: u64| {
            let kind = id.split('.').next();
            json!({"id": id, "type": kind, "state": state, "release": release})
        };
        // A change of scale has them all made anew: clock.1 is there twice, and clock.2 goes.
        let status = json!({"release": 2, "processes": [process("web.1", "ready", 2), process("web.2", "starting", 2),
            process("web.1", "ready", 1), process("clock.1", "ready", 2), process("clock.1", "starting", 2),
            process("clock.2", "stopping", 2)]});
        let expected = [("clock", 1, 1), ("web", 3, 1), ("worker", 0, 0)];
        assert_eq!(
            formation(&document, &status),
            expected.map(|(name, wanted, ready)| (name.to_owned(), wanted, ready))
        );
    }
}
