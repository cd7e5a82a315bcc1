//! `procserver check DIR`: reads a directory's Procfile and `.env` as a deploy would, and says what it finds.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use crate::document::app_json::AppJson;
use crate::document::dotenv::{Dotenv, DotenvError};
use crate::document::formation;
use crate::document::procfile::{Procfile, ProcfileError};
use crate::install::manifest;

#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    /// The directory with the Procfile
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Why a directory cannot be checked.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The argument is not a directory.
    #[error("{0} is not a directory: name the one that has the Procfile")]
    NotADirectory(PathBuf),
    /// There is no Procfile.
    #[error(
        "{0} has no Procfile: write one, with a line per process type, as \"web: command\"; a static site needs none, \
         but an index.html, here or in a directory such as public"
    )]
    NoProcfile(PathBuf),
    /// There is a file that was likely meant to be it.
    #[error("{0} has no Procfile but a file {1}: rename it to Procfile")]
    Misnamed(PathBuf, String),
    /// A file that cannot be read.
    #[error("{0}: {1}")]
    Unreadable(PathBuf, io::Error),
    /// What the Procfile says cannot be run.
    #[error("{0}: {1}")]
    Procfile(PathBuf, ProcfileError),
    /// The `.env` cannot be read as text.
    #[error("{0}: {1}")]
    Dotenv(PathBuf, DotenvError),
}

/// Where static sites have their pages.
const SITE_DIRECTORIES: [&str; 7] = [".", "public", "dist", "build", "_site", "docs", "www"];

/// What was found, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Report {
    processes: Vec<Process>,
    env: BTreeMap<String, String>,
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Process {
    name: String,
    command: String,
}

/// Checks the directory and prints what it has.
///
/// # Errors
/// [`CheckError`] when there is nothing to show; an I/O error when standard output cannot be written, unless its reader went
/// away.
pub fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let report = examine(&args.directory)?;
    let text = if args.json {
        serde_json::to_string_pretty(&report)? + "\n"
    } else {
        for_people(&report)
    };
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn examine(directory: &Path) -> Result<Report, CheckError> {
    if !directory.is_dir() {
        return Err(CheckError::NotADirectory(directory.to_owned()));
    }
    let path = directory.join("Procfile");
    let missing = || match manifest::misnamed(directory) {
        Some(name) => CheckError::Misnamed(directory.to_owned(), name),
        None => CheckError::NoProcfile(directory.to_owned()),
    };
    let bytes = read(directory, "Procfile")?;
    let site = match bytes {
        Some(_) => None,
        None => Some(static_site(directory).ok_or_else(missing)?),
    };
    let bytes = bytes.unwrap_or_default();
    let procfile = Procfile::parse(&bytes).map_err(|error| CheckError::Procfile(path, error))?;
    // What can be read is shown, also where a deploy would refuse it.
    let refused = match &site {
        Some(_) => None,
        None => procfile.check().err(),
    };
    let refused = refused.map(|error| format!("it cannot be deployed: {error}"));
    let path = directory.join(".env");
    let bytes = read(directory, ".env")?.unwrap_or_default();
    let dotenv = Dotenv::parse(&bytes).map_err(|error| CheckError::Dotenv(path, error))?;
    // All that foreman lists, also where a deploy takes one of two.
    let processes = procfile.entries.iter().map(|entry| Process {
        name: entry.name.clone(),
        command: entry.command.clone(),
    });
    let processes = processes.collect();
    let procfile = procfile.taken();
    let app_json = read(directory, "app.json")?.map(|text| AppJson::parse(&text));
    let app_json = app_json.unwrap_or_default().warnings;
    let tasks = formation::tasks(&procfile, &BTreeMap::new());
    let warnings = [procfile.warnings, tasks].concat();
    Ok(Report {
        processes,
        env: dotenv.variables,
        warnings: [
            Vec::from_iter(refused),
            Vec::from_iter(site),
            warnings,
            dotenv.warnings,
            app_json,
        ]
        .concat(),
    })
}

/// Where a directory without a Procfile has the pages of a static site, what its document must say.
fn static_site(directory: &Path) -> Option<String> {
    let has_pages = |place: &&str| directory.join(place).join("index.html").is_file();
    let place = SITE_DIRECTORIES.into_iter().find(has_pages)?;
    Some(format!(
        "there is no Procfile: this is a static site where its document has static: {{dir: \"{place}\"}}, as made by \
         \"procserver create NAME --repo URL --static {place}\""
    ))
}

/// The contents of one of the two files, as a deploy reads it; `None` when there is none.
fn read(directory: &Path, name: &str) -> Result<Option<Vec<u8>>, CheckError> {
    manifest::read(directory, Path::new(name))
        .map_err(|e| CheckError::Unreadable(directory.join(name), e))
}

