//! `procserver man`: the manual pages, made of the same descriptions as `--help` and of the settings file that comes
//! with the server.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::Cli;

/// The settings file, with every setting explained and commented out.
pub const SETTINGS: &str = include_str!("../../systemd/procserver.toml");

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  procserver man | man -l -                    read the page of procserver(1)
  sudo procserver man /usr/local/share/man     install all pages: man procserver-create

The Debian package has them: procserver(1), one for each verb, and procserver.toml(5).")]
pub struct ManArgs {
    /// Directory of manual pages to write all to, as DIR/man1 and DIR/man5; without it procserver(1) is printed
    #[arg(value_name = "DIR")]
    pub directory: Option<PathBuf>,
}

/// Prints one page, or writes all.
///
/// # Errors
/// They cannot be written.
pub fn run(args: &ManArgs) -> anyhow::Result<ExitCode> {
    let command = Cli::command().disable_help_subcommand(true);
    match &args.directory {
        None => {
            let mut page = Vec::new();
            Man::new(command).render(&mut page)?;
            std::io::stdout().write_all(&page)?;
        }
        Some(directory) => {
            let made = |name| {
                let section = directory.join(name);
                std::fs::create_dir_all(&section)
                    .with_context(|| section.display().to_string())
                    .map(|()| section)
            };
            let verbs = made("man1")?;
            clap_mangen::generate_to(command, &verbs)
                .with_context(|| verbs.display().to_string())?;
            write(&made("man5")?.join("procserver.toml.5"), &settings_page())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| path.display().to_string())
}

/// Before a value in [`SETTINGS`] that is not the default.
const EXAMPLE: &str = "For example:";

/// procserver.toml(5): each paragraph of [`SETTINGS`], and the line that it explains.
fn settings_page() -> String {
    let mut page = Roff::new();
    let version = concat!("procserver ", env!("CARGO_PKG_VERSION"));
    page.control("TH", ["procserver.toml", "5", "", version, "File Formats"]);
    page.control("SH", ["NAME"]);
    page.text([roman("procserver.toml - settings of procserver")]);
    page.control("SH", ["DESCRIPTION"]);
    let mut explained: Vec<&str> = Vec::new();
    for line in SETTINGS.lines().chain([""]) {
        match line.strip_prefix('#') {
            Some(comment) if comment.starts_with(' ') => {
                explained.push(comment.trim());
                continue;
            }
            Some(setting) => item(&mut page, setting, &explained),
            None if line.starts_with('[') => {
                page.control("SH", [format!("Table {line}").as_str()]);
                explain(&mut page, &explained);
            }
            None => explain(&mut page, &explained),
        }
        explained.clear();
    }
    page.control("SH", ["FILES"]);
    page.text([roman("/etc/procserver/procserver.toml")]);
    page.control("SH", ["SEE ALSO"]);
    page.text([bold("procserver-serve"), roman("(1)")]);
    page.to_roff()
}

/// A setting with its default, or with an example at the end.
fn item(page: &mut Roff, setting: &str, explained: &[&str]) {
    let name = setting.split(' ').next().unwrap_or(setting);
    page.control("TP", []);
    match explained {
        [text @ .., EXAMPLE] => {
            page.text([bold(name)]);
            lines(page, text);
            page.text([roman(format!("{EXAMPLE} {setting}"))]);
        }
        text => {
            page.text([bold(setting)]);
            lines(page, text);
        }
    }
}

fn explain(page: &mut Roff, text: &[&str]) {
    if !text.is_empty() {
        page.control("PP", []);
    }
    lines(page, text);
}

fn lines(page: &mut Roff, text: &[&str]) {
    for line in text {
        page.text([roman(*line)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_the_settings_has_each_with_what_it_means() {
        let page = settings_page();
        for (begin, wanted) in [
            ("\\fBhold = \"30s\"\\fR", "application that is starting"),
            ("\\fBapi_hosts\\fR", "For example: api_hosts = [\"admin"),
            (".SH \"Table [timeouts]\"", "How long the proxy waits"),
        ] {
            let from = page.find(begin).expect(begin);
            let text: Vec<&str> = page[from..].lines().take(5).collect();
            assert!(text.join("\n").contains(wanted), "{text:?}");
        }
        assert_eq!(
            page.matches(".TP").count(),
            page.matches("\\fB").count() - 1
        );
    }
}
