use std::collections::BTreeMap;

use super::*;

struct Checkout(BTreeMap<&'static str, &'static str>);

impl Files for Checkout {
    fn has(&self, path: &str) -> bool {
        self.0
            .keys()
            .any(|name| *name == path || name.starts_with(&format!("{path}/")))
    }

    fn text(&self, path: &str) -> Option<String> {
        self.0.get(path).map(|text| (*text).to_owned())
    }
}

fn checkout(files: &[(&'static str, &'static str)]) -> Checkout {
    Checkout(files.iter().copied().collect())
}

fn look_at(files: &[(&'static str, &'static str)]) -> Vec<Part> {
    look_with(files, &[], &[])
}

fn look_with(
    files: &[(&'static str, &'static str)],
    programs: &[&str],
    packages: &[&str],
) -> Vec<Part> {
    let has_program = |name: &str| programs.contains(&name);
    let around = Around {
        has_program: &has_program,
        env: &BTreeMap::new(),
        packages,
    };
    look(&checkout(files), around)
}

fn one(files: &[(&'static str, &'static str)]) -> Part {
    let mut parts = look_at(files);
    assert_eq!(parts.len(), 1, "{parts:?}");
    parts.remove(0)
}

#[test]
fn a_checkout_without_a_list_of_packages_needs_nothing() {
    for files in [
        &[("Procfile", "web: ./serve\n")][..],
        &[("requirements.txt", "# nothing\n\n--index-url https://h/\n")],
        &[("package.json", "{\"scripts\": {\"start\": \"node a.js\"}}")],
        &[("pyproject.toml", "[tool.ruff]\nline-length = 100\n")],
        &[("Cargo.toml", "[profile.dev]\n")],
        &[(".venv/pyvenv.cfg", ""), ("requirements.txt", "flask\n")],
    ] {
        assert_eq!(look_at(files), [], "{files:?}");
    }
}

#[test]
fn python_is_installed_by_what_locks_its_packages() {
    for (files, found, last) in [
        (
            &[("requirements.txt", "flask==3.0\n")][..],
            "requirements.txt",
            ".venv/bin/pip install -r requirements.txt",
        ),
        (
            &[("poetry.lock", ""), ("pyproject.toml", "[project]\n")],
            "poetry.lock",
            "\"$HOME/.cache/procserver/poetry\"/bin/poetry install --only main --no-interaction --no-root",
        ),
        (
            &[("Pipfile.lock", "{}"), ("Pipfile", "")],
            "Pipfile.lock",
            "\"$HOME/.cache/procserver/pipenv\"/bin/pipenv install --deploy",
        ),
        (&[("setup.py", "")], "setup.py", ".venv/bin/pip install ."),
        (
            &[(
                "pyproject.toml",
                "[project]\ndependencies = [\"flask>=3\", \"x ; python_version < '3.9'\"]\n",
            )],
            "pyproject.toml",
            ".venv/bin/pip install 'flask>=3' 'x ; python_version < \"3.9\"'",
        ),
    ] {
        let part = one(files);
        assert_eq!((part.language, part.found.as_str()), ("Python", found));
        assert_eq!(
            part.install.first().map(String::as_str),
            Some("python3 -m venv \"$VIRTUAL_ENV\"")
        );
        assert_eq!(part.install.last().map(String::as_str), Some(last));
    }
    let uv = [("uv.lock", ""), ("pyproject.toml", "[project]\n")];
    assert!(one(&uv).install[1].contains("pip install uv"));
    let there = look_with(&uv, &["uv"], &[]).remove(0);
    assert!(
        there.install[1].ends_with(" uv sync --frozen --no-dev --no-editable"),
        "{there:?}"
    );
}

#[test]
fn modules_of_debian_are_seen_where_the_document_names_some() {
    let files = [("requirements.txt", "flask\n")];
    let venv = |packages: &[&str]| look_with(&files, &[], packages).remove(0).install.remove(0);
    assert!(!venv(&["python3-venv", "python3-dev", "jq"]).contains("system-site"));
    assert!(venv(&["python3-psycopg2"]).contains("--system-site-packages"));
}

#[test]
fn a_key_is_of_everything_that_decides_what_is_installed() {
    let key = |text: &'static str, base: &'static str| {
        one(&[
            ("requirements.txt", text),
            ("base.txt", base),
            ("app.py", text),
        ])
        .key
    };
    let plain = key("flask==3.0 ; python_version > '3.8'\n", "");
    assert!(plain.is_some());
    assert_eq!(plain, key("flask==3.0 ; python_version > '3.8'\n", "other"));
    assert_ne!(plain, key("flask==3.1\n", ""));
    let with_base = key("-r base.txt\n", "flask\n");
    assert!(with_base.is_some());
    assert_ne!(with_base, key("-r base.txt\n", "flask==2\n"));
    for elsewhere in [
        "-e .\n",
        ".\n",
        "./lib\n",
        "x @ https://h/x.whl\n",
        "git+https://h/x\n",
        "wheels/x.whl\n",
        "--find-links wheels\nflask\n",
        "flask\n-r missing.txt\n",
        "--requirement=missing.txt\nflask\n",
    ] {
        assert_eq!(key(elsewhere, ""), None, "{elsewhere}");
    }
}

