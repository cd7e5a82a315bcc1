//! A mirror that was damaged is repaired by the next deploy, which says so; and it does not grow for ever.

use std::io::Write;
use std::path::{Path, PathBuf};

use procserver::install::record::Step;

use super::servers::{Daemon, Listening};
use super::world::World;

const PROCFILE: (&str, &str) = ("Procfile", "web: ./serve\n");

/// More objects than are unpacked one by one (`fetch.unpackLimit`), so that they come as a pack.
fn many_files(world: &World, version: &str) -> String {
    let names: Vec<String> = (0..120).map(|n| format!("f{n}")).collect();
    let texts: Vec<String> = (0..120).map(|n| format!("{version} {n}")).collect();
    let files = names.iter().zip(&texts);
    let files: Vec<(&str, &str)> = files.map(|(n, t)| (n.as_str(), t.as_str())).collect();
    world.commit(&files)
}

fn packs(mirror: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(mirror.join("objects/pack"))
        .into_iter()
        .flatten()
        .flatten();
    entries
        .map(|e| e.path())
        .filter(|path| path.extension().is_some_and(|e| e == ending))
        .collect()
}

fn writable(path: &Path) {
    let mode: std::fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(path, mode).unwrap();
}

/// Damages a mirror that has a pack, and deploys what is there already, then something new.
#[track_caller]
fn repaired(damage: impl Fn(&Path)) {
    let mut world = World::new(&[PROCFILE]);
    let commit = many_files(&world, "1");
    world.deploy().release();
    damage(&world.dirs.mirror());
    let outcome = world.deploy();
    assert_eq!(outcome.release().record.commit, commit);
    assert!(outcome.release().directory.join("f7").exists());
    assert!(outcome.logged("mirror was"), "{:#?}", outcome.lines);
    assert!(!world.deploy().logged("mirror was"));
    damage(&world.dirs.mirror());
    let pushed = many_files(&world, "2");
    let outcome = world.deploy();
    assert_eq!(outcome.release().record.commit, pushed);
    assert!(outcome.logged("mirror was"), "{:#?}", outcome.lines);
}

#[test]
fn a_truncated_pack() {
    repaired(|mirror| {
        for pack in packs(mirror, "pack") {
            writable(&pack);
            let file = std::fs::File::options().write(true).open(&pack).unwrap();
            file.set_len(file.metadata().unwrap().len() / 2).unwrap();
        }
        for index in packs(mirror, "rev") {
            std::fs::remove_file(index).unwrap();
        }
    });
}

#[test]
fn a_lost_pack() {
    repaired(|mirror| {
        for pack in packs(mirror, "pack") {
            std::fs::remove_file(pack).unwrap();
        }
    });
}

#[test]
fn a_pack_with_wrong_bytes_in_it() {
    repaired(|mirror| {
        for pack in packs(mirror, "pack") {
            writable(&pack);
            let mut bytes = std::fs::read(&pack).unwrap();
            let middle = bytes.len() / 2;
            bytes[12..middle].fill(0x5a);
            std::fs::write(&pack, bytes).unwrap();
        }
    });
}

#[test]
fn a_lost_index_of_a_pack() {
    repaired(|mirror| {
        for index in packs(mirror, "idx") {
            std::fs::remove_file(index).unwrap();
        }
    });
}

#[test]
fn rubbish_for_head() {
    repaired(|mirror| std::fs::write(mirror.join("HEAD"), "rubbish\n").unwrap());
}

#[test]
fn a_file_in_its_place() {
    repaired(|mirror| {
        std::fs::remove_dir_all(mirror).unwrap();
        std::fs::write(mirror, "rubbish").unwrap();
    });
}

#[test]
fn a_link_in_its_place_and_what_it_leads_to_stays() {
    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::write(elsewhere.path().join("mine.lock"), "x").unwrap();
    let to = elsewhere.path().to_owned();
    repaired(move |mirror| {
        procserver::install::tree::remove(mirror).unwrap();
        std::os::unix::fs::symlink(&to, mirror).unwrap();
    });
    assert!(elsewhere.path().join("mine.lock").exists());
}

