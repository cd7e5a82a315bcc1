//! Which commit is taken, and how it lies in the release.

use std::os::unix::fs::symlink;

use procserver::document::config::{Reference, StaticFiles};
use procserver::install::record::Step;

use super::http_server::Http;
use super::world::World;

const PROCFILE: (&str, &str) = ("Procfile", "web: ./serve\n");

#[test]
fn a_release_is_the_commit_without_git() {
    let mut world = World::new(&[PROCFILE, ("a/b.txt", "one")]);
    let commit = world.git(&["rev-parse", "HEAD"]);
    let outcome = world.deploy();
    let release = outcome.release();
    assert_eq!(outcome.started, [Step::Fetch, Step::Checkout]);
    assert_eq!(outcome.finished, outcome.started);
    assert_eq!(outcome.commit.as_ref(), Some(&commit));
    assert_eq!(release.record.commit, commit);
    assert_eq!(release.procfile.command("web"), Some("./serve"));
    assert_eq!(
        std::fs::read(release.directory.join("a/b.txt")).unwrap(),
        b"one"
    );
    assert!(!release.directory.join(".git").exists());
    assert_eq!(world.left(), ["1", "1.json"]);
    assert!(outcome.logged("=== fetch") && outcome.logged("$ git fetch"));
    assert!(outcome.logged("exit code 0 after"));
}

#[test]
fn a_push_a_forced_push_and_a_renamed_branch_are_followed() {
    let mut world = World::new(&[PROCFILE]);
    world.deploy();
    let second = world.commit(&[("x", "2")]);
    assert_eq!(world.deploy().commit, Some(second));
    world.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    let forced = world.commit(&[("x", "3")]);
    assert_eq!(world.deploy().commit, Some(forced));
    // A branch in place of a directory of branches.
    world.git(&["branch", "topic"]);
    world.config.repo.reference = Reference::Branch("topic".into());
    world.deploy().release();
    world.git(&["branch", "--move", "topic", "topic/one"]);
    world.config.repo.reference = Reference::Branch("topic/one".into());
    world.deploy().release();
}

#[test]
fn without_master_the_remotes_own_default_is_taken() {
    let mut world = World::new(&[PROCFILE]);
    world.git(&["branch", "--move", "master", "trunk"]);
    let commit = world.git(&["rev-parse", "HEAD"]);
    world.git(&["branch", "another"]);
    assert_eq!(world.deploy().commit, Some(commit));
}

#[test]
fn a_master_beside_another_default_is_taken_and_warned_of() {
    let mut world = World::new(&[PROCFILE]);
    let master = world.git(&["rev-parse", "HEAD"]);
    world.git(&["checkout", "--quiet", "-b", "main"]);
    let same = world.deploy();
    assert_eq!(same.release().record.warnings, [] as [String; 0]);
    let main = world.commit(&[("x", "2")]);
    let stale = world.deploy();
    assert_eq!(stale.commit, Some(master));
    let told = stale.release().record.warnings.concat();
    assert!(told.contains("default is main"), "{told}");
    assert!(told.contains("set repo.branch to"), "{told}");
    world.config.repo.reference = Reference::Branch("main".into());
    let chosen = world.deploy();
    assert_eq!(chosen.commit, Some(main));
    assert!(chosen.release().record.warnings.is_empty());
}

#[test]
fn a_shallow_clone_is_a_source_and_what_it_lacks_is_told() {
    let mut world = World::new(&[PROCFILE]);
    let old = world.git(&["rev-parse", "HEAD"]);
    let newest = world.commit(&[("x", "2")]);
    let (full, shallow) = (world.url(), world.path().join("shallow"));
    let place = shallow.display().to_string();
    world.git(&["clone", "--quiet", "--depth", "1", &full, &place]);
    world.fetch_from(format!("file://{place}"));
    for _ in 0..2 {
        assert_eq!(world.deploy().commit.as_ref(), Some(&newest));
    }
    world.config.repo.reference = Reference::Commit(old);
    let outcome = world.deploy();
    let hint = outcome.failure().hint.clone().unwrap_or_default();
    assert!(hint.contains("the repository is shallow"), "{hint}");
    let http = Http::start(world.path());
    world.fetch_from(http.url("shallow/.git"));
    world.config.repo.reference = Reference::Default;
    assert_eq!(world.deploy().commit, Some(newest));
}

#[test]
fn a_repository_with_sha256_is_followed() {
    let mut world = World::new(&[PROCFILE]);
    std::fs::remove_dir_all(world.repo().join(".git")).unwrap();
    world.git(&[
        "init",
        "--quiet",
        "--initial-branch=main",
        "--object-format=sha256",
    ]);
    let first = world.commit(&[PROCFILE]);
    assert_eq!(first.len(), 64);
    assert_eq!(world.deploy().commit.as_ref(), Some(&first));
    let second = world.commit(&[("x", "2")]);
    assert_eq!(world.deploy().commit.as_ref(), Some(&second));
    for id in [first.clone(), first[..50].to_owned(), first[..8].to_owned()] {
        world.config.repo.reference = Reference::Commit(id);
        assert_eq!(world.deploy().commit.as_ref(), Some(&first));
    }
    let http = Http::start(world.path());
    world.fetch_from(http.url("repo/.git"));
    world.config.repo.reference = Reference::Default;
    assert_eq!(world.deploy().commit, Some(second));
}

