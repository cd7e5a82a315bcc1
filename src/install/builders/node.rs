//! Node: npm, Yarn, pnpm by their lock files (pure).

use serde_json::Value;

use super::{Around, Files, Part, Tool, key, texts, variables};

/// Scripts of a package that its installation runs, and which may need packages for development.
const HOOKS: [&str; 4] = ["preinstall", "install", "postinstall", "prepare"];

/// What decides, beside the lock file, what is installed.
const INPUTS: [&str; 5] = [
    "package.json",
    ".npmrc",
    ".yarnrc",
    ".yarnrc.yml",
    "pnpm-workspace.yaml",
];

/// Words of lock files for packages whose files are in the checkout.
const LOCAL: [&str; 6] = [
    "\"link\": true",
    "file:",
    "link:",
    "workspace:",
    "patch",
    "portal:",
];

/// `package.json`.
pub(super) struct Package(Value);

impl Package {
    pub(super) fn read(files: &dyn Files) -> Option<Self> {
        let text = files.text("package.json")?;
        // npm says what is wrong with it.
        Some(Self(serde_json::from_str(&text).unwrap_or(Value::Null)))
    }

    pub(super) fn script(&self, name: &str) -> Option<&str> {
        self.0
            .get("scripts")?
            .get(name)?
            .as_str()
            .filter(|script| !script.is_empty())
    }

    fn names_any(&self, field: &str) -> bool {
        match self.0.get(field) {
            Some(Value::Object(fields)) => !fields.is_empty(),
            Some(Value::Array(items)) => !items.is_empty(),
            _ => false,
        }
    }

    /// The version of the package manager `name` that it asks for.
    fn asked_version(&self, name: &str) -> Option<&str> {
        let asked = self.0.get("packageManager")?.as_str()?;
        let version = asked.strip_prefix(name)?.strip_prefix('@')?;
        let version = version.split('+').next()?;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || ".-".contains(c);
        (!version.is_empty() && version.chars().all(is_plain)).then_some(version)
    }
}

/// How packages are installed: everything, or what runs only; and how what is for development goes again.
struct Manager {
    found: &'static str,
    all: String,
    needed: String,
    prune: Option<String>,
    is_locked: bool,
}

pub(super) fn part(files: &dyn Files, around: Around<'_>, is_only: bool) -> Option<Part> {
    let package = Package::read(files)?;
    let needs = package.names_any("dependencies") || package.names_any("optionalDependencies");
    let develops = package.names_any("devDependencies");
    let build = ["heroku-postbuild", "build"]
        .into_iter()
        .find(|name| package.script(name).is_some());
    let is_wanted = match is_only {
        true => needs || develops || build.is_some() || package.names_any("workspaces"),
        // It may be there for a linter.
        false => needs || build.is_some(),
    };
    if !is_wanted {
        return None;
    }
    let manager = manager(files, &package, around);
    let before = package
        .script("heroku-prebuild")
        .map(|_| "npm run heroku-prebuild");
    let has_hooks = HOOKS.iter().any(|name| package.script(name).is_some());
    let takes_all = build.is_some() || before.is_some() || has_hooks;
    let mut install: Vec<String> = before.map(str::to_owned).into_iter().collect();
    install.push(if takes_all {
        manager.all
    } else {
        manager.needed
    });
    let mut after: Vec<String> = build
        .map(|name| format!("npm run {name}"))
        .into_iter()
        .collect();
    after.extend(manager.prune.filter(|_| takes_all && develops));
    let lock = files.text(manager.found).unwrap_or_default();
    let is_closed = manager.is_locked
        && !takes_all
        && !package.names_any("workspaces")
        && LOCAL.iter().all(|word| !lock.contains(word));
    let inputs = || [texts(files, &INPUTS), texts(files, &[manager.found])].concat();
    // What is pruned is of no use to the next one, and npm ci begins by removing all.
    let is_kept = is_closed || !manager.is_locked && !takes_all;
    Some(Part {
        language: "Node",
        found: manager.found.to_owned(),
        tools: vec![Tool::Node, Tool::Npm],
        key: is_closed.then(|| key(&install, &inputs())),
        install,
        build: after,
        env: variables(&[("NODE_ENV", "production")]),
        cache: is_kept
            .then(|| "node_modules".to_owned())
            .into_iter()
            .collect(),
        has_venv: false,
    })
}