#[test]
fn lost_refs() {
    repaired(|mirror| std::fs::remove_dir_all(mirror.join("refs")).unwrap());
}

#[test]
fn a_ref_that_leads_to_nothing() {
    repaired(|mirror| {
        std::fs::create_dir_all(mirror.join("refs/heads")).unwrap();
        std::fs::write(
            mirror.join("refs/heads/master"),
            "1234567890".repeat(4) + "\n",
        )
        .unwrap();
    });
}

#[test]
fn an_empty_configuration() {
    repaired(|mirror| std::fs::write(mirror.join("config"), "").unwrap());
}

#[test]
fn locks_of_a_git_that_was_killed() {
    repaired(|mirror| {
        std::fs::create_dir_all(mirror.join("refs/heads")).unwrap();
        for lock in [
            "HEAD.lock",
            "config.lock",
            "packed-refs.lock",
            "shallow.lock",
            "index.lock",
            "procserver-index.lock",
            "refs/heads/master.lock",
        ] {
            std::fs::write(mirror.join(lock), "").unwrap();
        }
    });
}

#[test]
fn another_url_in_its_configuration() {
    let mut world = World::new(&[PROCFILE]);
    let commit = world.deploy().commit;
    let config = world.dirs.mirror().join("config");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("file://", "https://")).unwrap();
    let outcome = world.deploy();
    assert_eq!(outcome.commit, commit);
    assert!(outcome.logged("of another URL"), "{:?}", outcome.lines);
}

#[test]
fn a_good_one_is_kept_when_no_other_can_be_fetched() {
    let mut world = World::new(&[PROCFILE]);
    let commit = world.deploy().commit;
    let good = world.url();
    let witness = world.dirs.mirror().join("witness");
    std::fs::write(&witness, "").unwrap();
    // What no server says, so that it is not known whose fault it is; and a slip in the URL.
    let odd = Listening::start(|mut stream| drop(stream.write_all(b"what?")));
    for url in [
        format!("git://{}/repo", odd.address),
        format!("{good}-none"),
    ] {
        world.fetch_from(url);
        assert_eq!(world.deploy().failure().step, Step::Fetch);
        assert!(witness.exists());
    }
    world.fetch_from(good);
    assert_eq!(world.deploy().commit, commit);
    assert!(witness.exists());
}

#[test]
fn a_mirror_stays_small_over_many_deploys_and_forced_pushes() {
    let mut world = World::new(&[PROCFILE]);
    let daemon = Daemon::start(world.path());
    world.fetch_from(daemon.url("repo"));
    let mut packed = false;
    for n in 0..18 {
        many_files(&world, &format!("version {n}"));
        if n > 0 {
            // History is written anew each time: what was there is of no use.
            world.git(&["reset", "--quiet", "--soft", "HEAD~1"]);
            world.git(&["commit", "--quiet", "--amend", "-m", "again"]);
        }
        let outcome = world.deploy();
        outcome.release();
        packed |= outcome.logged("$ git gc");
        assert!(packs(&world.dirs.mirror(), "pack").len() <= 14);
    }
    assert!(packed);
    assert!(!super::world::runs(
        &world.dirs.mirror().display().to_string()
    ));
    // Of 18 versions no more than those since it was packed last are there.
    let counted = std::process::Command::new("git")
        .args(["count-objects", "-v"])
        .env("GIT_DIR", world.dirs.mirror())
        .output()
        .unwrap();
    let text = String::from_utf8(counted.stdout).unwrap();
    let number = |name: &str| -> u64 {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap();
        line.trim().parse().unwrap()
    };
    assert!(number("in-pack:") + number("count:") < 8 * 122, "{text}");
}
