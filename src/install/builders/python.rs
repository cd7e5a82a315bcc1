//! Python: pip, Pipenv, Poetry, uv (pure). Packages go into a virtual environment, to which `.venv` is a link.

use std::collections::BTreeSet;

use super::{Around, Files, Part, Tool, commands, key};

/// How deep requirements may include others.
const MAX_INCLUDES: usize = 32;

/// Where tools are installed that Debian does not have; HOME is kept.
const TOOLS: &str = "\"$HOME/.cache/procserver";

/// The directory that a commit may bring along.
const VENV: &str = ".venv";

/// How the packages come.
struct Way {
    found: &'static str,
    commands: Vec<String>,
    /// `None`: what is installed depends on more than these files.
    inputs: Option<Vec<(String, String)>>,
}

pub(super) fn part(files: &dyn Files, around: Around<'_>) -> Option<Part> {
    // The commit brings its packages.
    if files.has(VENV) {
        return None;
    }
    let way = pipenv_lock(files, around)
        .or_else(|| requirements(files))
        .or_else(|| poetry(files, around))
        .or_else(|| uv(files, around))
        .or_else(|| pipfile(files, around))
        .or_else(|| project(files))?;
    let mut install = vec![match sees_debians_modules(around.packages) {
        true => "python3 -m venv --system-site-packages \"$VIRTUAL_ENV\"".to_owned(),
        false => "python3 -m venv \"$VIRTUAL_ENV\"".to_owned(),
    }];
    install.extend(way.commands);
    Some(Part {
        language: "Python",
        found: way.found.to_owned(),
        tools: vec![Tool::Python, Tool::Venv],
        key: way.inputs.map(|inputs| key(&install, &inputs)),
        install,
        build: static_files(files, around).into_iter().collect(),
        cache: vec![VENV.to_owned()],
        has_venv: true,
        ..Part::default()
    })
}

/// Who names a module of Debian's in `packages` wants to import it.
fn sees_debians_modules(packages: &[&str]) -> bool {
    const TOOLS: [&str; 8] = [
        "dev",
        "distutils",
        "full",
        "minimal",
        "pip",
        "setuptools",
        "venv",
        "wheel",
    ];
    let modules = packages
        .iter()
        .filter_map(|name| name.strip_prefix("python3-"));
    modules.into_iter().any(|module| !TOOLS.contains(&module))
}

fn requirements(files: &dyn Files) -> Option<Way> {
    let found = "requirements.txt";
    let read = read_requirements(files, found)?;
    read.names_any.then(|| Way {
        found,
        commands: commands(&[".venv/bin/pip install -r requirements.txt"]),
        inputs: read.is_closed.then_some(read.texts),
    })
}

/// What requirements and those that they include say.
struct Requirements {
    texts: Vec<(String, String)>,
    /// There is something to install.
    names_any: bool,
    /// They alone decide what is installed, no file of the checkout and no branch of a repository.
    is_closed: bool,
}

fn read_requirements(files: &dyn Files, first: &str) -> Option<Requirements> {
    let mut read = Requirements {
        texts: vec![],
        names_any: false,
        is_closed: true,
    };
    let mut seen = BTreeSet::new();
    let mut open = vec![first.to_owned()];
    while let Some(name) = open.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        let text = match files.text(&name) {
            Some(text) if seen.len() <= MAX_INCLUDES => text,
            _ if name == first => return None,
            // pip says what is wrong.
            _ => {
                read.is_closed = false;
                continue;
            }
        };
        for line in text.lines() {
            match requirement(line) {
                Line::Nothing => {}
                Line::Named => read.names_any = true,
                Line::Elsewhere => {
                    read.names_any = true;
                    read.is_closed = false;
                }
                Line::Includes(other) => open.push(beside(&name, other)),
            }
        }
        read.texts.push((name, text));
    }
    Some(read)
}

