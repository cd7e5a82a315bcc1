//! Deploys without `install`: what the checkout needs is found, shown and done by the real package managers, and the next
//! release takes it over. Packages are made here, so that no registry is needed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use procserver::install::record::Step;

use super::root::as_app;
use super::servers::Listening;
use super::world::{World, root};
use crate::support::machine::{apps_have, skip};

const PROCFILE: (&str, &str) = ("Procfile", "web: ./serve\n");

/// An app whose document has no `install`.
fn world(files: &[(&str, &str)]) -> World {
    let mut world = World::new(files);
    world.config.install = None;
    world
}

fn run(program: &str, arguments: &[&str], directory: &Path) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {output:?}"
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A wheel (PEP 427) of a package with a module and a program.
const WHEEL: &str = r#"
import sys, zipfile
version, place = sys.argv[1:]
about = f"greeting_zz-{version}.dist-info/"
with zipfile.ZipFile(f"{place}/greeting_zz-{version}-py3-none-any.whl", "w") as wheel:
    wheel.writestr("greeting_zz.py", f"def main():\n    print('greeting {version}')\n")
    wheel.writestr(about + "METADATA", f"Metadata-Version: 2.1\nName: greeting-zz\nVersion: {version}\n")
    wheel.writestr(about + "WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr(about + "entry_points.txt", "[console_scripts]\ngreet = greeting_zz:main\n")
    wheel.writestr(about + "RECORD", "")
"#;

fn wheels(world: &World, versions: &[&str]) -> PathBuf {
    let place = world.path().join("wheels");
    std::fs::create_dir_all(&place).unwrap();
    for version in versions {
        run(
            "python3",
            &["-c", WHEEL, version, place.to_str().unwrap()],
            world.path(),
        );
    }
    place
}

/// What the program of the wheel prints, run as the app's user runs it.
fn greeting(directory: &Path) -> String {
    run(
        directory.join(".venv/bin/greet").to_str().unwrap(),
        &[],
        Path::new("/"),
    )
}

#[test]
fn python_packages_are_installed_once_for_all_releases_that_need_the_same() {
    let test = "Python's packages";
    if !apps_have("python3", "python3", test) || !has_venv(test) {
        return;
    }
    let mut world = world(&[PROCFILE, ("requirements.txt", "greeting-zz==1.0\n")]);
    let place = wheels(&world, &["1.0", "2.0"]);
    world.config.env.insert("PIP_NO_INDEX".into(), "1".into());
    world
        .config
        .env
        .insert("PIP_FIND_LINKS".into(), place.display().to_string());
    let first = world.deploy();
    let release = first.release();
    assert!(
        first.logged("Python, for there is requirements.txt"),
        "{first:#?}"
    );
    assert_eq!(
        std::fs::read_link(release.directory.join(".venv")).unwrap(),
        world.dirs.venv(1)
    );
    assert_eq!(release.record.built.path, [".venv/bin"]);
    assert_eq!(greeting(&release.directory), "greeting 1.0");
    if root() {
        let program = release.directory.join(".venv/bin/greet");
        assert!(as_app(&world, program.to_str().unwrap()));
        let inside = world.dirs.venv(1).join("lib/new");
        assert!(
            !as_app(&world, &format!("touch {}", inside.display())),
            "it can be written to"
        );
    }
    // Nothing is asked of pip.
    std::fs::rename(&place, world.path().join("away")).unwrap();
    world.commit(&[("app.py", "x = 1\n")]);
    let second = world.deploy();
    assert_eq!(second.release().record.built.venv, Some(1), "{second:#?}");
    assert!(second.logged("nothing has changed") && !second.logged("$ python3 -m venv"));
    assert_eq!(greeting(&second.release().directory), "greeting 1.0");
    // What was lost is made anew.
    std::fs::rename(world.path().join("away"), &place).unwrap();
    let module = run(
        "find",
        &[".", "-name", "greeting_zz.py"],
        &world.dirs.venv(1),
    );
    force_removal(&world.dirs.venv(1).join(module));
    let third = world.deploy();
    assert!(third.logged("is damaged"), "{third:#?}");
    assert_eq!(greeting(&third.release().directory), "greeting 1.0");
    world.commit(&[("requirements.txt", "greeting-zz==2.0\n")]);
    let fourth = world.deploy();
    assert_eq!(fourth.release().record.built.venv, Some(4), "{fourth:#?}");
    assert_eq!(greeting(&fourth.release().directory), "greeting 2.0");
}

/// Whether Debian's package for virtual environments is there.
fn has_venv(test: &str) -> bool {
    let tried = Command::new("/usr/bin/python3")
        .args(["-c", "import ensurepip, venv"])
        .output();
    let is_there = tried.is_ok_and(|output| output.status.success());
    if !is_there {
        assert!(
            std::env::var_os("CI").is_none(),
            "{test} needs apt-get install python3-venv"
        );
        skip(
            test,
            "there is no python3-venv here: apt-get install python3-venv",
        );
    }
    is_there
}

/// Removes a file of a read-only directory.
fn force_removal(file: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let parent = file.parent().unwrap();
    std::fs::set_permissions(parent, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::remove_file(file).unwrap();
}

/// A registry that answers everything with one package.
fn registry(tarball: Vec<u8>) -> Listening {
    use std::io::{Read, Write};
    let tarball = Arc::new(tarball);
    Listening::start(move |mut stream| {
        if stream.read(&mut [0; 8192]).unwrap_or(0) > 0 {
            let length = tarball.len();
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
            );
            let _gone = stream.write_all(&[head.as_bytes(), &tarball].concat());
        }
    })
}

#[test]
fn node_modules_are_taken_over_and_a_damaged_directory_is_not() {
    let test = "Node's packages";
    if !apps_have("node", "nodejs", test)
        || !apps_have("npm", "npm", test)
        || !apps_have("openssl", "openssl", test)
    {
        return;
    }
    let package =
        "{\"name\": \"a\", \"version\": \"1.0.0\", \"dependencies\": {\"greeting-zz\": \"1.0.0\"}}";
    let mut world = world(&[PROCFILE, ("package.json", package)]);
    let made = world.path().join("package");
    std::fs::create_dir(&made).unwrap();
    let about =
        "{\"name\": \"greeting-zz\", \"version\": \"1.0.0\", \"bin\": {\"greet\": \"greet.js\"}}";
    std::fs::write(made.join("package.json"), about).unwrap();
    std::fs::write(
        made.join("greet.js"),
        "#!/usr/bin/env node\nconsole.log('greeting 1.0.0')\n",
    )
    .unwrap();
    run("tar", &["czf", "a.tgz", "package"], world.path());
    let digest = run(
        "sh",
        &[
            "-c",
            "openssl dgst -sha512 -binary a.tgz | openssl base64 -A",
        ],
        world.path(),
    );
    let server = registry(std::fs::read(world.path().join("a.tgz")).unwrap());
    let lock = serde_json::json!({
        "name": "a", "version": "1.0.0", "lockfileVersion": 3, "requires": true,
        "packages": {
            "": {"name": "a", "version": "1.0.0", "dependencies": {"greeting-zz": "1.0.0"}},
            "node_modules/greeting-zz": {
                "version": "1.0.0",
                "resolved": format!("http://{}/greeting-zz/-/greeting-zz-1.0.0.tgz", server.address),
                "integrity": format!("sha512-{digest}"),
                "bin": {"greet": "greet.js"},
            },
        },
    });
    world.commit(&[("package-lock.json", &lock.to_string())]);
    let first = world.deploy();
    let dirs = world.dirs.clone();
    let file = |release: u64| {
        dirs.release(release)
            .join("node_modules/greeting-zz/greet.js")
    };
    let built = &first.release().record.built;
    assert_eq!(
        (built.path.as_slice(), built.env["NODE_ENV"].as_str()),
        (&["node_modules/.bin".to_owned()][..], "production")
    );
    let greet = |release: u64| run("node", &[file(release).to_str().unwrap()], Path::new("/"));
    assert_eq!(greet(1), "greeting 1.0.0");
    drop(server);
    world.commit(&[("app.js", "1\n")]);
    let second = world.deploy();
    assert!(
        second.logged("nothing has changed") && !second.logged("$ npm ci"),
        "{second:#?}"
    );
    assert_eq!(greet(2), "greeting 1.0.0");
    if root() {
        use std::os::unix::fs::MetadataExt;
        let inode = |release| file(release).metadata().unwrap().ino();
        assert_eq!(inode(1), inode(2));
    }
    force_removal(&file(2));
    let third = world.deploy();
    // There is no server any more, but npm's own cache in HOME.
    assert!(
        third.logged("is damaged") && third.logged("$ npm ci"),
        "{third:#?}"
    );
    assert_eq!(greet(3), "greeting 1.0.0");
}

#[test]
fn gems_are_installed_from_the_commits_own_and_taken_over() {
    let test = "Ruby's gems";
    if !apps_have("ruby", "ruby", test) || !apps_have("bundle", "ruby-bundler", test) {
        return;
    }
    let lock = "GEM\n  remote: https://rubygems.org/\n  specs:\n    greeting-zz (1.0)\n\nPLATFORMS\n  ruby\n\nDEPENDENCIES\n  greeting-zz\n";
    let mut world = world(&[
        PROCFILE,
        (
            "Gemfile",
            "source \"https://rubygems.org\"\ngem \"greeting-zz\"\n",
        ),
        ("Gemfile.lock", lock),
        ("vendor/cache/.keep", ""),
    ]);
    let gem = world.path().join("gem");
    std::fs::create_dir_all(gem.join("lib")).unwrap();
    std::fs::write(
        gem.join("lib/greeting-zz.rb"),
        "GREETING = 'greeting 1.0'\n",
    )
    .unwrap();
    let about = "Gem::Specification.new do |s|\n s.name='greeting-zz'; s.version='1.0'; s.summary='s'; s.authors=['t']; s.files=['lib/greeting-zz.rb']\nend\n";
    std::fs::write(gem.join("greeting-zz.gemspec"), about).unwrap();
    run("gem", &["build", "--silent", "greeting-zz.gemspec"], &gem);
    std::fs::copy(
        gem.join("greeting-zz-1.0.gem"),
        world.repo().join("vendor/cache/greeting-zz-1.0.gem"),
    )
    .unwrap();
    world.commit(&[(
        "Procfile",
        "web: ./serve\nrelease: bundle exec ruby -e 'require \"greeting-zz\"; puts GREETING'\n",
    )]);
    let first = world.deploy();
    assert!(first.logged("greeting 1.0"), "{first:#?}");
    world.commit(&[("a.rb", "1\n")]);
    let second = world.deploy();
    assert!(
        second.logged("greeting 1.0") && !second.logged("$ bundle install"),
        "{second:#?}"
    );
}

#[test]
fn a_tool_that_is_missing_is_named_with_its_package_before_anything_runs() {
    let package =
        "{\"dependencies\": {\"a\": \"1\"}, \"scripts\": {\"heroku-prebuild\": \"touch ran\"}}";
    let mut world = world(&[
        PROCFILE,
        ("package.json", package),
        ("requirements.txt", "a\n"),
    ]);
    world.packages(&[]);
    world.config.env.insert("PATH".into(), "/nowhere".into());
    let outcome = world.deploy();
    let failure = outcome.failure();
    assert_eq!(failure.step, Step::Install);
    for word in [
        "Node (package.json) needs node and npm",
        "Python (requirements.txt) needs python3",
    ] {
        assert!(failure.reason.contains(word), "{failure:?}");
    }
    let hint = failure.hint.as_deref().unwrap_or_default();
    assert!(
        hint.contains("procserver set app packages='[\"nodejs\",\"npm\",\"python3\""),
        "{hint}"
    );
    assert!(
        hint.contains("install='[]'") && !outcome.logged("$ npm"),
        "{hint}"
    );
    assert!(world.left().is_empty());
    world.config.install = Some(vec![]);
    assert_eq!(world.deploy().finished, [Step::Fetch, Step::Checkout]);
}

#[test]
fn a_builder_that_fails_says_how_to_do_without_it() {
    let package = "{\"scripts\": {\"build\": \"exit 3\"}}";
    let mut world = world(&[
        PROCFILE,
        ("package.json", package),
        ("bin/npm", "#!/bin/sh\nexit 3\n"),
        ("bin/node", "#!/bin/sh\n"),
    ]);
    for name in ["bin/npm", "bin/node"] {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(
            world.repo().join(name),
            std::fs::Permissions::from_mode(0o755),
        )
        .unwrap();
    }
    world.commit(&[]);
    // The checkout's own programs come first, but the machine must have them too.
    let tools = world.repo().join("bin").display().to_string();
    world
        .config
        .env
        .insert("PATH".into(), format!("{tools}:/usr/bin:/bin"));
    let failure = world.deploy().failure().clone();
    assert_eq!((failure.step, failure.exit_code), (Step::Install, Some(3)));
    assert!(
        failure
            .hint
            .is_some_and(|hint| hint.contains("procserver set app install='[]'"))
    );
}

#[test]
fn programs_of_the_checkout_come_first_in_path() {
    let mut world = World::new(&[
        ("Procfile", "web: ./serve\nrelease: greet released\n"),
        ("bin/greet", "#!/bin/sh\necho \"greeting $1\"\n"),
    ]);
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(
        world.repo().join("bin/greet"),
        std::fs::Permissions::from_mode(0o755),
    )
    .unwrap();
    world.commit(&[]);
    world.install(&["greet installed"]);
    let outcome = world.deploy();
    assert!(
        outcome.logged("greeting installed") && outcome.logged("greeting released"),
        "{outcome:#?}"
    );
    assert_eq!(outcome.release().record.built.path, ["bin"]);
}

#[test]
fn a_cache_begins_as_the_last_release_left_it_and_that_one_stays_as_it_is() {
    let mut world = World::new(&[PROCFILE, (".gitignore", "var\n")]);
    world.config.cache = Some(vec!["var/cache".into(), "never".into()]);
    world.install(&["mkdir -p var/cache && echo built >> var/cache/log && pwd > var/cache/where.$(wc -l < var/cache/log)"]);
    world.deploy();
    let dirs = world.dirs.clone();
    let log = |release: u64| {
        std::fs::read_to_string(dirs.release(release).join("var/cache/log")).unwrap()
    };
    assert_eq!(log(1), "built\n");
    let second = world.deploy();
    assert!(
        second.logged("var/cache: begins as the one of release 1"),
        "{second:#?}"
    );
    assert_eq!(
        (log(1).as_str(), log(2).as_str()),
        ("built\n", "built\nbuilt\n")
    );
    // A path in it is that of its new place.
    let where_is =
        std::fs::read_to_string(world.dirs.release(2).join("var/cache/where.1")).unwrap();
    assert_eq!(where_is.trim(), world.dirs.release(2).display().to_string());
    world.use_cache = false;
    let third = world.deploy();
    assert!(third.result.is_some_and(|r| r.is_ok()));
    assert_eq!(
        std::fs::read_to_string(world.dirs.release(3).join("var/cache/log")).unwrap(),
        "built\n"
    );
}

#[test]
fn an_install_that_fails_on_a_cache_runs_once_more_without() {
    let mut world = World::new(&[PROCFILE]);
    world.config.cache = Some(vec!["out".into()]);
    world.install(&["test ! -e out/bad || exit 3; touch half; mkdir out; touch out/bad"]);
    world.deploy();
    let second = world.deploy();
    assert!(
        second.logged("Once more, without what release 1 has left"),
        "{second:#?}"
    );
    assert!(second.release().directory.join("out/bad").exists());
    // Without a cache a failure is one.
    world.install(&["mkdir -p out; exit 4"]);
    assert_eq!(world.deploy().failure().exit_code, Some(4));
}

#[test]
fn what_stands_in_for_a_procfile_is_shown_and_kept() {
    let starts = "{\"scripts\": {\"start\": \"node server.js\"}}";
    let node = world(&[("package.json", starts)]).deploy();
    assert!(
        node.logged("there is no Procfile, so it is: web: npm start"),
        "{node:#?}"
    );
    assert_eq!(node.release().procfile.command("web"), Some("npm start"));
    let site = world(&[("index.html", "<h1>home</h1>")]).deploy();
    assert!(site.release().record.built.is_site && site.release().procfile.entries.is_empty());
    let outcome = world(&[("requirements.txt", "flask\n"), ("app.py", "")]).deploy();
    let failure = outcome.failure();
    assert!(failure.reason.contains("has no Procfile"), "{failure:?}");
    let hint = failure.hint.as_deref().unwrap_or_default();
    assert!(
        hint.contains("web: gunicorn --bind 127.0.0.1:$PORT app:app"),
        "{hint}"
    );
}
