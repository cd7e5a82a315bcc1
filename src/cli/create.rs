//! `procserver create`: add an application and deploy it.

use std::process::ExitCode;

use awc::http::Method;
use serde_json::Value;

use super::client::{Call, Client, ClientError};
use super::create_document::{self, CreateArgs};
use super::deploy;
use super::document::Document;
use super::input;
use super::output::Output;
use super::usage::Usage;
use crate::document::name::AppName;

/// Creates the application and follows its first deployment.
///
/// # Errors
/// What is wrong with the document, what the API refuses, and a deployment that fails.
pub async fn run(
    mut args: CreateArgs,
    client: &Client,
    out: &mut Output,
) -> anyhow::Result<ExitCode> {
    let document = document(&mut args)?;
    let call = Call::new(Method::POST, "/applications").body(document.text);
    let created = deploy::run(&document.name, call, args.wait, client, out).await;
    if created
        .as_ref()
        .is_ok_and(|code| *code == ExitCode::SUCCESS)
        && !args.wait.no_wait
    {
        say_where(&document.name, client, out).await?;
    }
    created.map_err(|error| {
        let taken = match error.downcast_ref() {
            Some(ClientError::Refused(problem)) if problem.status == 409 => {
                Some(exists(&args, document.name.as_str(), &problem.to_string()))
            }
            _ => None,
        };
        match taken {
            Some(told) => error.context(told),
            None => error,
        }
    })
}

/// Says at which URL the new application answers, of one that has files or a process to answer with.
pub(super) async fn say_where(
    name: &AppName,
    client: &Client,
    out: &mut Output,
) -> anyhow::Result<()> {
    if out.is_json() {
        return Ok(());
    }
    let apps: Vec<Value> = client.get("/applications").await?;
    let status: Value = client.get(&format!("/applications/{name}/status")).await?;
    let app = apps.into_iter().find(|app| app["name"] == name.as_str());
    if let Some(text) = app.and_then(|app| where_it_answers(&app, &status)) {
        out.line(&text)?;
    }
    Ok(())
}

fn where_it_answers(app: &Value, status: &Value) -> Option<String> {
    let processes = status["processes"].as_array()?;
    let has_web = processes.iter().any(|process| process["type"] == "web");
    if !has_web && !processes.is_empty() {
        return None;
    }
    Some(match app["url"].as_str() {
        Some(url) => format!("  {url}"),
        None => {
            "  the hosts that \"domain\" matches lead to it; \"procserver route URL\" tries one"
                .into()
        }
    })
}

/// What to do about an application that is there already.
fn exists(args: &CreateArgs, name: &str, refusal: &str) -> String {
    let replace = match has_source(args) {
        true => format!(
            "procserver show {name} > {name}.json, edit it, and: procserver update {name}.json"
        ),
        false => format!("procserver update {}", args.target),
    };
    format!(
        "{refusal}\n  to correct where its code is: procserver set {name} repo.url=URL\n  to replace its document: \
         {replace}\n  to deploy it again as it is: procserver redeploy {name}"
    )
}

/// Whether flags say where the code is.
fn has_source(args: &CreateArgs) -> bool {
    args.push || args.repo.is_some() || args.repo_file.is_some()
}

fn document(args: &mut CreateArgs) -> anyhow::Result<Document> {
    if has_source(args) {
        let name = AppName::parse(&args.target).map_err(|error| Usage(error.to_string()))?;
        let text = create_document::from_flags(args)?.to_string();
        return Ok(Document { name, text });
    }
    // A name without --repo is the likelier slip than a file that is not there.
    if args.target != input::STDIN && !std::path::Path::new(&args.target).exists() {
        let text = format!(
            "there is no file {0}: name a file with the application's document, or say where its code is: \
             procserver create {0} --repo URL\n  to push it to this server with git: procserver create {0} --push\n  to deploy a \
             directory without git: procserver deploy {0} DIR",
            args.target
        );
        return Err(Usage(text).into());
    }
    Ok(Document::read(&args.target)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::create_document::tests::parse;

    #[test]
    fn flags_that_need_each_other_are_asked_for() {
        assert!(parse(&["blog", "--scale", "web=2"]).is_err());
        assert!(parse(&["blog", "--repo", "x", "--repo-file", "y"]).is_err());
        assert!(parse(&["blog", "--repo", "x", "--branch", "a", "--tag", "b"]).is_err());
        assert!(parse(&["blog", "--repo", "x", "--scale", "web"]).is_err());
        assert!(parse(&["blog", "--repo", "x", "--spa"]).is_err());
        assert!(parse(&["blog", "--repo-file", "x", "--scale", "web=1"]).is_ok());
    }

    #[test]
    fn a_name_without_a_repository_is_a_usage_error_with_a_way_out() {
        let error = document(&mut parse(&["no-such-file"]).unwrap()).unwrap_err();
        assert!(error.is::<Usage>());
        for way in ["--repo URL", "--push", "procserver deploy no-such-file DIR"] {
            assert!(error.to_string().contains(way), "{error}");
        }
        let error = document(&mut parse(&["Bad Name", "--repo", "x"]).unwrap()).unwrap_err();
        assert!(error.is::<Usage>(), "{error}");
    }

    #[test]
    fn where_it_answers_is_told_of_what_has_something_to_answer_with() {
        let app = serde_json::json!({ "url": "http://h/blog/" });
        let told = |types: &[&str]| {
            let processes = types.iter().map(|name| serde_json::json!({ "type": name }));
            let processes: Vec<_> = processes.collect();
            where_it_answers(&app, &serde_json::json!({ "processes": processes }))
        };
        assert_eq!(
            told(&["web", "worker"]).as_deref(),
            Some("  http://h/blog/")
        );
        assert_eq!(
            told(&[]).as_deref(),
            Some("  http://h/blog/"),
            "a static site"
        );
        assert_eq!(told(&["worker"]), None);
    }

    #[test]
    fn a_name_that_is_taken_is_told_with_what_to_do() {
        let told = exists(&parse(&["blog", "--repo", "x"]).unwrap(), "blog", "taken.");
        for part in [
            "taken.",
            "procserver set blog repo.url=",
            "procserver update blog.json",
            "redeploy blog",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
    }
}
