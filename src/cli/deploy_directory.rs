//! `procserver deploy`: deploys a directory, without git.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::http::Method;
use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};

use super::client::{Call, Client, ClientArgs, ClientError, Upload};
use super::create;
use super::deploy::{self, WaitArgs};
use super::output::Output;
use super::pack::{Packed, pack};
use super::usage::Usage;
use crate::document::name::AppName;

/// How often the amount is drawn anew.
const EVERY: Duration = Duration::from_millis(100);

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  procserver deploy                            the directory you are in, under its own name
  procserver deploy blog                       the directory you are in
  procserver deploy blog ~/src/blog
  procserver deploy blog --no-wait

What .gitignore or .slugignore name stays here, and so does .git; modes and symbolic links are kept. An application that is \
not there yet is created, with repo: {push: true}; what it is to have else (hosts, env, install) is for \"procserver set\", or \
for \"procserver create\" before. Each deploy is a commit, which \"git clone\" of the application shows.")]
pub struct DeployArgs {
    /// The application [default: the name of the directory]
    pub name: Option<String>,
    /// The directory [default: the one you are in]
    pub directory: Option<PathBuf>,
    #[command(flatten)]
    pub wait: WaitArgs,
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Packs the directory, creates the application where it is not there, and follows the deployment.
///
/// # Errors
/// What cannot be read, what the API refuses, and a deployment that fails.
pub async fn run(args: &DeployArgs, client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
    let (name, directory) = meant(args)?;
    if args.name.is_none() {
        out.note(&format!("the application is {name}, as the directory"));
    }
    let path = format!("/applications/{name}");
    let is_new = match client.get::<Value>(&path).await {
        Ok(document) => {
            refuse_fetched(&name, &document)?;
            false
        }
        Err(ClientError::Refused(problem)) if problem.status == 404 => {
            refuse_mistaken(args)?;
            true
        }
        Err(error) => return Err(error.into()),
    };
    let packed = packed(&directory)?;
    for name in packed.left_out.iter().take(10) {
        out.note(&format!("warning: {name} is no file and stays here"));
    }
    if !out.is_json() {
        let (files, unpacked, size) = (packed.files, mib(packed.unpacked), mib(packed.size));
        out.line(&format!(
            "{}: {files} files, {unpacked}, packed {size}",
            directory.display()
        ))?;
    }
    if is_new {
        let document = json!({ "name": name.as_str(), "repo": { "push": true } });
        let call = Call::new(Method::POST, "/applications").body(document.to_string());
        client.send(&call).await?;
        out.note(&format!("{name}: created"));
    }
    let mut call = Call::new(Method::PUT, format!("{path}/source"));
    call.upload = Some(Upload {
        file: Arc::new(packed.file),
        size: packed.size,
        is_shown: io::stderr().is_terminal() && !out.is_json(),
    });
    let code = deploy::run(&name, call, args.wait, client, out).await?;
    if is_new && code == ExitCode::SUCCESS && !args.wait.no_wait {
        create::say_where(&name, client, out).await?;
    }
    Ok(code)
}

/// The application and the directory that are meant.
fn meant(args: &DeployArgs) -> anyhow::Result<(AppName, PathBuf)> {
    let (name, directory) = match (&args.name, &args.directory) {
        // A path in place of the name.
        (Some(first), None) if is_path(first) => (None, PathBuf::from(first)),
        (name, directory) => (
            name.clone(),
            directory.clone().unwrap_or_else(|| ".".into()),
        ),
    };
    let real = std::fs::canonicalize(&directory);
    let real = real.with_context(|| directory.display().to_string())?;
    if !real.is_dir() {
        let why = format!("{} is no directory", directory.display());
        return Err(Usage(why).into());
    }
    let own = || {
        real.file_name()
            .map(|name| name.to_string_lossy().to_lowercase())
    };
    let text = name.clone().or_else(own).unwrap_or_default();
    let parsed = AppName::parse(&text).map_err(|error| match name {
        Some(_) => Usage(error.to_string()),
        None => Usage(format!(
            "{error}; the directory cannot name the application, so say: procserver deploy NAME"
        )),
    })?;
    Ok((parsed, directory))
}

fn is_path(text: &str) -> bool {
    text == "." || text == ".." || text.contains('/')
}

/// The name of a directory in place of an application's would send the whole directory around it.
fn refuse_mistaken(args: &DeployArgs) -> anyhow::Result<()> {
    match (&args.name, &args.directory) {
        (Some(name), None) if Path::new(name).is_dir() => Err(Usage(format!(
            "{name} is a directory here, and no application yet: \"procserver deploy ./{name}\" deploys it as {name}, and \
             \"procserver deploy {name} .\" the directory you are in"
        ))
        .into()),
        _ => Ok(()),
    }
}

/// Says what to do before anything is sent.
fn refuse_fetched(name: &AppName, document: &Value) -> anyhow::Result<()> {
    match document["repo"]["url"].as_str() {
        None => Ok(()),
        Some(_) => anyhow::bail!(
            "the code of {name} comes from repo.url: \"procserver redeploy {name}\" fetches it. To deploy directories \
             instead: procserver set {name} 'repo={{\"push\": true, \"url\": null}}'"
        ),
    }
}

fn packed(directory: &Path) -> anyhow::Result<Packed> {
    let is_shown = io::stderr().is_terminal();
    let mut drawn = Instant::now();
    let packed = pack(directory, |files, bytes| {
        if is_shown && drawn.elapsed() >= EVERY {
            drawn = Instant::now();
            // Nothing is left to tell when stderr is closed.
            let _ = write!(
                io::stderr(),
                "\r\x1b[Kpacking {files} files, {}",
                mib(bytes)
            );
        }
    });
    if is_shown {
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
    packed
}

/// An amount, for people.
pub(super) fn mib(bytes: u64) -> String {
    match bytes {
        0..=1_048_575 => format!("{} KiB", bytes.div_ceil(1024)),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_the_directorys_unless_it_is_given() {
        let home = tempfile::tempdir().unwrap();
        let own = home.path().join("Blog");
        std::fs::create_dir(&own).unwrap();
        let text = own.to_str().unwrap().to_owned();
        let of = |name: Option<&str>, directory: Option<&str>| {
            meant(&DeployArgs {
                name: name.map(str::to_owned),
                directory: directory.map(PathBuf::from),
                wait: WaitArgs::default(),
                client: ClientArgs::default(),
            })
        };
        assert_eq!(of(Some(&text), None).unwrap().0.as_str(), "blog");
        assert_eq!(of(Some("other"), Some(&text)).unwrap().0.as_str(), "other");
        assert!(of(Some("NOT A NAME"), Some(&text)).is_err());
        assert!(of(Some("a"), Some("/nonexistent")).is_err());
        assert_eq!(
            (mib(1).as_str(), mib(3 << 19).as_str()),
            ("1 KiB", "1.5 MiB")
        );
    }
}