fn manager(files: &dyn Files, package: &Package, around: Around<'_>) -> Manager {
    if files.has("pnpm-lock.yaml") {
        return pnpm(files, package, around);
    }
    if files.has("yarn.lock") {
        return yarn(files, package, around);
    }
    let quiet = "--no-audit --no-fund";
    let lock = ["package-lock.json", "npm-shrinkwrap.json"]
        .into_iter()
        .find(|name| files.has(name));
    let install = if lock.is_some() {
        "npm ci --prefer-offline"
    } else {
        "npm install"
    };
    Manager {
        found: lock.unwrap_or("package.json"),
        all: format!("{install} --include=dev {quiet}"),
        needed: format!("{install} --omit=dev {quiet}"),
        prune: Some(format!("npm prune --omit=dev --ignore-scripts {quiet}")),
        is_locked: lock.is_some(),
    }
}

fn pnpm(files: &dyn Files, package: &Package, around: Around<'_>) -> Manager {
    let lock = files.text("pnpm-lock.yaml").unwrap_or_default();
    let of_lock = || {
        let (_, version) = lock.lines().next()?.split_once("lockfileVersion:")?;
        match version.trim().trim_matches(['"', '\'']).split('.').next()? {
            "5" => Some("7"),
            "6" => Some("8"),
            _ => None,
        }
    };
    let pnpm = match (around.has_program)("pnpm") {
        true => "pnpm".to_owned(),
        false => {
            let version = package
                .asked_version("pnpm")
                .or_else(of_lock)
                .unwrap_or("9");
            format!("npx --yes pnpm@{version}")
        }
    };
    Manager {
        found: "pnpm-lock.yaml",
        all: format!("CI=true {pnpm} install --frozen-lockfile --prod=false"),
        needed: format!("CI=true {pnpm} install --frozen-lockfile --prod"),
        prune: Some(format!("CI=true {pnpm} prune --prod --ignore-scripts")),
        is_locked: true,
    }
}

fn yarn(files: &dyn Files, package: &Package, around: Around<'_>) -> Manager {
    let asked = package.asked_version("yarn");
    let configuration = files.text(".yarnrc.yml");
    let is_classic =
        configuration.is_none() && asked.is_none_or(|version| version.starts_with("1."));
    let of_checkout = configuration.as_deref().and_then(yarn_path);
    let yarn = match (of_checkout, is_classic) {
        (Some(path), _) => format!("node '{path}'"),
        (None, _) if (around.has_program)("yarn") => "yarn".to_owned(),
        (None, true) => format!("npx --yes yarn@{}", asked.unwrap_or("1.22.22")),
        (None, false) => format!("npx --yes @yarnpkg/cli-dist@{}", asked.unwrap_or("4")),
    };
    if !is_classic {
        let install = format!("{yarn} install --immutable");
        return Manager {
            found: "yarn.lock",
            all: install.clone(),
            needed: install,
            prune: None,
            is_locked: true,
        };
    }
    let install = format!("{yarn} install --frozen-lockfile --non-interactive --prefer-offline");
    Manager {
        found: "yarn.lock",
        all: format!("{install} --production=false"),
        needed: format!("{install} --production"),
        prune: Some(format!("{install} --production --ignore-scripts")),
        is_locked: true,
    }
}

/// The program of Yarn that the repository brings along.
fn yarn_path(configuration: &str) -> Option<&str> {
    let mut lines = configuration.lines();
    let path = lines.find_map(|line| line.strip_prefix("yarnPath:"))?;
    let path = path.trim().trim_matches(['"', '\'']);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    path.chars().all(is_plain).then_some(path)
}