#[test]
fn requirements_that_include_each_other_end() {
    let part = one(&[
        ("requirements.txt", "-r a/b.txt\nx\n"),
        ("a/b.txt", "-c c.txt\n"),
        ("a/c.txt", "-r b.txt\n"),
    ]);
    assert!(part.key.is_some());
}

#[test]
fn static_files_of_django_are_collected_where_its_settings_say_where_to() {
    const MANAGE: &str = "os.environ.setdefault(\"DJANGO_SETTINGS_MODULE\", \"shop.settings\")\n";
    let build = |settings: &'static str| {
        one(&[
            ("requirements.txt", "django\n"),
            ("manage.py", MANAGE),
            ("shop/settings.py", settings),
        ])
        .build
    };
    assert_eq!(
        build("STATIC_ROOT = 'x'\n"),
        ["python manage.py collectstatic --noinput"]
    );
    assert!(build("# STATIC_ROOT = 'x'\n").is_empty());
    let env = BTreeMap::from([("DISABLE_COLLECTSTATIC".to_owned(), "1".to_owned())]);
    let around = Around {
        has_program: &|_| false,
        env: &env,
        packages: &[],
    };
    let files = checkout(&[
        ("requirements.txt", "django\n"),
        ("manage.py", MANAGE),
        ("shop/settings.py", "STATIC_ROOT = 1"),
    ]);
    assert!(look(&files, around)[0].build.is_empty());
}

const DEPENDS: &str = "{\"dependencies\": {\"express\": \"4\"}}";
const BUILDS: &str =
    "{\"scripts\": {\"build\": \"vite build\"}, \"devDependencies\": {\"vite\": \"5\"}}";

#[test]
fn node_is_installed_by_its_lock_file() {
    for (lock, install) in [
        (
            "package-lock.json",
            "npm ci --prefer-offline --omit=dev --no-audit --no-fund",
        ),
        (
            "yarn.lock",
            "npx --yes yarn@1.22.22 install --frozen-lockfile --non-interactive --prefer-offline --production",
        ),
        (
            "pnpm-lock.yaml",
            "CI=true npx --yes pnpm@9 install --frozen-lockfile --prod",
        ),
    ] {
        let part = one(&[("package.json", DEPENDS), (lock, "")]);
        assert_eq!(part.install, [install]);
        assert!(part.build.is_empty() && part.key.is_some());
        assert_eq!(part.cache, ["node_modules"]);
        let there = look_with(
            &[("package.json", DEPENDS), (lock, "")],
            &["yarn", "pnpm"],
            &[],
        );
        assert!(!there[0].install[0].contains("npx"), "{there:?}");
    }
    let unlocked = one(&[("package.json", DEPENDS)]);
    assert_eq!(
        unlocked.install,
        ["npm install --omit=dev --no-audit --no-fund"]
    );
    assert_eq!(
        (unlocked.key, unlocked.cache),
        (None, vec!["node_modules".to_owned()])
    );
}

#[test]
fn packages_for_development_are_there_while_it_builds_and_go_again() {
    let part = one(&[("package.json", BUILDS), ("package-lock.json", "{}")]);
    assert_eq!(
        part.install,
        ["npm ci --prefer-offline --include=dev --no-audit --no-fund"]
    );
    assert_eq!(
        part.build,
        [
            "npm run build",
            "npm prune --omit=dev --ignore-scripts --no-audit --no-fund"
        ]
    );
    assert!(part.key.is_none() && part.cache.is_empty());
    let hooked = "{\"scripts\": {\"prepare\": \"husky\"}, \"dependencies\": {\"a\": \"1\"}}";
    let part = one(&[("package.json", hooked), ("package-lock.json", "{}")]);
    assert!(part.install[0].contains("--include=dev") && part.key.is_none());
    let local = "{\"packages\": {\"a\": {\"resolved\": \"file:a.tgz\"}}}";
    assert_eq!(
        one(&[("package.json", DEPENDS), ("package-lock.json", local)]).key,
        None
    );
}

