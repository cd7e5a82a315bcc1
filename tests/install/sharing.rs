//! Releases share the files that they have in common, and nobody notices.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use super::root::{as_app, skip};
use super::world::World;

const PROCFILE: (&str, &str) = ("Procfile", "web: ./serve\n");

/// An entry as a program sees it: mode, and bytes or where it leads to.
type Entry = (u32, Vec<u8>);

/// Everything below `directory`.
fn seen(directory: &Path) -> BTreeMap<String, Entry> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let meta = std::fs::symlink_metadata(&path).unwrap();
        let content = if meta.is_dir() {
            let inner = seen(&path).into_iter();
            found.extend(inner.map(|(inner, is)| (format!("{name}/{inner}"), is)));
            Vec::new()
        } else if meta.is_symlink() {
            let target = std::fs::read_link(&path).unwrap();
            target.into_os_string().into_encoded_bytes()
        } else {
            std::fs::read(&path).unwrap()
        };
        found.insert(name, (meta.mode(), content));
    }
    found
}

/// As [`seen`], with the times of the last changes.
fn seen_with_times(directory: &Path) -> BTreeMap<String, (Entry, (i64, i64))> {
    let timed = |(name, entry): (String, _)| {
        let meta = std::fs::symlink_metadata(directory.join(&name)).unwrap();
        (name, (entry, (meta.mtime(), meta.mtime_nsec())))
    };
    seen(directory).into_iter().map(timed).collect()
}

/// What a release of the repository's newest commit must look like: a clone without `.git`, read-only.
fn clone_of(world: &World) -> BTreeMap<String, Entry> {
    let clone = world.path().join("clone");
    let _ = std::fs::remove_dir_all(&clone);
    world.git(&["clone", "--quiet", ".", clone.to_str().unwrap()]);
    std::fs::remove_dir_all(clone.join(".git")).unwrap();
    let mut found = seen(&clone);
    for (mode, _) in found.values_mut() {
        let is_link = *mode & 0o170_000 == 0o120_000;
        *mode = if is_link { *mode } else { *mode & !0o222 };
    }
    found
}

fn inode(path: &Path) -> u64 {
    std::fs::symlink_metadata(path).unwrap().ino()
}