fn for_people(report: &Report) -> String {
    let mut lines = Vec::new();
    for Process { name, command } in &report.processes {
        lines.push(format!("{name}: {command}"));
    }
    if !report.env.is_empty() {
        let names: Vec<_> = report.env.keys().map(String::as_str).collect();
        lines.push(format!(".env sets {}", names.join(", ")));
    }
    for warning in &report.warnings {
        lines.push(format!("warning: {warning}"));
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            std::fs::write(directory.path().join(name), bytes).unwrap();
        }
        directory
    }

    fn refusal(files: &[(&str, &[u8])]) -> String {
        let directory = directory(files);
        examine(directory.path()).unwrap_err().to_string()
    }

    #[test]
    fn the_json_form_is_that_of_the_api() {
        let directory = directory(&[
            ("Procfile", b"web: ./run -p $PORT\nnonsense\n"),
            (".env", b"A=1\n"),
        ]);
        let report = serde_json::to_value(examine(directory.path()).unwrap()).unwrap();
        assert_eq!(
            report["processes"],
            serde_json::json!([{"name": "web", "command": "./run -p $PORT"}])
        );
        assert_eq!(report["env"], serde_json::json!({"A": "1"}));
        assert!(
            report["warnings"][0]
                .as_str()
                .unwrap()
                .starts_with("Procfile line 2:")
        );
    }

    #[test]
    fn types_that_a_deploy_does_not_start_are_told_of() {
        let directory = directory(&[("Procfile", b"web: x\nmigrate: y\nrelease: z\n")]);
        let warnings = examine(directory.path()).unwrap().warnings;
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(
            warnings[0].contains("\"migrate\" is not started"),
            "{warnings:?}"
        );
    }

    #[test]
    fn values_are_not_shown_to_people() {
        let directory = directory(&[("Procfile", b"web: x\n"), (".env", b"TOKEN=hunter2\n")]);
        let text = for_people(&examine(directory.path()).unwrap());
        assert_eq!(text, "web: x\n.env sets TOKEN\n");
    }

    #[test]
    fn what_would_be_refused_by_a_deploy_is_shown_with_the_reason() {
        let report = examine(directory(&[("Procfile", b"# none\n")]).path()).unwrap();
        assert!(report.processes.is_empty() && report.warnings[0].contains("no entry"));
        let report = examine(directory(&[("Procfile", b"web: a\nweb: b\n")]).path()).unwrap();
        assert_eq!(report.processes.len(), 2);
        assert!(
            report.warnings[0].contains("again on line 2"),
            "{:?}",
            report.warnings
        );
    }

    #[test]
    fn a_static_site_needs_no_procfile_but_a_field_of_its_document() {
        let directory = directory(&[("index.html", b"hello")]);
        let report = examine(directory.path()).unwrap();
        assert_eq!((report.processes.len(), report.warnings.len()), (0, 1));
        assert!(
            report.warnings[0].contains("--static ."),
            "{:?}",
            report.warnings
        );
        std::fs::create_dir(directory.path().join("dist")).unwrap();
        let inside = directory.path().join("dist/index.html");
        std::fs::rename(directory.path().join("index.html"), inside).unwrap();
        let report = examine(directory.path()).unwrap();
        assert!(
            report.warnings[0].contains("--static dist"),
            "{:?}",
            report.warnings
        );
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_its_reason() {
        assert!(refusal(&[]).contains("has no Procfile"));
        assert!(refusal(&[("procfile", b"web: a\n")]).contains("a file procfile"));
        assert!(refusal(&[("Procfile", b"web: \xff\n")]).contains("line 1 is not UTF-8"));
        assert!(refusal(&[("Procfile", b"web: a\n"), (".env", b"\xff")]).contains(".env line 1"));
        assert!(refusal(&[("Procfile", &vec![b'#'; 1024 * 1024 + 1])]).contains("larger"));
        let missing = examine(Path::new("/nonexistent")).unwrap_err();
        assert!(missing.to_string().contains("not a directory"));
    }

    #[test]
    fn what_a_deploy_would_not_read_is_not_read_here() {
        let directory = directory(&[("real", b"web: x\n")]);
        let procfile = directory.path().join("Procfile");
        std::os::unix::fs::symlink("real", &procfile).unwrap();
        assert_eq!(examine(directory.path()).unwrap().processes.len(), 1);
        std::fs::remove_file(&procfile).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", &procfile).unwrap();
        let refused = examine(directory.path()).unwrap_err().to_string();
        assert!(
            refused.contains("Procfile: is a symbolic link"),
            "{refused}"
        );
    }
}
