//! Submodules: at the commits that are recorded, from where they may come from.

use std::path::{Path, PathBuf};

use procserver::install::record::Step;

use super::http_server::Http;
use super::servers::{Daemon, Listening, git};
use super::world::{World, eventually};

const PROCFILE: (&str, &str) = ("Procfile", "web: ./serve\n");

/// A repository beside the app's own.
struct Library(PathBuf);

impl Library {
    fn new(world: &World, name: &str) -> Self {
        let library = Self(world.path().join(name));
        std::fs::create_dir_all(&library.0).unwrap();
        library.git(&["init", "--quiet", "--initial-branch=master"]);
        library
    }

    fn git(&self, arguments: &[&str]) -> String {
        let output = git()
            .args(["-c", "user.name=t", "-c", "user.email=t@t"])
            .args(arguments)
            .current_dir(&self.0)
            .output()
            .unwrap();
        assert!(output.status.success(), "git {arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Commits one file.
    fn commit(&self, name: &str, text: &str) -> String {
        std::fs::write(self.0.join(name), text).unwrap();
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "-m", "x"]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Records a submodule, and commits.
    fn link(&self, path: &str, url: &str, commit: &str) -> String {
        record(&self.0, path, commit, |arguments| drop(self.git(arguments)));
        self.commit(".gitmodules", &module(path, url))
    }
}

fn record(repo: &Path, path: &str, commit: &str, git: impl Fn(&[&str])) {
    // Without its directory `git add` would take the submodule away again.
    std::fs::create_dir_all(repo.join(path)).unwrap();
    let entry = format!("160000,{commit},{path}");
    git(&["update-index", "--add", "--cacheinfo", &entry]);
}

fn module(path: &str, url: &str) -> String {
    format!("[submodule \"{path}\"]\n\tpath = {path}\n\turl = {url}\n\tupdate = !touch ran\n")
}

/// The app's repository gets this submodule as its only one.
fn link(world: &World, path: &str, url: &str, commit: &str) {
    record(&world.repo(), path, commit, |arguments| {
        drop(world.git(arguments));
    });
    world.commit(&[(".gitmodules", &module(path, url))]);
}

#[test]
fn they_are_fetched_at_their_recorded_commits_also_nested_ones() {
    let mut world = World::new(&[PROCFILE]);
    let daemon = Daemon::start(world.path());
    let (inner, outer) = (Library::new(&world, "inner"), Library::new(&world, "outer"));
    let innermost = inner.commit("i.txt", "recorded");
    inner.commit("i.txt", "newer");
    let recorded = outer.link("deep/inner", "../inner", &innermost);
    outer.commit("o.txt", "newer");
    link(&world, "vendor/outer lib", &daemon.url("outer"), &recorded);
    world.fetch_from(daemon.url("repo"));
    let outcome = world.deploy();
    let directory = outcome.release().directory.join("vendor/outer lib");
    let text = std::fs::read_to_string(directory.join("deep/inner/i.txt")).unwrap();
    assert_eq!(text, "recorded");
    assert!(!directory.join("o.txt").exists());
    for git in [".git", "deep/inner/.git"] {
        assert!(!directory.join(git).exists(), "{git}");
    }
    assert!(outcome.logged("submodule vendor/outer lib/deep/inner: "));
    assert!(
        outcome.release().warnings.is_empty(),
        "{:?}",
        outcome.release().warnings
    );
}

#[test]
fn a_redeploy_asks_only_for_what_is_new_and_unused_mirrors_go() {
    let mut world = World::new(&[PROCFILE]);
    let http = Http::start(world.path());
    let library = Library::new(&world, "lib");
    let first = library.commit("l.txt", "1");
    link(&world, "lib", "../lib", &first);
    world.fetch_from(http.url("repo"));
    let asked = |http: &Http| {
        http.requests()
            .iter()
            .filter(|r| r.contains(" /lib/"))
            .count()
    };
    world.deploy().release();
    let before = asked(&http);
    assert!(before > 0);
    world.deploy().release();
    assert_eq!(asked(&http), before);
    let second = library.commit("l.txt", "2");
    link(&world, "lib", "../lib", &second);
    let outcome = world.deploy();
    assert!(asked(&http) > before);
    let text = std::fs::read_to_string(outcome.release().directory.join("lib/l.txt"));
    assert_eq!(text.unwrap(), "2");
    assert_eq!(std::fs::read_dir(world.dirs.modules()).unwrap().count(), 1);
    world.git(&["rm", "--quiet", "--cached", "lib"]);
    std::fs::remove_dir_all(world.repo().join("lib")).unwrap();
    world.commit(&[(".gitmodules", "")]);
    assert!(!world.deploy().release().directory.join("lib").exists());
    assert_eq!(std::fs::read_dir(world.dirs.modules()).unwrap().count(), 0);
}

#[test]
fn a_damaged_mirror_of_one_is_repaired() {
    let mut world = World::new(&[PROCFILE]);
    let daemon = Daemon::start(world.path());
    let library = Library::new(&world, "lib");
    let commit = library.commit("l.txt", "content that is one object");
    link(&world, "lib", "../lib", &commit);
    world.fetch_from(daemon.url("repo"));
    world.deploy().release();
    let home = std::fs::read_dir(world.dirs.modules())
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let mirror = home.path().join("repo.git");
    let blob = library.git(&["rev-parse", "HEAD:l.txt"]);
    let object = mirror.join("objects").join(&blob[..2]).join(&blob[2..]);
    std::fs::remove_file(object).unwrap();
    let outcome = world.deploy();
    assert!(outcome.release().directory.join("lib/l.txt").exists());
    assert!(outcome.logged("damaged"), "{:?}", outcome.lines);
    std::fs::write(mirror.join("HEAD"), "rubbish").unwrap();
    world.deploy().release();
}

#[test]
fn what_was_never_pushed_is_named() {
    let mut world = World::new(&[PROCFILE]);
    let daemon = Daemon::start(world.path());
    Library::new(&world, "lib").commit("l.txt", "1");
    world.fetch_from(daemon.url("repo"));
    let nowhere = "1234567890".repeat(4);
    link(&world, "lib", "../lib", &nowhere);
    let failure = world.deploy().failure().clone();
    assert_eq!(failure.step, Step::Fetch);
    assert!(failure.reason.starts_with("submodule lib: "), "{failure:?}");
    assert!(failure.reason.contains(&nowhere));
    assert!(
        failure
            .hint
            .is_some_and(|hint| hint.contains("push the submodule's commits"))
    );
    link(&world, "lib", "../none", &nowhere);
    let failure = world.deploy().failure().clone();
    assert!(
        failure.reason.contains("submodule lib: cannot fetch"),
        "{failure:?}"
    );
    assert!(failure.reason.contains("no such repository"), "{failure:?}");
}

#[test]
fn one_on_no_branch_is_fetched_by_its_id() {
    let mut world = World::new(&[PROCFILE]);
    let daemon = Daemon::start(world.path());
    let library = Library::new(&world, "lib");
    library.commit("l.txt", "1");
    let left = library.commit("l.txt", "left");
    library.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    link(&world, "lib", "../lib", &left);
    world.fetch_from(daemon.url("repo"));
    let outcome = world.deploy();
    let text = std::fs::read_to_string(outcome.release().directory.join("lib/l.txt"));
    assert_eq!(text.unwrap(), "left");
}

#[test]
fn urls_that_would_run_something_or_read_this_disk_are_refused() {
    let mut world = World::new(&[PROCFILE]);
    let daemon = Daemon::start(world.path());
    let commit = Library::new(&world, "lib").commit("l.txt", "secret");
    let witness = world.path().join("ran");
    world.fetch_from(daemon.url("repo"));
    let lib = world.path().join("lib").display().to_string();
    for url in [
        format!("ext::touch {}", witness.display()),
        format!("--upload-pack=touch {}", witness.display()),
        format!("ssh://-oProxyCommand=touch {}/x", witness.display()),
        "ssh://-oProxyCommand=id/x".into(),
        "-oProxyCommand=id@host:x".into(),
        format!("file://{lib}"),
        lib,
        "../../../../../../etc".into(),
        "fd::3".into(),
    ] {
        link(&world, "lib", &url, &commit);
        let outcome = world.deploy();
        let failure = outcome.failure();
        assert_eq!(failure.step, Step::Fetch);
        assert!(
            failure
                .reason
                .contains("the submodule lib has a URL that is not allowed"),
            "{url}: {failure:?}"
        );
        assert!(world.left().is_empty());
    }
    assert!(!witness.exists());
}

#[test]
fn on_this_disk_only_neighbours_of_an_allowed_repository_are_taken() {
    let mut world = World::new(&[PROCFILE]);
    let commit = Library::new(&world, "lib").commit("l.txt", "1");
    link(&world, "lib", "../lib", &commit);
    assert!(
        world
            .deploy()
            .release()
            .directory
            .join("lib/l.txt")
            .exists()
    );
    let elsewhere = tempfile::tempdir().unwrap();
    link(
        &world,
        "lib",
        &format!("file://{}", elsewhere.path().display()),
        &commit,
    );
    let failure = world.deploy().failure().clone();
    assert!(
        failure.reason.contains("not beside its parent"),
        "{failure:?}"
    );
}

#[test]
fn credentials_go_to_the_repositorys_own_server_only() {
    let mut world = World::new(&[PROCFILE]);
    let (own, other) = (Http::start(world.path()), Http::start(world.path()));
    own.want("YW5uOnMzY3JldA==");
    let commit = Library::new(&world, "lib").commit("l.txt", "1");
    world.fetch_from(format!("http://ann:s3cret@{}/repo", own.address()));
    link(&world, "lib", "../lib", &commit);
    world.deploy().release();
    // One that asks is given nothing.
    other.want("YW5uOnMzY3JldA==");
    link(&world, "lib", &other.url("lib"), &commit);
    let outcome = world.deploy();
    assert!(
        outcome.failure().reason.contains("needs credentials"),
        "{outcome:?}"
    );
    let asked = other.requests();
    assert!(
        !asked.is_empty() && asked.iter().all(|request| request.ends_with(" -")),
        "{asked:?}"
    );
    // Its own, in .gitmodules, are used for it, and stay out of the log.
    other.want("Ym9iOjBwZW4h");
    link(
        &world,
        "lib",
        &format!("http://bob:0pen!@{}/lib", other.address()),
        &commit,
    );
    let outcome = world.deploy();
    outcome.release();
    assert!(!outcome.logged("0pen!"), "{:?}", outcome.lines);
}

#[test]
fn gitmodules_is_read_as_a_file_of_the_commit_and_nothing_else() {
    let mut world = World::new(&[PROCFILE]);
    let daemon = Daemon::start(world.path());
    let commit = Library::new(&world, "lib").commit("l.txt", "1");
    world.fetch_from(daemon.url("repo"));
    let asked = Listening::start(|_| {});
    let elsewhere = world.path().join("elsewhere");
    std::fs::write(
        &elsewhere,
        module("lib", &format!("git://{}/x", asked.address)),
    )
    .unwrap();
    record(&world.repo(), "lib", &commit, |arguments| {
        drop(world.git(arguments));
    });
    // What the server's own files say is not what the repository says.
    let include = format!("[include]\n\tpath = {}\n", elsewhere.display());
    world.commit(&[(".gitmodules", &include)]);
    let outcome = world.deploy();
    assert!(outcome.release().directory.join("lib").is_dir());
    assert!(
        outcome.logged("remark: lib is recorded as a submodule"),
        "{:?}",
        outcome.lines
    );
    std::fs::remove_file(world.repo().join(".gitmodules")).unwrap();
    std::os::unix::fs::symlink(&elsewhere, world.repo().join(".gitmodules")).unwrap();
    world.commit(&[]);
    assert!(world.deploy().logged("it stays empty"));
    std::fs::remove_file(world.repo().join(".gitmodules")).unwrap();
    world.commit(&[(".gitmodules", "[submodule \"x\nrubbish")]);
    let failure = world.deploy().failure().clone();
    assert!(
        failure.reason.contains(".gitmodules cannot be read"),
        "{failure:?}"
    );
}

#[test]
fn commands_in_gitmodules_do_not_run() {
    let mut world = World::new(&[PROCFILE]);
    let daemon = Daemon::start(world.path());
    let commit = Library::new(&world, "lib").commit("l.txt", "1");
    let witness = world.path().join("ran");
    world.fetch_from(daemon.url("repo"));
    record(&world.repo(), "lib", &commit, |arguments| {
        drop(world.git(arguments));
    });
    let touch = format!("!touch {}", witness.display());
    let text = format!(
        "[submodule \"../../x\"]\n\tpath = lib\n\turl = ../lib\n\tupdate = {touch}\n\tbranch = --all\n\
         [core]\n\tsshCommand = {touch}\n\tfsmonitor = {touch}\n\thooksPath = /tmp\n[alias]\n\tfetch = {touch}\n"
    );
    world.commit(&[(".gitmodules", &text)]);
    assert!(
        world
            .deploy()
            .release()
            .directory
            .join("lib/l.txt")
            .exists()
    );
    assert!(!witness.exists());
}

#[test]
fn a_chain_without_end_is_cut() {
    let mut world = World::new(&[PROCFILE]);
    let daemon = Daemon::start(world.path());
    let library = Library::new(&world, "lib");
    let mut commit = library.commit("l.txt", "1");
    for _ in 0..10 {
        commit = library.link("again", "../lib", &commit);
    }
    link(&world, "lib", "../lib", &commit);
    world.fetch_from(daemon.url("repo"));
    let failure = world.deploy().failure().clone();
    assert!(
        failure.reason.contains("nested more than 8 deep"),
        "{failure:?}"
    );
}

#[test]
fn a_server_that_is_silent_does_not_hold_a_cancelled_deploy() {
    let mut world = World::new(&[PROCFILE]);
    let daemon = Daemon::start(world.path());
    world.fetch_from(daemon.url("repo"));
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("git://{}/silent", silent.local_addr().unwrap());
    link(&world, "lib", &url, &"1234567890".repeat(4));
    let outcome = world.cancel(|line| line.starts_with("submodule lib"), true);
    assert!(outcome.result.is_none(), "{outcome:?}");
    eventually("its git is gone", || !super::world::runs(&url));
}