enum Line<'a> {
    /// A comment, or an option that says where packages come from.
    Nothing,
    Named,
    /// A directory, a file or a URL.
    Elsewhere,
    Includes(&'a str),
}

/// One line of requirements (pip's "Requirements File Format").
fn requirement(line: &str) -> Line<'_> {
    const SOURCES: [&str; 11] = [
        "-i",
        "--index-url",
        "--extra-index-url",
        "--no-index",
        "--trusted-host",
        "--no-binary",
        "--only-binary",
        "--prefer-binary",
        "--pre",
        "--require-hashes",
        "--hash",
    ];
    let line = line.split(" #").next().unwrap_or_default().trim();
    if line.is_empty() || line.starts_with('#') {
        return Line::Nothing;
    }
    for option in ["--requirement", "--constraint", "-r", "-c"] {
        if let Some(name) = line.strip_prefix(option) {
            return Line::Includes(name.trim_start_matches([' ', '=', '\t']).trim());
        }
    }
    let word = line.split([' ', '=', '\t']).next().unwrap_or_default();
    if SOURCES.contains(&word) {
        return Line::Nothing;
    }
    // The marker behind a semicolon is about the machine.
    let named = line.split(';').next().unwrap_or_default();
    match line.starts_with(['-', '.']) || named.contains(['/', '@']) {
        true => Line::Elsewhere,
        false => Line::Named,
    }
}

/// The path of `other` as a file at `name` says it.
fn beside(name: &str, other: &str) -> String {
    match name.rsplit_once('/') {
        Some((directory, _)) => format!("{directory}/{other}"),
        None => other.trim_start_matches("./").to_owned(),
    }
}

/// A program that is installed by pip where the machine has none: how it is got, and how it is called.
fn tool(name: &str, around: Around<'_>) -> (Option<String>, String) {
    if (around.has_program)(name) {
        return (None, name.to_owned());
    }
    let place = format!("{TOOLS}/{name}\"");
    let get = format!(
        "test -x {place}/bin/{name} || {{ python3 -m venv {place} && {place}/bin/pip install {name}; }}"
    );
    (Some(get), format!("{place}/bin/{name}"))
}

fn with_tool(name: &str, arguments: &str, around: Around<'_>) -> Vec<String> {
    let (get, call) = tool(name, around);
    let call = match arguments.split_once("$TOOL") {
        Some((before, after)) => format!("{before}{call}{after}"),
        None => format!("{call} {arguments}"),
    };
    get.into_iter().chain([call]).collect()
}

fn pipenv_lock(files: &dyn Files, around: Around<'_>) -> Option<Way> {
    let lock = files.text("Pipfile.lock")?;
    let pipfile = files.text("Pipfile")?;
    // A package of the checkout itself or of a repository.
    let is_closed = ["\"path\"", "\"git\"", "\"file\"", "\"editable\""]
        .iter()
        .all(|word| !lock.contains(word));
    let inputs = vec![
        ("Pipfile".to_owned(), pipfile),
        ("Pipfile.lock".to_owned(), lock),
    ];
    Some(Way {
        found: "Pipfile.lock",
        commands: with_tool("pipenv", "install --deploy", around),
        inputs: is_closed.then_some(inputs),
    })
}

fn pipfile(files: &dyn Files, around: Around<'_>) -> Option<Way> {
    files.has("Pipfile").then(|| Way {
        found: "Pipfile",
        commands: with_tool("pipenv", "install --skip-lock", around),
        inputs: None,
    })
}

fn poetry(files: &dyn Files, around: Around<'_>) -> Option<Way> {
    let lock = files.text("poetry.lock")?;
    let project = files.text("pyproject.toml")?;
    let is_package = has_scripts(&project) || files.has("src");
    let root = if is_package { "" } else { " --no-root" };
    let is_closed = !is_package && !lock.contains("[package.source]");
    let arguments = format!("install --only main --no-interaction{root}");
    Some(Way {
        found: "poetry.lock",
        commands: with_tool("poetry", &arguments, around),
        inputs: is_closed.then(|| {
            vec![
                ("pyproject.toml".into(), project),
                ("poetry.lock".into(), lock),
            ]
        }),
    })
}

