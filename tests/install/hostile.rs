//! Repositories whose trees were not made by git: nothing of them is run, and nothing outside of the release is touched.

use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Stdio;

use procserver::install::record::Step;

use super::servers::{Daemon, git};
use super::world::World;

const PROCFILE: (&str, &str) = ("Procfile", "web: ./serve\n");

/// Writes an object that git itself would refuse to write.
fn object(repo: &Path, kind: &str, content: &[u8]) -> String {
    let mut child = git()
        .args(["hash-object", "-t", kind, "-w", "--literally", "--stdin"])
        .current_dir(repo)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(content).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn tree(repo: &Path, entries: &[(&str, &str, &str)]) -> String {
    let mut content = Vec::new();
    for (mode, name, id) in entries {
        content.extend_from_slice(format!("{mode} {name}\0").as_bytes());
        let byte = |at: usize| u8::from_str_radix(&id[at..at + 2], 16).unwrap();
        content.extend((0..40).step_by(2).map(byte));
    }
    object(repo, "tree", &content)
}

/// Makes `tree` the tree of the branch.
fn push(world: &World, tree: &str) {
    let commit = world.git(&["commit-tree", "-m", "x", tree]);
    world.git(&["update-ref", "refs/heads/master", &commit]);
}

#[test]
fn entries_with_names_of_gits_own_or_outside_are_refused() {
    let mut world = World::new(&[PROCFILE]);
    let daemon = Daemon::start(world.path());
    world.fetch_from(daemon.url("repo"));
    let repo = world.repo();
    let procfile = world.git(&["rev-parse", "HEAD:Procfile"]);
    let witness = world.path().join("ran");
    let script = object(
        &repo,
        "blob",
        format!("#!/bin/sh\ntouch {}\n", witness.display()).as_bytes(),
    );
    let hooks = tree(
        &repo,
        &[
            ("100755", "post-checkout", &script),
            ("100755", "post-index-change", &script),
        ],
    );
    let git = tree(&repo, &[("40000", "hooks", &hooks)]);
    let up = tree(&repo, &[("100644", "x", &script)]);
    for (name, id) in [
        (".git", &git),
        (".GIT", &git),
        ("git~1", &git),
        ("..", &up),
        (".", &up),
    ] {
        let top = tree(
            &repo,
            &[("40000", name, id), ("100644", "Procfile", &procfile)],
        );
        push(&world, &top);
        let outcome = world.deploy();
        let failure = outcome.failure();
        assert_eq!(failure.step, Step::Checkout, "{name}: {failure:?}");
        assert!(
            format!("{failure:?}").contains("invalid path"),
            "{name}: {failure:?}"
        );
        assert!(!outcome.logged("damaged"), "{name}");
        assert!(world.left().is_empty());
    }
    let slash = tree(
        &repo,
        &[
            ("100644", "../../../../escaped", &script),
            ("100644", "Procfile", &procfile),
        ],
    );
    push(&world, &slash);
    assert!(world.deploy().result.is_some_and(|r| r.is_err()));
    assert!(!witness.exists() && !world.path().join("escaped").exists());
}

#[test]
fn nothing_is_written_through_a_link_that_is_a_directory_too() {
    let mut world = World::new(&[PROCFILE]);
    let daemon = Daemon::start(world.path());
    world.fetch_from(daemon.url("repo"));
    let repo = world.repo();
    let outside = world.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    let procfile = world.git(&["rev-parse", "HEAD:Procfile"]);
    let link = object(&repo, "blob", outside.display().to_string().as_bytes());
    let inner = tree(
        &repo,
        &[("100644", "f", &procfile), ("160000", "lib", &procfile)],
    );
    let text = "[submodule \"a\"]\n\tpath = a/lib\n\turl = ../repo\n";
    let modules = object(&repo, "blob", text.as_bytes());
    for entries in [
        [("120000", "a", &link), ("40000", "a", &inner)],
        [("40000", "a", &inner), ("120000", "a", &link)],
    ] {
        let mut all: Vec<(&str, &str, &str)> = vec![
            ("100644", ".gitmodules", &modules),
            ("100644", "Procfile", &procfile),
        ];
        all.extend(
            entries
                .iter()
                .map(|(mode, name, id)| (*mode, *name, id.as_str())),
        );
        push(&world, &tree(&repo, &all));
        // Whether git takes such a tree is its own affair.
        let outcome = world.deploy();
        assert!(outcome.result.is_some());
        assert_eq!(
            std::fs::read_dir(&outside).unwrap().count(),
            0,
            "{outcome:?}"
        );
    }
}

#[test]
fn attributes_run_nothing_and_change_nothing() {
    let mut world = World::new(&[
        PROCFILE,
        ("a.txt", "$Format:%H$ $Id$\n"),
        (
            ".gitattributes",
            "*.txt export-subst filter=evil diff=evil merge=evil textconv=evil\n",
        ),
    ]);
    let witness = world.path().join("ran");
    let command = format!("touch {}", witness.display());
    // A repository within the repository.
    world.commit(&[
        ("bare/HEAD", "ref: refs/heads/x\n"),
        ("bare/config", &format!("[core]\n\tfsmonitor = {command}\n")),
    ]);
    // Last: the repository's own git honours them.
    for key in [
        "filter.evil.smudge",
        "filter.evil.process",
        "filter.evil.clean",
        "core.fsmonitor",
        "core.sshCommand",
    ] {
        world.git(&["config", key, &command]);
    }
    let outcome = world.deploy();
    let text = std::fs::read_to_string(outcome.release().directory.join("a.txt"));
    assert_eq!(text.unwrap(), "$Format:%H$ $Id$\n");
    assert!(!witness.exists());
}

#[test]
fn links_to_attributes_are_not_followed() {
    let mut world = World::new(&[PROCFILE, ("a.bin", "x")]);
    let attributes = world.path().join("attributes");
    std::fs::write(&attributes, "*.bin filter=lfs\n").unwrap();
    for name in [".gitattributes", ".lfsconfig"] {
        std::os::unix::fs::symlink(&attributes, world.repo().join(name)).unwrap();
    }
    world.commit(&[]);
    let outcome = world.deploy();
    let directory = &outcome.release().directory;
    assert_eq!(std::fs::read(directory.join("a.bin")).unwrap(), b"x");
    assert!(directory.join(".gitattributes").is_symlink());
    assert!(outcome.release().warnings.is_empty());
}

#[test]
fn links_in_a_commit_lead_nobody_to_what_is_behind_them() {
    let mut world = World::new(&[PROCFILE]);
    let (file, directory) = (world.path().join("file"), world.path().join("directory"));
    std::fs::create_dir(&directory).unwrap();
    for path in [&file, &directory.join("inner")] {
        std::fs::write(path, "mine").unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o640)).unwrap();
    }
    let owner = |path: &Path| {
        let found = std::fs::metadata(path).unwrap();
        (found.uid(), found.gid(), found.mode())
    };
    let all = [file.clone(), directory.clone(), directory.join("inner")];
    let before: Vec<_> = all.iter().map(|path| owner(path)).collect();
    for (name, to) in [
        ("link", &file),
        ("links", &directory),
        ("loop", &world.repo()),
    ] {
        std::os::unix::fs::symlink(to, world.repo().join(name)).unwrap();
    }
    world.commit(&[]);
    // Given to the app's user for the build, and taken back.
    world.install(&["true"]);
    let outcome = world.deploy();
    assert!(outcome.release().directory.join("links").is_symlink());
    let after: Vec<_> = all.iter().map(|path| owner(path)).collect();
    assert_eq!(before, after);
    // And so when it is removed.
    procserver::install::tree::remove(&outcome.release().directory).unwrap();
    assert!(all.iter().all(|path| path.exists()));
}