/// A repository of every kind of entry that git has.
fn world() -> World {
    let world = World::new(&[
        PROCFILE,
        ("a/b/same", "same\n"),
        ("a/b/changes", "1\n"),
        ("a/goes", "x\n"),
        ("run", "#!/bin/sh\n"),
        ("empty", ""),
        ("file-then-directory", "x\n"),
        ("directory-then-link/inner", "inner\n"),
        ("link-then-directory-target/inner", "target\n"),
        (" strange\n\"näme\" ", "x\n"),
    ]);
    let repo = world.repo();
    std::fs::set_permissions(repo.join("run"), PermissionsExt::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink("a/b", repo.join("link")).unwrap();
    let target = "link-then-directory-target";
    std::os::unix::fs::symlink(target, repo.join("link-then-directory")).unwrap();
    world.commit(&[]);
    world
}

fn change(world: &World) {
    let repo = world.repo();
    std::fs::remove_file(repo.join("file-then-directory")).unwrap();
    std::fs::remove_dir_all(repo.join("directory-then-link")).unwrap();
    std::os::unix::fs::symlink("a", repo.join("directory-then-link")).unwrap();
    std::fs::remove_file(repo.join("link-then-directory")).unwrap();
    std::fs::remove_file(repo.join("a/goes")).unwrap();
    world.commit(&[
        ("a/b/changes", "2\n"),
        ("a/b/comes", "new\n"),
        ("file-then-directory/inner", "x\n"),
        ("link-then-directory/inner", "target\n"),
    ]);
}

#[test]
fn a_release_with_nothing_to_build_shares_what_is_unchanged_and_is_as_a_fresh_clone() {
    let mut world = world();
    let first = world.deploy().release().directory.clone();
    assert_eq!(seen(&first), clone_of(&world));
    let before = seen_with_times(&first);
    change(&world);
    let second = world.deploy().release().directory.clone();
    assert_eq!(seen(&second), clone_of(&world));
    assert_eq!(seen_with_times(&first), before);
    for name in ["Procfile", "a/b/same", "run", " strange\n\"näme\" "] {
        let is_shared = inode(&first.join(name)) == inode(&second.join(name));
        assert_eq!(is_shared, world.account.is_some(), "{name}");
    }
    let changed = "a/b/changes";
    assert_ne!(inode(&first.join(changed)), inode(&second.join(changed)));
    let outside = second.join("link-then-directory/inner");
    assert_eq!(std::fs::metadata(outside).unwrap().nlink(), 1);
    world.deploy().release();
    // The first one goes, the others stay whole.
    procserver::install::tree::remove(&first).unwrap();
    assert_eq!(seen(&second), clone_of(&world));
    assert_eq!(seen(&world.dirs.release(3)), clone_of(&world));
}

#[test]
fn a_change_of_a_mode_alone_or_of_attributes_counts() {
    let mut world = world();
    let first = world.deploy().release().directory.clone();
    let repo = world.repo();
    std::fs::set_permissions(repo.join("a/b/same"), PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::set_permissions(repo.join("run"), PermissionsExt::from_mode(0o644)).unwrap();
    world.commit(&[]);
    let second = world.deploy().release().directory.clone();
    assert_eq!(seen(&second), clone_of(&world));
    // From now on the same blobs are other files.
    world.commit(&[(".gitattributes", "a/b/* text eol=crlf\n")]);
    let third = world.deploy().release().directory.clone();
    assert_eq!(std::fs::read(third.join("a/b/same")).unwrap(), b"same\r\n");
    assert_eq!(seen(&third), clone_of(&world));
    world.commit(&[]);
    let fourth = world.deploy().release().directory.clone();
    assert_eq!(seen(&fourth), clone_of(&world));
    assert_eq!(std::fs::read(first.join("a/b/same")).unwrap(), b"same\n");
}

#[test]
fn what_was_edited_by_hand_or_spoilt_is_not_handed_on() {
    if skip() {
        return;
    }
    let mut world = world();
    let first = world.deploy().release().directory.clone();
    std::fs::write(first.join("a/b/same"), "SAME\n").unwrap();
    std::fs::set_permissions(first.join("run"), PermissionsExt::from_mode(0o757)).unwrap();
    std::fs::write(first.join("added"), "by hand").unwrap();
    let second = world.deploy().release().directory.clone();
    assert_eq!(seen(&second), clone_of(&world));
    assert_eq!(std::fs::read(first.join("a/b/same")).unwrap(), b"SAME\n");
    let mode = std::fs::metadata(first.join("run")).unwrap().mode();
    assert_eq!(mode & 0o777, 0o757);
}

/// Commands that change what they find in every way that there is, beside much that stays.
const HOSTILE: &str = "echo more >> a/b/changes; chmod 600 a/b/same; : > run; rm 'a/goes'; mkdir -p made; \
    echo product > made/product; touch -d 2001-01-01 made/product; date +%N > made/differs; \
    for old in ../[0-9]*/; do ln -f ${old}Procfile stolen; echo bad >> ${old}Procfile; chmod 777 ${old}Procfile; \
    rm -f ${old}empty; done; echo bad >> stolen; chmod 777 stolen; true";

/// What they leave alone.
const UNTOUCHED: &str = "link-then-directory-target/inner";

#[test]
fn a_build_changes_no_earlier_release_and_what_it_leaves_as_it_was_is_shared() {
    if skip() {
        return;
    }
    let mut world = world();
    world.install(&[HOSTILE]);
    let first = world.deploy().release().directory.clone();
    let before = seen_with_times(&first);
    let second = world.deploy().release().directory.clone();
    assert_eq!(seen_with_times(&first), before);
    let (mut old, mut new) = (seen(&first), seen(&second));
    assert_ne!(old.remove("made/differs"), new.remove("made/differs"));
    for content in [&mut old, &mut new] {
        // A link to whichever release the loop met last.
        content.remove("stolen");
    }
    assert_eq!(old, new);
    for name in [UNTOUCHED, "made/product"] {
        assert_eq!(
            inode(&first.join(name)),
            inode(&second.join(name)),
            "{name}"
        );
    }
    // Without commands, what the build had changed is as in the repository again, and the rest is shared.
    world.install(&[]);
    let third = world.deploy().release().directory.clone();
    assert_eq!(seen(&third), clone_of(&world));
    assert_eq!(seen_with_times(&first), before);
    assert_eq!(inode(&first.join(UNTOUCHED)), inode(&third.join(UNTOUCHED)));
    let attempts = [
        "echo x >> Procfile",
        "chmod u+w Procfile",
        "rm Procfile",
        "touch Procfile",
    ];
    for attempt in attempts {
        let attempt = format!("cd {} && {attempt}", third.display());
        assert!(!as_app(&world, &attempt), "{attempt}");
    }
}

#[test]
fn another_group_shares_nothing_and_neither_does_a_server_that_cannot_switch_users() {
    if skip() {
        return;
    }
    let mut world = world();
    let first = world.deploy().release().directory.clone();
    let before = seen_with_times(&first);
    let gid = std::fs::metadata(first.join("Procfile")).unwrap().gid();
    world.account.as_mut().unwrap().gid = 54_321;
    let second = world.deploy().release().directory.clone();
    world.account = None;
    let third = world.deploy().release().directory.clone();
    for other in [&second, &third] {
        assert_ne!(
            inode(&first.join("Procfile")),
            inode(&other.join("Procfile"))
        );
    }
    assert_eq!(seen_with_times(&first), before);
    let now = std::fs::metadata(first.join("Procfile")).unwrap().gid();
    assert_eq!(now, gid);
}

/// As a package manager does: everything is written anew, and compiled.
const INSTALLS: &str = "set -e; at=.venv/lib/site-packages/pkg; mkdir -p $at node_modules/left; \
    echo 'A = 1' > $at/same.py; echo 'B = 1' > $at/__init__.py; echo 'C = 1' > $at/changes.py; \
    echo \"N = $(cat number)\" > $at/differs.py; head -c 100000 /dev/zero > $at/native.so; \
    echo 'left();' > node_modules/left/index.js; echo product > product; \
    find .venv node_modules product -type f -exec touch -d 2020-01-0$(cat number) {} +; python3 -m compileall -q .venv; \
    for code in $at/__pycache__/changes.*.pyc; do cat number >> $code; done";

#[test]
fn packages_that_are_installed_anew_are_shared_and_their_byte_code_stays_valid() {
    if skip() {
        return;
    }
    let mut world = World::new(&[PROCFILE, ("number", "1\n")]);
    world.install(&[INSTALLS]);
    let first = world.deploy().release().directory.clone();
    let before = seen_with_times(&first);
    world.commit(&[("number", "2\n")]);
    let second = world.deploy().release().directory.clone();
    assert_eq!(seen_with_times(&first), before);
    let packages = ".venv/lib/site-packages/pkg";
    let cache = |name: &str| {
        let cache = std::fs::read_dir(second.join(packages).join("__pycache__")).unwrap();
        let mut names = cache.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let name = names.find(|found| found.starts_with(&format!("{name}.")));
        format!("{packages}/__pycache__/{}", name.unwrap())
    };
    let is_shared = |name: &str| inode(&first.join(name)) == inode(&second.join(name));
    for name in ["native.so", "same.py", "__init__.py"] {
        assert!(is_shared(&format!("{packages}/{name}")), "{name}");
    }
    assert!(is_shared("node_modules/left/index.js"));
    for module in ["same", "__init__"] {
        assert!(is_shared(&cache(module)), "{module}");
    }
    // Of what differs nothing is, nor is a source whose byte code differs, nor what has another time elsewhere.
    for module in ["differs", "changes"] {
        assert!(!is_shared(&format!("{packages}/{module}.py")), "{module}");
        assert!(!is_shared(&cache(module)), "{module}");
    }
    assert!(!is_shared("product"));
    let import = "import sys; sys.path.insert(0, '.venv/lib/site-packages'); import pkg, pkg.same, pkg.differs; \
        print(pkg.same.__file__, pkg.differs.N)";
    let python = std::process::Command::new("python3")
        .args(["-v", "-c", import])
        .current_dir(&second)
        .output()
        .unwrap();
    let (told, said) = (
        String::from_utf8_lossy(&python.stderr),
        String::from_utf8_lossy(&python.stdout),
    );
    assert!(said.trim_end().ends_with("pkg/same.py 2"), "{said}");
    let matches = |module: &str| format!("{} matches ", second.join(cache(module)).display());
    for module in ["__init__", "same", "differs"] {
        let relative = format!("{} matches ", cache(module));
        let is_valid = told.contains(&matches(module)) || told.contains(&relative);
        assert!(is_valid, "{module}: {told}");
    }
    assert!(!told.contains("bytecode is stale"), "{told}");
    // What was shared once is shared on: its byte code still has the path of the first release.
    world.commit(&[("number", "3\n")]);
    let third = world.deploy().release().directory.clone();
    for name in [format!("{packages}/same.py"), cache("same")] {
        let inodes = (inode(&first.join(&name)), inode(&third.join(&name)));
        assert_eq!(inodes.0, inodes.1, "{name}");
    }
}