fn uv(files: &dyn Files, around: Around<'_>) -> Option<Way> {
    let lock = files.text("uv.lock")?;
    let project = files.text("pyproject.toml")?;
    let is_package = project.contains("[build-system]");
    let of_checkout = ["{ editable =", "{ directory =", "{ path =", "{ git ="];
    let is_closed = !is_package && of_checkout.iter().all(|word| !lock.contains(word));
    let call = "UV_PROJECT_ENVIRONMENT=\"$VIRTUAL_ENV\" UV_PYTHON_DOWNLOADS=never $TOOL sync --frozen --no-dev --no-editable";
    Some(Way {
        found: "uv.lock",
        commands: with_tool("uv", call, around),
        inputs: is_closed
            .then(|| vec![("pyproject.toml".into(), project), ("uv.lock".into(), lock)]),
    })
}

/// A package, or a project that only lists what it needs.
fn project(files: &dyn Files) -> Option<Way> {
    if files.has("setup.py") {
        return Some(Way {
            found: "setup.py",
            commands: commands(&[".venv/bin/pip install ."]),
            inputs: None,
        });
    }
    let text = files.text("pyproject.toml")?;
    let project: toml::Table = text.parse().ok()?;
    if project.contains_key("build-system") {
        return Some(Way {
            found: "pyproject.toml",
            commands: commands(&[".venv/bin/pip install ."]),
            inputs: None,
        });
    }
    let listed = project.get("project")?.get("dependencies")?.as_array()?;
    let listed: Vec<&str> = listed.iter().filter_map(toml::Value::as_str).collect();
    // Quoted for the shell; a quote in a marker (`python_version < "3.9"`) is a double one, or is made one.
    let words = listed
        .iter()
        .map(|one| format!(" '{}'", one.replace('\'', "\"")));
    let command = format!(".venv/bin/pip install{}", words.collect::<String>());
    let is_closed = listed
        .iter()
        .all(|one| matches!(requirement(one), Line::Named));
    (!listed.is_empty()).then(|| Way {
        found: "pyproject.toml",
        commands: vec![command],
        inputs: is_closed.then(Vec::new),
    })
}

fn has_scripts(project: &str) -> bool {
    ["[tool.poetry.scripts]", "[project.scripts]"]
        .iter()
        .any(|table| project.contains(table))
}

/// Collects the static files of Django, as Heroku does: where its settings say where to.
fn static_files(files: &dyn Files, around: Around<'_>) -> Option<String> {
    let is_off = around
        .env
        .get("DISABLE_COLLECTSTATIC")
        .is_some_and(|value| value != "0");
    let path = settings_module(files)?.replace('.', "/");
    let package = path.rsplit_once('/').map_or("", |(package, _)| package);
    let places = [
        format!("{path}.py"),
        format!("{path}/__init__.py"),
        format!("{package}/base.py"),
    ];
    let says_where = places
        .iter()
        .filter_map(|place| files.text(place))
        .any(|text| {
            text.lines()
                .any(|line| line.trim_start().starts_with("STATIC_ROOT"))
        });
    (says_where && !is_off).then(|| "python manage.py collectstatic --noinput".to_owned())
}

/// The module with the settings of Django, as `manage.py` names it.
pub(super) fn settings_module(files: &dyn Files) -> Option<String> {
    let text = files.text("manage.py")?;
    let (_, rest) = text.split_once("DJANGO_SETTINGS_MODULE")?;
    // Behind the closing quote and the comma comes the value in quotes.
    let module = rest
        .split(['"', '\''])
        .find(|word| word.contains(|c: char| c.is_ascii_alphanumeric()))?;
    let is_module = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    (module.len() < 200 && module.chars().all(is_module)).then(|| module.to_owned())
}
