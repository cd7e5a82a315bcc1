//! The borders of install commands and of the release phase: those that the app's processes have, too.

use std::path::Path;

use super::root::{skip, unless};
use super::world::World;

/// An app in a place where landlock is of use; `None`: this machine has none, or no such place.
fn world(procfile: &str) -> Option<World> {
    if skip() {
        return None;
    }
    let mut world = World::below(Path::new("/var/lib"), &[("Procfile", procfile)]);
    // Else what landlock protects would not even be there.
    world.has_mounts = false;
    Some(world)
}

/// A directory of another app of the same user.
fn storage_of_another(world: &World) -> String {
    let storage = world.path().join("data/apps/other/storage");
    std::fs::create_dir_all(&storage).unwrap();
    let account = world.account.as_ref().unwrap();
    std::os::unix::fs::chown(&storage, Some(account.uid), Some(account.gid)).unwrap();
    storage.display().to_string()
}

/// Writes everywhere where an app may, and tells of each place whether it could.
const OWN: &str = "for own in $STORAGE_DIR/x $TMPDIR/x $HOME/x /dev/null x; do echo x > $own && echo could-$own; done";

#[test]
fn a_build_and_a_release_phase_write_to_nothing_of_another_app_of_their_user() {
    let Some(mut world) = world("web: ./serve\n") else {
        return;
    };
    let other = storage_of_another(&world);
    let attempt = format!("{OWN}; echo stolen > {other}/x && echo STOLEN || true");
    world.commit(&[("Procfile", &format!("web: ./serve\nrelease: {attempt}\n"))]);
    world.install(&[&attempt]);
    let outcome = world.deploy();
    outcome.release();
    if unless(
        !outcome.logged("without landlock"),
        "the kernel has no landlock",
    ) {
        return;
    }
    assert!(
        !outcome.lines.iter().any(|line| line == "STOLEN") && !Path::new(&other).join("x").exists()
    );
    for own in ["storage/x", "tmp/x", "home/x", "null", "could-x"] {
        let could = |line: &&String| line.starts_with("could-") && line.ends_with(own);
        assert_eq!(
            outcome.lines.iter().filter(could).count(),
            2,
            "{own}: {outcome:#?}"
        );
    }
}

#[test]
fn no_command_of_an_app_has_a_capability_or_a_way_to_one() {
    let procfile = "web: ./serve\nrelease: cat /proc/self/status > release\n";
    let Some(mut world) = world(procfile) else {
        return;
    };
    world.install(&["cat /proc/self/status > install"]);
    let directory = world.deploy().release().directory.clone();
    for file in ["install", "release"] {
        let status = std::fs::read_to_string(directory.join(file)).unwrap();
        let value = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap().trim().to_owned()
        };
        assert_eq!(value("NoNewPrivs:"), "1", "{file}");
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
            assert_eq!(value(set), "0".repeat(16), "{file}: {set}");
        }
    }
}

#[test]
fn what_a_release_phase_makes_in_the_checkout_is_of_the_release_and_is_sealed_with_it() {
    let procfile = "web: ./serve\nrelease: mkdir -p static && date +%N > static/x && echo more >> Procfile.lock\n";
    let mut world = World::new(&[("Procfile", "web: ./serve\n"), ("Procfile.lock", "one\n")]);
    // One that shares its files, then the first with a release phase, then those that follow.
    world.deploy().release();
    world.commit(&[("Procfile", procfile)]);
    for _ in 0..2 {
        let directory = world.deploy().release().directory.clone();
        let made = std::fs::metadata(directory.join("static/x")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::mode(&made.permissions());
        assert_eq!(mode & 0o222, 0);
        let text = std::fs::read_to_string(directory.join("Procfile.lock")).unwrap();
        assert_eq!(text, "one\nmore\n");
    }
    let untouched = std::fs::read_to_string(world.dirs.release(1).join("Procfile.lock"));
    assert_eq!(untouched.unwrap(), "one\n");
    world.install(&["echo built > built"]);
    let directory = world.deploy().release().directory.clone();
    assert!(directory.join("built").exists() && directory.join("static/x").exists());
}
