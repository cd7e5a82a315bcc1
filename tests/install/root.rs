//! What needs root: switching users, handing over, apt-get.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use procserver::install::record::Step;

use super::world::{World, root};

const PROCFILE: (&str, &str) = ("Procfile", "web: ./serve\n");

pub(super) fn unless(possible: bool, why: &str) -> bool {
    if !possible {
        crate::support::machine::skip("a deploy", why);
    }
    !possible
}

pub(super) fn skip() -> bool {
    unless(root(), "it needs root")
}

/// Whether a command of the app's own user succeeds.
pub(super) fn as_app(world: &World, command: &str) -> bool {
    let account = world.account.as_ref().unwrap();
    let status = Command::new("setpriv")
        .arg(format!("--reuid={}", account.uid))
        .arg(format!("--regid={}", account.gid))
        .args(["--clear-groups", "sh", "-c", command])
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap();
    status.success()
}

#[test]
fn the_app_builds_as_its_user_and_cannot_write_afterwards() {
    if skip() {
        return;
    }
    let mut world = World::new(&[PROCFILE, (".env", "S=1\n")]);
    world
        .install(&["id -u > who; umask 077; echo private > key; ! touch /etc/procserver-was-here"]);
    let outcome = world.deploy();
    let directory = outcome.release().directory.clone();
    let uid = world.account.as_ref().unwrap().uid;
    let who = std::fs::read_to_string(directory.join("who")).unwrap();
    assert_eq!(who.trim(), uid.to_string());
    for path in ["", "who", "key", "Procfile"] {
        assert_eq!(
            std::fs::metadata(directory.join(path)).unwrap().uid(),
            0,
            "{path}"
        );
    }
    let shown = directory.display();
    assert!(as_app(
        &world,
        &format!("cd {shown} && cat key who Procfile > /dev/null")
    ));
    for attempt in [
        "touch x",
        "echo x >> who",
        "rm who",
        "chmod u+w .",
        "mv who y",
    ] {
        assert!(
            !as_app(&world, &format!("cd {shown} && {attempt}")),
            "{attempt}"
        );
    }
    assert!(as_app(
        &world,
        &format!("touch {}/x", world.dirs.storage().display())
    ));
    assert!(!as_app(
        &world,
        &format!("ls {}", world.dirs.root().display())
    ));
    assert!(!as_app(
        &world,
        &format!("ls {}", world.dirs.mirror().display())
    ));
    // The next deploy copes with what is read-only now.
    world.deploy().release();
}

#[test]
fn a_repository_of_another_user_can_be_deployed() {
    if skip() {
        return;
    }
    let mut world = World::new(&[PROCFILE]);
    let account = world.account.clone().unwrap();
    let status = Command::new("chown")
        .args(["-R", &format!("{}:{}", account.uid, account.gid)])
        .arg(world.repo())
        .status()
        .unwrap();
    assert!(status.success());
    world.deploy().release();
    let link = world.path().join("a link");
    std::os::unix::fs::symlink(world.repo(), &link).unwrap();
    world.fetch_from(format!("file://{}/a%20link", world.path().display()));
    world.deploy().release();
    world.fetch_from(link.display().to_string());
    world.deploy().release();
}

#[test]
fn links_planted_by_a_build_hand_nothing_over() {
    if skip() {
        return;
    }
    let mut world = World::new(&[PROCFILE]);
    let shadow = world.path().join("shadow");
    std::fs::write(&shadow, "root's").unwrap();
    std::fs::set_permissions(&shadow, std::fs::Permissions::from_mode(0o640)).unwrap();
    let target = shadow.display();
    world.install(&[&format!(
        "ln -s {target} link; ln -s / everything; echo x > $STORAGE_DIR/mine; ln $STORAGE_DIR/mine hard; \
         mkfifo pipe; cp /bin/true setid; chmod 6755 setid"
    )]);
    let outcome = world.deploy();
    let directory = &outcome.release().directory;
    let before = std::fs::metadata(&shadow).unwrap();
    assert_eq!((before.uid(), before.mode() & 0o7777), (0, 0o640));
    let mine = std::fs::metadata(world.dirs.storage().join("mine")).unwrap();
    assert_eq!(mine.uid(), world.account.as_ref().unwrap().uid);
    assert_ne!(mine.mode() & 0o200, 0);
    assert_eq!(std::fs::read(directory.join("hard")).unwrap(), b"x\n");
    assert_eq!(
        std::fs::metadata(directory.join("setid")).unwrap().mode() & 0o7000,
        0
    );
    assert!(!directory.join("pipe").exists());
}

#[test]
fn a_closed_directory_on_the_way_is_named() {
    if skip() {
        return;
    }
    let mut world = World::new(&[PROCFILE]);
    std::fs::set_permissions(world.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let failure = world.deploy().failure().clone();
    assert!(
        failure.reason.contains(&world.path().display().to_string()),
        "{failure:?}"
    );
    assert!(failure.hint.is_some_and(|h| h.contains("chmod o+x")));
}

#[test]
fn installed_packages_need_nothing_and_unknown_ones_are_named() {
    if skip() || !std::path::Path::new("/usr/bin/dpkg-query").exists() {
        return;
    }
    let mut world = World::new(&[PROCFILE]);
    world.packages(&["dpkg", "awk", "base-files"]);
    let outcome = world.deploy();
    assert_eq!(outcome.finished[0], Step::Packages);
    assert!(outcome.logged("all 3 packages are installed"));
    assert!(!outcome.logged("$ apt-get"));
}

#[test]
fn a_package_is_installed_from_debian_and_an_unknown_one_is_named() {
    let allowed = std::env::var_os("CI").is_some();
    let refusal = "it changes this machine's packages: set CI=true to allow that";
    if skip() || unless(allowed, refusal) {
        return;
    }
    let mut world = World::new(&[PROCFILE]);
    // `dash-` would be an order to remove dash, `hell.` a pattern that fits hello.
    world.packages(&["hello", "no-such-package-here", "dash-", "hell."]);
    let failure = world.deploy().failure().clone();
    assert_eq!(failure.step, Step::Packages);
    let expected = "packages no-such-package-here, dash-, hell. are not known to apt";
    assert_eq!(failure.reason, expected);
    world.packages(&["hello"]);
    world.config.packages[0].version = Some("0.0-none".into());
    let failure = world.deploy().failure().clone();
    assert!(
        failure
            .reason
            .contains("'0.0-none' for 'hello' was not found"),
        "{failure:?}"
    );
    world.packages(&["hello"]);
    // It is there before the commands run.
    world.install(&["hello --greeting=installed >greeting"]);
    let outcome = world.deploy();
    let greeting = outcome.release().directory.join("greeting");
    assert_eq!(std::fs::read_to_string(greeting).unwrap(), "installed\n");
    assert!(outcome.logged("$ apt-get"));
    assert!(world.deploy().logged("all 1 packages are installed"));
    let removed = Command::new("apt-get")
        .args(["-y", "-qq", "purge", "hello"])
        .output()
        .unwrap();
    assert!(removed.status.success());
}
