//! Looks for the programs that builders need. Blocks.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::builders::{Part, Tool};
use super::record::{Failure, Step};
use crate::document::package::Package;

/// The first program of this name on `path`, as a shell would find it.
pub(super) fn on_path(program: &str, path: &str) -> Option<PathBuf> {
    let is_program = |file: &PathBuf| {
        let found = std::fs::metadata(file);
        found.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    let places = path.split(':').filter(|place| place.starts_with('/'));
    places
        .map(|place| Path::new(place).join(program))
        .find(is_program)
}

/// What a tool is at the moment: another one installs other files.
pub(super) fn identity(tool: Tool, path: &str) -> String {
    let found = on_path(tool.program(), path).and_then(|found| found.canonicalize().ok());
    let about = found.as_ref().and_then(|found| found.metadata().ok());
    match found.zip(about) {
        Some((found, about)) => format!("{} {} {}", found.display(), about.len(), about.mtime()),
        None => String::new(),
    }
}

/// The failure of a deploy whose `parts` need tools that are not on `path`. `packages` are those of the document.
pub(super) fn missing(parts: &[Part], path: &str, packages: &[Package]) -> Option<Failure> {
    let lacks = |part: &Part| -> Vec<Tool> {
        let tools = part.tools.iter().copied();
        tools.filter(|tool| is_missing(*tool, path)).collect()
    };
    let lacking: Vec<(&Part, Vec<Tool>)> = parts
        .iter()
        .map(|part| (part, lacks(part)))
        .filter(|(_, tools)| !tools.is_empty())
        .collect();
    if lacking.is_empty() {
        return None;
    }
    let told = lacking.iter().map(|(part, tools)| {
        let names: Vec<_> = tools.iter().map(|tool| name(*tool)).collect();
        format!(
            "{} ({}) needs {}",
            part.language,
            part.found,
            names.join(" and ")
        )
    });
    let told = told.collect::<Vec<_>>().join("; ");
    let mut wanted: Vec<&str> = lacking
        .iter()
        .flat_map(|(_, tools)| tools.iter().map(|t| t.package()))
        .collect();
    wanted.dedup();
    let flags: String = wanted
        .iter()
        .map(|name| format!(" --package {name}"))
        .collect();
    let all: Vec<String> = packages.iter().map(written).collect();
    let all = all.iter().map(String::as_str).chain(wanted);
    let all = serde_json::Value::from(all.collect::<Vec<_>>());
    let reason = format!("{told}, which is not on this machine");
    let hint = format!(
        "add it: procserver set NAME packages='{all}' (create has{flags}). If nothing is to be installed, say so: procserver set NAME install='[]'"
    );
    Some(Failure::new(Step::Install, reason).hint(hint))
}

/// As the document has it.
fn written(package: &Package) -> String {
    match &package.version {
        Some(version) => format!("{}={version}", package.name),
        None => package.name.clone(),
    }
}

fn name(tool: Tool) -> &'static str {
    match tool {
        Tool::Venv => "python3-venv",
        other => other.program(),
    }
}

fn is_missing(tool: Tool, path: &str) -> bool {
    let Some(found) = on_path(tool.program(), path) else {
        // Without a Python its own package is named.
        return tool != Tool::Venv || on_path("python3", path).is_none();
    };
    tool == Tool::Venv
        && found
            .canonicalize()
            .is_ok_and(|python| lacks_ensurepip(&python))
}

/// Debian keeps the part of Python apart that puts pip into virtual environments.
fn lacks_ensurepip(python: &Path) -> bool {
    let prefix = python.parent().and_then(Path::parent);
    let library = prefix
        .zip(python.file_name())
        .map(|(prefix, name)| prefix.join("lib").join(name));
    // Elsewhere Python is laid out differently, and whole.
    library
        .is_some_and(|library| library.is_dir() && !library.join("ensurepip/__init__.py").is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(path: &Path) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn part(tools: Vec<Tool>) -> Part {
        Part {
            language: "Node",
            found: "package.json".into(),
            tools,
            ..Part::default()
        }
    }

    #[test]
    fn what_is_missing_is_named_with_its_package_beside_those_of_the_document() {
        let home = tempfile::tempdir().unwrap();
        program(&home.path().join("node"));
        std::fs::write(home.path().join("npm"), "not executable").unwrap();
        let path = format!("relative:{}", home.path().display());
        let parts = [part(vec![Tool::Node, Tool::Npm])];
        let jq = Package {
            name: "jq".into(),
            version: None,
        };
        let failure = missing(&parts, &path, &[jq]).unwrap();
        assert_eq!(
            failure.reason,
            "Node (package.json) needs npm, which is not on this machine"
        );
        let hint = failure.hint.unwrap();
        assert!(
            hint.contains("packages='[\"jq\",\"npm\"]'") && hint.contains("--package npm"),
            "{hint}"
        );
        program(&home.path().join("npm"));
        assert_eq!(missing(&parts, &path, &[]), None);
    }

    #[test]
    fn python_without_ensurepip_lacks_its_package() {
        let home = tempfile::tempdir().unwrap();
        let bin = home.path().join("bin");
        let path = bin.display().to_string();
        let parts = [part(vec![Tool::Python, Tool::Venv])];
        let lacks = || missing(&parts, &path, &[]).map(|failure| failure.reason);
        assert!(lacks().unwrap().contains("python3 and python3-venv"));
        program(&bin.join("python3.11"));
        std::os::unix::fs::symlink("python3.11", bin.join("python3")).unwrap();
        assert_eq!(lacks(), None, "it is laid out in another way");
        std::fs::create_dir_all(home.path().join("lib/python3.11")).unwrap();
        assert!(lacks().unwrap().contains("needs python3-venv,"));
        program(&home.path().join("lib/python3.11/ensurepip/__init__.py"));
        assert_eq!(lacks(), None);
    }
}