#[test]
fn files_that_git_crypt_has_encrypted_are_told_of() {
    let rules =
        "*.key filter=git-crypt diff=git-crypt\nb filter=git-crypt-two\nplain filter=git-crypt\n";
    let files = [
        PROCFILE,
        (".gitattributes", rules),
        ("a/x.key", "\0GITCRYPT\0abc"),
        ("b", "\0GITCRYPT\0def"),
        ("plain", "x"),
    ];
    let mut world = World::new(&files);
    let outcome = world.deploy();
    let told = outcome.release().record.warnings.concat();
    assert!(
        told.starts_with("2 files, a/x.key among them, are encrypted"),
        "{told}"
    );
    assert!(outcome.logged("remark: 2 files"));
}

#[test]
fn a_link_out_of_what_is_served_is_told_of() {
    let mut world = World::new(&[PROCFILE, ("public/page", "x")]);
    symlink("page", world.repo().join("public/same")).unwrap();
    symlink("../Procfile", world.repo().join("public/out")).unwrap();
    world.commit(&[]);
    world.config.static_files = Some(StaticFiles {
        dir: "public".into(),
        prefix: "/".into(),
        spa: false,
        cache_control: None,
    });
    let outcome = world.deploy();
    let told = outcome.release().record.warnings.concat();
    assert!(told.contains("out is a link out of public"), "{told}");
}

#[test]
fn tags_and_commits_are_found_by_what_they_are() {
    let mut world = World::new(&[PROCFILE]);
    let old = world.git(&["rev-parse", "HEAD"]);
    world.git(&["tag", "--annotate", "-m", "t", "v1"]);
    let new = world.commit(&[("x", "2")]);
    world.config.repo.reference = Reference::Tag("v1".into());
    assert_eq!(world.deploy().commit.as_ref(), Some(&old));
    world.config.repo.reference = Reference::Commit(old[..8].to_uppercase());
    // A branch that is called like the abbreviation leads nobody astray.
    world.git(&["branch", &old[..8], &new]);
    assert_eq!(world.deploy().commit.as_ref(), Some(&old));
    world.config.repo.reference = Reference::Commit(new.clone());
    assert_eq!(world.deploy().commit, Some(new));
}

#[test]
fn another_url_is_another_mirror() {
    let mut world = World::new(&[PROCFILE]);
    let first = world.deploy().commit.unwrap();
    let moved = world.path().join("moved");
    std::fs::rename(world.repo(), &moved).unwrap();
    std::fs::create_dir(world.repo()).unwrap();
    world.git(&["init", "--quiet", "--initial-branch=master"]);
    let other = world.commit(&[PROCFILE, ("other", "x")]);
    // The same place, another history.
    assert_eq!(world.deploy().commit.as_ref(), Some(&other));
    world.fetch_from(format!("file://{}", moved.display()));
    assert_eq!(world.deploy().commit, Some(first));
    world.config.repo.reference = Reference::Commit(other);
    assert_eq!(world.deploy().failure().step, Step::Fetch);
}

#[test]
fn a_damaged_mirror_is_made_anew() {
    let mut world = World::new(&[PROCFILE]);
    let commit = world.deploy().commit;
    let mirror = world.dirs.mirror();
    for damage in ["HEAD", "config", "packed-refs", "refs", "objects"] {
        let path = mirror.join(damage);
        if path.is_dir() {
            std::fs::remove_dir_all(&path).unwrap();
        }
        std::fs::write(&path, "rubbish\u{0}").unwrap();
        let outcome = world.deploy();
        outcome.release();
        assert_eq!(outcome.commit, commit, "{damage}");
    }
    // What a kill -9 in the middle of a git leaves.
    std::fs::write(mirror.join("packed-refs.lock"), "").unwrap();
    std::fs::create_dir_all(mirror.join("refs/heads")).unwrap();
    std::fs::write(mirror.join("refs/heads/master.lock"), "").unwrap();
    let pushed = world.commit(&[("y", "1")]);
    assert_eq!(world.deploy().commit, Some(pushed));
}

#[test]
fn a_lost_object_is_fetched_again() {
    let mut world = World::new(&[PROCFILE, ("x", "content that is one object")]);
    let blob = world.git(&["rev-parse", "HEAD:x"]);
    let commit = world.deploy().commit;
    let (kind, rest) = blob.split_at(2);
    let lost = world.dirs.mirror().join("objects").join(kind).join(rest);
    std::fs::remove_file(&lost).unwrap();
    let outcome = world.deploy();
    outcome.release();
    assert_eq!(outcome.commit, commit);
    std::fs::remove_dir_all(world.dirs.mirror().join("objects")).unwrap();
    world.deploy().release();
}

#[test]
fn links_stay_links_and_nothing_behind_them_is_touched() {
    let mut world = World::new(&[PROCFILE]);
    let outside = world.path().join("outside");
    std::fs::write(&outside, "mine").unwrap();
    symlink(&outside, world.repo().join("link")).unwrap();
    world.commit(&[]);
    let outcome = world.deploy();
    assert!(outcome.release().directory.join("link").is_symlink());
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(&outside).unwrap().permissions(),
    );
    assert_ne!(mode & 0o200, 0);
}

#[test]
fn hooks_and_filters_of_the_repository_do_not_run() {
    let mut world = World::new(&[
        PROCFILE,
        (".gitattributes", "*.txt filter=evil\n"),
        ("a.txt", "x"),
    ]);
    let witness = world.path().join("ran");
    let command = format!("touch {}", witness.display());
    world.git(&["config", "filter.evil.smudge", &command]);
    world.git(&["config", "uploadpack.packObjectsHook", &command]);
    world.deploy().release();
    assert!(!witness.exists());
}
