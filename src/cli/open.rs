//! `procserver open`: print an application's URL, and open it in the browser of a desktop.

use std::ffi::OsStr;
use std::io::IsTerminal as _;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::{Value, json};

use super::apps::NO_APPLICATIONS;
use super::client::{Client, ClientArgs};
use super::output::Output;
use super::usage::Usage;
use crate::document::name::AppName;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  procserver open blog                         in the browser of a desktop, and printed
  procserver open                              the only application
  curl $(procserver open blog)                 only printed: no terminal is there to look at
  procserver open blog --json")]
pub struct OpenArgs {
    /// The application [default: the only one]
    #[arg(value_parser = AppName::parse)]
    pub name: Option<AppName>,
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Prints the URL; who sees it on a terminal of a desktop gets the page, too.
///
/// # Errors
/// What the API refuses, and an application that no URL leads to.
pub async fn run(args: &OpenArgs, client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
    let apps: Vec<Value> = client.get("/applications").await?;
    let app = chosen(args.name.as_ref(), &apps)?;
    let (name, url) = url_of(app)?;
    if out.is_json() {
        out.json(&json!({ "name": name, "url": url }))?;
        return Ok(ExitCode::SUCCESS);
    }
    out.line(url)?;
    if has_desktop(out) {
        open(url)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The application that is meant.
fn chosen<'a>(name: Option<&AppName>, apps: &'a [Value]) -> anyhow::Result<&'a Value> {
    match (name, apps) {
        (Some(name), apps) => {
            let app = apps.iter().find(|app| app["name"] == name.as_str());
            app.with_context(|| {
                format!("there is no application \"{name}\": \"procserver apps\" lists them")
            })
        }
        (None, [only]) => Ok(only),
        (None, []) => bail!(NO_APPLICATIONS),
        (None, _) => Err(Usage("which application? procserver open NAME".to_owned()).into()),
    }
}

/// The application's name and its URL, which is one of the web: no program is given anything else to open.
fn url_of(app: &Value) -> anyhow::Result<(&str, &str)> {
    let name = app["name"].as_str().unwrap_or_default();
    let url = app["url"].as_str().unwrap_or_default();
    let is_web = url.starts_with("http://") || url.starts_with("https://");
    if is_web && url.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok((name, url));
    }
    bail!(
        "no URL leads to {name}: \"procserver domains add {name} HOST\" gives it a name, and what \"domain\" of its document \
         matches is for you to know"
    )
}

/// Whether somebody sits at a desktop that opens things, and sees what is printed.
pub(super) fn has_desktop(out: &Output) -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    out.is_terminal()
        && std::io::stdin().is_terminal()
        && (is_set("WAYLAND_DISPLAY") || is_set("DISPLAY"))
}

/// Has the desktop open a URL, which all users of the machine see, or a file.
pub(super) fn open(what: impl AsRef<OsStr>) -> anyhow::Result<()> {
    let mut browser = Command::new("xdg-open");
    let quiet = browser.arg(what).stdin(Stdio::null()).stdout(Stdio::null());
    // It goes on after this program, as browsers do.
    quiet.stderr(Stdio::null()).spawn().context("xdg-open")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_only_application_needs_no_name_and_only_the_web_is_opened() {
        let app = |name: &str, url: &str| json!({"name": name, "url": url});
        let one = [app("blog", "http://a.example/blog/")];
        let only = chosen(None, &one).unwrap();
        assert_eq!(url_of(only).unwrap(), ("blog", "http://a.example/blog/"));
        let two = [
            app("a", "file:///etc/passwd"),
            app("b", "http://x/\u{1b}[2J"),
        ];
        assert!(chosen(None, &two).unwrap_err().is::<Usage>());
        for app in two.iter().chain([&json!({"name": "c"})]) {
            let name = AppName::parse(app["name"].as_str().unwrap()).unwrap();
            assert!(url_of(app).unwrap_err().to_string().contains("no URL"));
            assert!(chosen(Some(&name), &one).is_err());
        }
    }
}
