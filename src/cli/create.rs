//! `procserver create`: add an application and deploy it.

use std::process::ExitCode;

use awc::http::Method;
use clap::{ArgGroup, Args};
use serde_json::Value;

use super::client::{Call, Client, ClientArgs, ClientError};
use super::create_document;
use super::deploy::{self, WaitArgs};
use super::document::{Document, choice, pair, quantity};
use super::input;
use super::output::Output;
use super::usage::Usage;
use crate::document::name::AppName;

/// Arguments of `create`.
#[derive(Args, Debug, Default)]
#[command(
    group = ArgGroup::new("source").args(["repo", "repo_file"]),
    after_help = "Examples:
  procserver create blog.json                  a document, JSON or JSON5; - reads standard input
  procserver create blog --repo https://git.example/blog.git
  procserver create blog --repo git@git.example:blog.git --branch main \\
    --domain '^blog\\.' --install 'bundle install' --package ruby-bundler \\
    --scale web=2 --env RAILS_ENV=production --env-file secrets.env
  procserver create blog --repo-file url.txt   a URL with a token: in no list of processes
  procserver create site --repo https://git.example/site.git --static public --spa
  procserver create blog --repo https://git.example/blog.git --set health_check.timeout=2s
  procserver create blog.json --no-wait --json

A token may stand in an https URL, as in https://TOKEN@HOST/blog.git or https://USER:PASSWORD@HOST/blog.git; for ssh URLs \
see \"procserver key --help\". Submodules are fetched at their recorded commits, also nested ones: their URLs follow the \
same rules, the token goes along to the same host only, and the deploy key is used for all of them. On this machine's \
disk a submodule must lie beside its repository and have the same owner."
)]
pub struct CreateArgs {
    /// A file with the application's document, or with --repo the application's name
    #[arg(value_name = "FILE|NAME")]
    pub target: String,
    /// Where the code is: a URL that git clones from
    #[arg(long, value_name = "URL")]
    pub repo: Option<String>,
    /// File with the URL, - for standard input: for a URL with a token in it
    #[arg(long, value_name = "FILE")]
    pub repo_file: Option<String>,
    /// The code's branch [default: master, else the repository's own default]
    #[arg(long, requires = "source", group = "reference")]
    pub branch: Option<String>,
    /// A tag instead of a branch
    #[arg(long, requires = "source", group = "reference")]
    pub tag: Option<String>,
    /// A commit instead of a branch
    #[arg(long, requires = "source", group = "reference")]
    pub commit: Option<String>,
    /// Regular expression of hosts that reach the application; may be repeated
    #[arg(long, requires = "source", value_name = "REGEX")]
    pub domain: Vec<String>,
    /// Command that prepares the code; may be repeated
    #[arg(long, requires = "source", value_name = "COMMAND")]
    pub install: Vec<String>,
    /// /bin/sh (default) or /bin/bash: what runs these and the commands of the Procfile
    #[arg(long, requires = "source", value_name = "PATH")]
    pub shell: Option<String>,
    /// Debian package that must be installed; may be repeated
    #[arg(long, requires = "source", value_name = "NAME")]
    pub package: Vec<String>,
    /// How many processes of a type; may be repeated
    #[arg(long, requires = "source", value_name = "TYPE=N", value_parser = quantity)]
    pub scale: Vec<(String, u32)>,
    /// Environment variable, the value - is read from standard input; may be repeated
    #[arg(long, requires = "source", value_name = "NAME=VALUE", value_parser = pair)]
    pub env: Vec<(String, String)>,
    /// File with environment variables, written as .env is; - reads standard input
    #[arg(long, requires = "source", value_name = "FILE")]
    pub env_file: Option<String>,
    /// User to run as [default: the server's]
    #[arg(long, requires = "source")]
    pub user: Option<String>,
    /// Group to run as [default: the user's]
    #[arg(long, requires = "source")]
    pub group: Option<String>,
    /// A port of the application's own
    #[arg(long, requires = "source")]
    pub port: Option<u16>,
    /// Do not answer under /NAME/
    #[arg(long, requires = "source")]
    pub no_path: bool,
    /// Leave /NAME in the path that the application gets
    #[arg(long, requires = "source")]
    pub no_strip_path: bool,
    /// Path that answers 2xx once the application is ready [default: a TCP connect is enough]
    #[arg(long, requires = "source", value_name = "PATH")]
    pub health_path: Option<String>,
    /// Host that is named when the path is asked for [default: the address]
    #[arg(long, requires = "source", value_name = "HOST")]
    pub health_host: Option<String>,
    /// Field that is sent along; may be repeated
    #[arg(long, requires = "source", value_name = "NAME=VALUE", value_parser = pair)]
    pub health_header: Vec<(String, String)>,
    /// Statuses that are well, as in 200-399 [default: 200-299]
    #[arg(long, requires = "source", value_name = "RANGE")]
    pub health_status: Option<String>,
    /// How long a process may take to get ready, as in 90s [default: 60s]
    #[arg(long, requires = "source", value_name = "TIME")]
    pub boot_timeout: Option<String>,
    /// Signal that ends a process [default: SIGTERM]
    #[arg(long, requires = "source", value_name = "SIGNAL")]
    pub stop_signal: Option<String>,
    /// Whether all processes of an instance get it, or only the main command: all or main [default: all]
    #[arg(long, requires = "source", value_name = "WHICH")]
    pub stop_to: Option<String>,
    /// How long it may take to end, as in 30s [default: 10s]
    #[arg(long, requires = "source", value_name = "TIME")]
    pub stop_timeout: Option<String>,
    /// How long requests and tunnels of a process that is replaced may go on before that is told to end [default: 30s]
    #[arg(long, requires = "source", value_name = "TIME")]
    pub drain: Option<String>,
    /// Directory of the checkout whose files are answered without the application
    #[arg(long = "static", requires = "source", value_name = "DIR")]
    pub static_dir: Option<String>,
    /// Path under which they appear [default: /]
    #[arg(long, requires = "static_dir", value_name = "PATH")]
    pub static_prefix: Option<String>,
    /// Answer paths that are no file with index.html, as a single-page application needs it
    #[arg(long, requires = "static_dir")]
    pub spa: bool,
    /// Cache-Control of those files, but for HTML
    #[arg(long, requires = "static_dir", value_name = "TEXT")]
    pub cache_control: Option<String>,
    /// always (default), on-failure or never: when a process that ended is started again, for all or as in worker=never;
    /// may be repeated
    #[arg(long, requires = "source", value_name = "[TYPE=]POLICY", value_parser = choice)]
    pub restart: Vec<(String, String)>,
    /// rolling (the old release serves until the new one is ready) or recreate, for all or as in clock=recreate; may be
    /// repeated
    #[arg(long, requires = "source", value_name = "[TYPE=]STRATEGY", value_parser = choice)]
    pub strategy: Vec<(String, String)>,
    /// How many releases stay on disk [default: 5]
    #[arg(long, requires = "source", value_name = "N")]
    pub keep_releases: Option<u32>,
    /// Send a request to the application while its body still comes
    #[arg(long, requires = "source")]
    pub no_buffer_requests: bool,
    /// Take a response from the application only as fast as the client reads it
    #[arg(long, requires = "source")]
    pub no_buffer_responses: bool,
    /// Any other field, as with the verb set; may be repeated
    #[arg(long = "set", requires = "source", value_name = "KEY=VALUE", value_parser = pair)]
    pub fields: Vec<(String, String)>,
    /// Whether to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
    /// How to reach the server.
    #[command(flatten)]
    pub client: ClientArgs,
}

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
async fn say_where(name: &AppName, client: &Client, out: &mut Output) -> anyhow::Result<()> {
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
    let replace = match source(args) {
        Some(_) => format!(
            "procserver show {name} > {name}.json, edit it, and: procserver update {name}.json"
        ),
        None => format!("procserver update {}", args.target),
    };
    format!(
        "{refusal}\n  to correct where its code is: procserver set {name} repo.url=URL\n  to replace its document: \
         {replace}\n  to deploy it again as it is: procserver redeploy {name}"
    )
}

/// Which of the two says where the code is.
fn source(args: &CreateArgs) -> Option<&String> {
    args.repo.as_ref().or(args.repo_file.as_ref())
}

fn document(args: &mut CreateArgs) -> anyhow::Result<Document> {
    if source(args).is_some() {
        let name = AppName::parse(&args.target).map_err(|error| Usage(error.to_string()))?;
        let text = create_document::from_flags(args)?.to_string();
        return Ok(Document { name, text });
    }
    // A name without --repo is the likelier slip than a file that is not there.
    if args.target != input::STDIN && !std::path::Path::new(&args.target).exists() {
        let text = format!(
            "there is no file {0}: name a file with the application's document, or say where its code is: \
             procserver create {0} --repo URL",
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
        assert!(
            error.is::<Usage>() && error.to_string().contains("--repo URL"),
            "{error}"
        );
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
