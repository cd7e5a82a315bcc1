//! `procserver create`: add an application and deploy it.

use std::process::ExitCode;

use awc::http::Method;
use clap::Args;
use serde_json::{Map, Value};

use super::client::{Call, Client, ClientArgs};
use super::deploy::{self, WaitArgs};
use super::document::{Document, pair, put, quantity};
use super::output::Output;
use super::usage::Usage;
use crate::app::name::AppName;

/// Arguments of `create`.
#[derive(Args, Debug, Default)]
#[command(after_help = "Examples:
  procserver create blog.json                  a document, JSON or JSON5; - reads standard input
  procserver create blog --repo https://git.example/blog.git
  procserver create blog --repo git@git.example:blog.git --branch main \\
    --domain '^blog\\.' --install 'bundle install' --package ruby-bundler \\
    --scale web=2 --env RAILS_ENV=production
  procserver create blog.json --no-wait --json")]
pub struct CreateArgs {
    /// A file with the application's document, or with --repo the application's name
    #[arg(value_name = "FILE|NAME")]
    pub target: String,
    /// Where the code is: a URL that git clones from
    #[arg(long, value_name = "URL")]
    pub repo: Option<String>,
    /// The code's branch [default: master, else the repository's own default]
    #[arg(long, requires = "repo", group = "reference")]
    pub branch: Option<String>,
    /// A tag instead of a branch
    #[arg(long, requires = "repo", group = "reference")]
    pub tag: Option<String>,
    /// A commit instead of a branch
    #[arg(long, requires = "repo", group = "reference")]
    pub commit: Option<String>,
    /// Regular expression of hosts that reach the application; may be repeated
    #[arg(long, requires = "repo", value_name = "REGEX")]
    pub domain: Vec<String>,
    /// Command that prepares the code; may be repeated
    #[arg(long, requires = "repo", value_name = "COMMAND")]
    pub install: Vec<String>,
    /// Debian package that must be installed; may be repeated
    #[arg(long, requires = "repo", value_name = "NAME")]
    pub package: Vec<String>,
    /// How many processes of a type; may be repeated
    #[arg(long, requires = "repo", value_name = "TYPE=N", value_parser = quantity)]
    pub scale: Vec<(String, u32)>,
    /// Environment variable; may be repeated
    #[arg(long, requires = "repo", value_name = "NAME=VALUE", value_parser = pair)]
    pub env: Vec<(String, String)>,
    /// User to run as [default: the server's]
    #[arg(long, requires = "repo")]
    pub user: Option<String>,
    /// Group to run as [default: the user's]
    #[arg(long, requires = "repo")]
    pub group: Option<String>,
    /// A port of the application's own
    #[arg(long, requires = "repo")]
    pub port: Option<u16>,
    /// Do not answer under /NAME/
    #[arg(long, requires = "repo")]
    pub no_path: bool,
    /// Path that answers 2xx once the application is ready [default: a TCP connect is enough]
    #[arg(long, requires = "repo", value_name = "PATH")]
    pub health_path: Option<String>,
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
pub async fn run(args: &CreateArgs, client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
    let document = document(args)?;
    let call = Call::new(Method::POST, "/applications").body(document.text);
    deploy::run(&document.name, call, args.wait, client, out).await
}

fn document(args: &CreateArgs) -> anyhow::Result<Document> {
    if args.repo.is_some() {
        let name = AppName::parse(&args.target).map_err(|error| Usage(error.to_string()))?;
        let text = from_flags(args).to_string();
        return Ok(Document { name, text });
    }
    // A name without --repo is the likelier slip than a file that is not there.
    if args.target != "-" && !std::path::Path::new(&args.target).exists() {
        let text = format!(
            "there is no file {0}: name a file with the application's document, or say where its code is: \
             procserver create {0} --repo URL",
            args.target
        );
        return Err(Usage(text).into());
    }
    Ok(Document::read(&args.target)?)
}

/// The document that the flags describe; the API checks it.
fn from_flags(args: &CreateArgs) -> Value {
    let text = |text: &Option<String>| text.clone().map(Value::from);
    let list = |list: &[String]| (!list.is_empty()).then(|| Value::from(list.to_vec()));
    let mut document = Map::new();
    let mut set = |path, value| put(&mut document, path, value);
    set(["", "name"], Some(Value::from(args.target.clone())));
    set(["repo", "url"], text(&args.repo));
    set(["repo", "branch"], text(&args.branch));
    set(["repo", "tag"], text(&args.tag));
    set(["repo", "commit"], text(&args.commit));
    set(["", "packages"], list(&args.package));
    set(["", "user"], text(&args.user));
    set(["", "group"], text(&args.group));
    set(["", "domain"], list(&args.domain));
    set(["", "install"], list(&args.install));
    for (process_type, number) in &args.scale {
        set(["scale", process_type], Some(Value::from(*number)));
    }
    for (name, value) in &args.env {
        set(["env", name], Some(Value::from(value.clone())));
    }
    set(["", "port"], args.port.map(Value::from));
    set(["", "path"], args.no_path.then(|| Value::from(false)));
    set(["health_check", "path"], text(&args.health_path));
    Value::Object(document)
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;
    use crate::cli::{Cli, Command};

    fn parse(words: &[&str]) -> Result<CreateArgs, clap::Error> {
        let all = ["procserver", "create"].iter().chain(words);
        Cli::try_parse_from(all).map(|cli| match cli.command {
            Command::Create(args) => *args,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn flags_become_the_document() {
        let words = [
            "blog",
            "--repo",
            "https://x",
            "--branch",
            "main",
            "--domain",
            "^blog",
            "--install",
            "a",
            "--install",
            "b",
            "--package",
            "git",
            "--scale",
            "web=2",
            "--env",
            "A=1=2",
            "--port",
            "9000",
            "--no-path",
            "--health-path",
            "/up",
        ];
        let expected = json!({"name": "blog", "repo": {"url": "https://x", "branch": "main"},
            "packages": ["git"], "domain": ["^blog"], "install": ["a", "b"], "scale": {"web": 2},
            "env": {"A": "1=2"}, "port": 9000, "path": false, "health_check": {"path": "/up"}});
        assert_eq!(from_flags(&parse(&words).unwrap()), expected);
    }

    #[test]
    fn what_was_not_said_is_not_sent() {
        let args = parse(&["blog", "--repo", "https://x"]).unwrap();
        assert_eq!(
            from_flags(&args),
            json!({"name": "blog", "repo": {"url": "https://x"}})
        );
    }

    #[test]
    fn flags_that_need_each_other_are_asked_for() {
        assert!(parse(&["blog", "--scale", "web=2"]).is_err());
        assert!(parse(&["blog", "--repo", "x", "--branch", "a", "--tag", "b"]).is_err());
        assert!(parse(&["blog", "--repo", "x", "--scale", "web"]).is_err());
    }

    #[test]
    fn a_name_without_a_repository_is_a_usage_error_with_a_way_out() {
        let error = document(&parse(&["no-such-file"]).unwrap()).unwrap_err();
        assert!(
            error.is::<Usage>() && error.to_string().contains("--repo URL"),
            "{error}"
        );
        let error = document(&parse(&["Bad Name", "--repo", "x"]).unwrap()).unwrap_err();
        assert!(error.is::<Usage>(), "{error}");
    }
}