#[test]
fn versions_of_package_managers_are_those_that_are_asked_for_in_plain_characters() {
    let install = |package: &'static str, files: &[(&'static str, &'static str)]| {
        one(&[&[("package.json", package)], files].concat())
            .install
            .remove(0)
    };
    let asks = "{\"packageManager\": \"pnpm@8.1.0+sha512.a\", \"dependencies\": {\"a\": \"1\"}}";
    assert!(install(asks, &[("pnpm-lock.yaml", "")]).contains("pnpm@8.1.0 "));
    let bad = "{\"packageManager\": \"pnpm@8;id\", \"dependencies\": {\"a\": \"1\"}}";
    assert!(install(bad, &[("pnpm-lock.yaml", "lockfileVersion: '6.0'\n")]).contains("pnpm@8 "));
    let brought = [
        ("yarn.lock", ""),
        (".yarnrc.yml", "yarnPath: .yarn/releases/yarn-4.cjs\n"),
    ];
    assert_eq!(
        install(DEPENDS, &brought),
        "node '.yarn/releases/yarn-4.cjs' install --immutable"
    );
    let evil = [("yarn.lock", ""), (".yarnrc.yml", "yarnPath: a'; id; '\n")];
    assert_eq!(
        install(DEPENDS, &evil),
        "npx --yes @yarnpkg/cli-dist@4 install --immutable"
    );
}

#[test]
fn beside_another_language_node_is_for_what_runs_or_is_built() {
    let languages = |package: &'static str| -> Vec<&str> {
        let parts = look_at(&[("requirements.txt", "django\n"), ("package.json", package)]);
        parts.iter().map(|part| part.language).collect()
    };
    assert_eq!(
        languages("{\"devDependencies\": {\"prettier\": \"3\"}}"),
        ["Python"]
    );
    assert_eq!(languages(DEPENDS), ["Node", "Python"]);
    assert_eq!(languages(BUILDS), ["Node", "Python"]);
}

#[test]
fn ruby_is_installed_without_what_is_for_development() {
    let part = one(&[
        ("Gemfile", ""),
        ("Gemfile.lock", "GEM\n  specs:\n    rack (3)\n"),
    ]);
    assert_eq!(part.install, ["bundle install", "bundle clean"]);
    assert_eq!(
        part.env.get("BUNDLE_DEPLOYMENT").map(String::as_str),
        Some("1")
    );
    assert!(part.key.is_some() && part.build.is_empty());
    let local = one(&[("Gemfile", ""), ("Gemfile.lock", "PATH\n  remote: .\n")]);
    assert_eq!(local.key, None);
    let rails = one(&[
        ("Gemfile", ""),
        ("Gemfile.lock", "GEM\n  specs:\n    propshaft (1)\n"),
        ("config/application.rb", ""),
        ("Rakefile", ""),
    ]);
    assert!(rails.build[0].ends_with("assets:precompile"), "{rails:?}");
    assert_eq!(
        rails.env.get("RAILS_ENV").map(String::as_str),
        Some("production")
    );
}

#[test]
fn what_is_compiled_leaves_its_programs() {
    assert!(one(&[("go.mod", "module h/a\n")]).build[0].contains("-o bin/"));
    let rust = one(&[("Cargo.toml", "[package]\n"), ("Cargo.lock", "")]);
    assert!(
        rust.build[1].ends_with("cargo build --release --locked"),
        "{rust:?}"
    );
    assert!(one(&[("composer.json", "{}")]).build[0].starts_with("composer install --no-dev"));
}

fn derived(files: &[(&'static str, &'static str)]) -> Derived {
    procfile(&checkout(files), &look_at(files))
}

#[test]
fn a_procfile_is_derived_where_that_is_safe_and_else_proposed() {
    let starts = "{\"scripts\": {\"start\": \"node a.js\"}}";
    assert_eq!(
        derived(&[("package.json", starts), ("index.html", "")]),
        Derived::Procfile("web: npm start\n")
    );
    assert_eq!(derived(&[("index.html", "")]), Derived::Site);
    assert_eq!(derived(&[("README", "")]), Derived::Unknown(None));
    let proposed = |files: &[(&'static str, &'static str)]| match derived(files) {
        Derived::Unknown(Some(line)) => line,
        other => panic!("{other:?}"),
    };
    for (files, line) in [
        (
            &[
                ("requirements.txt", "flask\n"),
                ("main.py", ""),
                ("index.html", ""),
            ][..],
            "gunicorn --bind 127.0.0.1:$PORT main:app",
        ),
        (&[("Gemfile", ""), ("config.ru", "")], "bundle exec rackup"),
        (&[("go.mod", "module example.org/shop\n")], "web: shop"),
        (
            &[("Cargo.toml", "[package]\nname = \"shop\"\n")],
            "web: shop",
        ),
        (
            &[("composer.json", "{}"), ("public/index.php", "")],
            "-t public",
        ),
        (
            &[("package.json", DEPENDS), ("app.js", "")],
            "web: node app.js",
        ),
    ] {
        assert!(proposed(files).contains(line), "{}", proposed(files));
    }
    assert_eq!(
        derived(&[("go.mod", "module h/$(id)\n")]),
        Derived::Unknown(None)
    );
}
