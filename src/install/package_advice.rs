//! Hints where Python, Node, Ruby or PHP lacks a module, or the file that lists an application's modules.
//!
//! Strangers write the output, so hints repeat only names of modules, short and of plain characters.

use std::path::Path;

/// Longer names of modules are not repeated.
const MAX_NAME: usize = 64;

/// How many entries of the checkout are looked at.
const MAX_DIRECTORIES: usize = 200;

/// The files that list modules, and what package managers print in lower case where theirs is missing.
const LISTS: [(&str, &[&str]); 5] = [
    (
        "requirements.txt",
        &["could not open requirements file", "'requirements.txt'"],
    ),
    ("Gemfile", &["could not locate gemfile"]),
    (
        "package-lock.json",
        &["can only install with an existing package-lock.json"],
    ),
    ("package.json", &["enoent", "package.json'"]),
    ("composer.json", &["could not find a composer.json"]),
];

const MANAGED_HINT: &str = "Debian's own Python takes no packages from pip: install: [\"python3 -m venv .venv\", \
                            \".venv/bin/pip install -r requirements.txt\"], and .venv/bin/ before programs in the Procfile";

/// The hint for a command that ran in `directory` and printed these last lines. `None`: they show no known mistake.
/// Blocks.
pub(super) fn of_checkout(lines: &[String], directory: &Path) -> Option<String> {
    if lines
        .iter()
        .any(|line| line.contains("externally-managed-environment"))
    {
        return Some(MANAGED_HINT.to_owned());
    }
    if let Some(list) = missing_list(lines) {
        return Some(match directory_of(directory, list) {
            Some(inner) => format!("{list} is in {inner}/: begin the command with cd {inner} &&"),
            None => format!(
                "the commit has no {list}: add the file to the repository, then push and redeploy"
            ),
        });
    }
    let module = lines.iter().rev().find_map(|line| missing_module(line))?;
    let has_python = |name: &str| directory.join(name).join("bin/python").exists();
    Some(
        match [".venv", "venv"].into_iter().find(|name| has_python(name)) {
            Some(venv) => format!(
                "Python found no module {module}: add its package to requirements.txt, and run what {venv}/bin/ has, which \
             alone sees the packages there"
            ),
            None => format!(
                "Python found no module {module}: add its package to requirements.txt, install it into a virtual environment \
             (python3 -m venv .venv; .venv/bin/pip install -r requirements.txt), and run what .venv/bin/ has"
            ),
        },
    )
}

/// The list that a package manager did not find. One line has all its signs.
fn missing_list(lines: &[String]) -> Option<&'static str> {
    let lower: Vec<String> = lines.iter().map(|line| line.to_ascii_lowercase()).collect();
    let is_missing = |signs: &[&str]| {
        lower
            .iter()
            .any(|line| signs.iter().all(|sign| line.contains(sign)))
    };
    LISTS
        .iter()
        .find(|(_, signs)| is_missing(signs))
        .map(|(name, _)| *name)
}

/// The first directory by name right below `directory` that has this file.
fn directory_of(directory: &Path, file: &str) -> Option<String> {
    let entries = std::fs::read_dir(directory)
        .ok()?
        .flatten()
        .take(MAX_DIRECTORIES);
    // The type is the entry's own: a link is not followed.
    let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let with_file = directories.filter(|entry| {
        entry
            .path()
            .join(file)
            .symlink_metadata()
            .is_ok_and(|found| found.is_file())
    });
    let names = with_file.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| is_plain(name)).min()
}

/// The module in the last line of a Python traceback.
fn missing_module(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("ModuleNotFoundError: No module named '")?;
    let (name, _) = rest.split_once('\'')?;
    is_plain(name).then_some(name)
}

fn is_plain(name: &str) -> bool {
    let may_be = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    (1..=MAX_NAME).contains(&name.len())
        && !name.starts_with(['-', '.'])
        && name.chars().all(may_be)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(directory: &Path, text: &str) -> Option<String> {
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        of_checkout(&lines, directory)
    }

    #[test]
    fn pip_on_debian_is_told_of_virtual_environments() {
        let home = tempfile::tempdir().unwrap();
        let text =
            "error: externally-managed-environment\n\n× This environment is externally managed";
        assert!(
            told(home.path(), text)
                .unwrap()
                .contains("python3 -m venv .venv")
        );
    }

    #[test]
    fn a_missing_list_of_modules_is_named_and_where_it_is() {
        let home = tempfile::tempdir().unwrap();
        let cases = [
            (
                "requirements.txt",
                "ERROR: Could not open requirements file: [Errno 2] No such file or directory: 'requirements.txt'",
            ),
            ("Gemfile", "Could not locate Gemfile or .bundle/ directory"),
            (
                "package-lock.json",
                "npm error The `npm ci` command can only install with an existing package-lock.json or",
            ),
            (
                "package.json",
                "npm error enoent Could not read package.json: Error: ENOENT: no such file or directory, open '/x/package.json'",
            ),
            (
                "composer.json",
                "Composer could not find a composer.json file in /x",
            ),
        ];
        for (list, text) in cases {
            let hint = told(home.path(), text).unwrap();
            assert!(
                hint.starts_with(&format!("the commit has no {list}:")),
                "{hint}"
            );
        }
        std::fs::create_dir(home.path().join("backend")).unwrap();
        for (list, text) in cases {
            std::fs::write(home.path().join("backend").join(list), "").unwrap();
            let hint = told(home.path(), text).unwrap();
            assert!(hint.ends_with("cd backend &&"), "{hint}");
        }
        let other =
            "Could not open requirements file: [Errno 2] No such file or directory: 'dev.txt'";
        assert_eq!(told(home.path(), other), None);
    }

    #[test]
    fn a_missing_module_is_named_and_the_environment_that_has_it() {
        let home = tempfile::tempdir().unwrap();
        let text = "Traceback (most recent call last):\nModuleNotFoundError: No module named 'flask.views'";
        let hint = told(home.path(), text).unwrap();
        assert!(
            hint.contains("module flask.views:") && hint.contains("python3 -m venv"),
            "{hint}"
        );
        std::fs::create_dir_all(home.path().join("venv/bin")).unwrap();
        std::fs::write(home.path().join("venv/bin/python"), "").unwrap();
        let hint = told(home.path(), text).unwrap();
        assert!(
            hint.contains("run what venv/bin/ has") && !hint.contains("python3 -m"),
            "{hint}"
        );
        for name in ["", "a b", "../x", "$(x)", &"x".repeat(65)] {
            let text = format!("ModuleNotFoundError: No module named '{name}'");
            assert_eq!(told(home.path(), &text), None, "{name}");
        }
    }
}
