//! Repositories on real servers on loopback: `git daemon`, `git http-backend`, sshd.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use procserver::document::config::Reference;
use procserver::install::deploy_key;
use procserver::install::record::Step;

use super::http_server::Http;
use super::servers::{Daemon, Listening, Sshd, has_sshd};
use super::world::{Outcome, World};

const PROCFILE: (&str, &str) = ("Procfile", "web: ./serve\n");

/// All that happens to a repository over the years.
fn live(world: &mut World) {
    let first = world.git(&["rev-parse", "HEAD"]);
    assert_eq!(world.deploy().commit.as_ref(), Some(&first));
    let second = world.commit(&[("x", "2")]);
    assert_eq!(world.deploy().commit.as_ref(), Some(&second));
    // Nothing is new.
    assert_eq!(world.deploy().commit.as_ref(), Some(&second));
    world.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    let forced = world.commit(&[("x", "3")]);
    assert_eq!(world.deploy().commit.as_ref(), Some(&forced));
    world.config.repo.reference = Reference::Tag("v1".into());
    for commit in [&first, &forced] {
        world.git(&["tag", "--force", "v1", commit]);
        assert_eq!(world.deploy().commit.as_ref(), Some(commit));
    }
    world.config.repo.reference = Reference::Commit(first[..9].into());
    assert_eq!(world.deploy().commit.as_ref(), Some(&first));
    // On no branch any more; whoever knows the whole id gets it.
    world.config.repo.reference = Reference::Commit(second.clone());
    assert_eq!(world.deploy().commit, Some(second));
    // As long as a file's name can be; and nested.
    let long = "n".repeat(240);
    let nested = format!("{long}/{long}/{long}");
    world.git(&["branch", &nested]);
    world.config.repo.reference = Reference::Branch(nested.clone());
    assert_eq!(world.deploy().commit, Some(forced));
    world.git(&["branch", "-D", &nested]);
    let failure = world.deploy().failure().clone();
    assert!(
        failure.reason.contains("does not have a branch"),
        "{failure:?}"
    );
    assert!(
        failure
            .hint
            .is_some_and(|hint| hint == "its branches: master")
    );
    std::fs::remove_dir_all(world.repo()).unwrap();
    let gone = world.deploy().failure().clone();
    assert!(gone.reason.contains("no such repository"), "{gone:?}");
    std::fs::create_dir(world.repo()).unwrap();
    world.git(&["init", "--quiet", "--initial-branch=master"]);
    let empty = world.deploy().failure().clone();
    assert!(empty.reason.contains("is empty"), "{empty:?}");
    world.config.repo.reference = Reference::Default;
    let again = world.commit(&[PROCFILE]);
    assert_eq!(world.deploy().commit, Some(again));
}

#[test]
fn over_the_git_protocol() {
    let mut world = World::new(&[PROCFILE]);
    let daemon = Daemon::start(world.path());
    world.fetch_from(daemon.url("repo"));
    live(&mut world);
}

#[test]
fn over_http() {
    let mut world = World::new(&[PROCFILE]);
    let http = Http::start(world.path());
    world.fetch_from(http.url("repo"));
    live(&mut world);
}

#[test]
fn over_ssh() {
    if !has_sshd("over ssh") {
        return;
    }
    let mut world = World::new(&[PROCFILE]);
    let sshd = Sshd::start();
    world.fetch_from(sshd.url(&world.repo()));
    let failure = world.deploy().failure().clone();
    assert!(
        failure.reason.contains("deploy key"),
        "{failure:?}\n{}",
        sshd.log()
    );
    sshd.authorize(&[&deploy_key::public(&world.dirs).unwrap()]);
    live(&mut world);
}

/// Deploys, looking at all command lines of this machine meanwhile; whether any had `secret` in it.
fn watched(world: &mut World, secret: &str) -> (Outcome, bool) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut seen = false;
            while !over.load(Ordering::Relaxed) {
                seen |= super::world::runs(secret);
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
            seen
        });
        let outcome = world.deploy();
        over.store(true, Ordering::Relaxed);
        (outcome, watcher.join().unwrap())
    })
}

#[test]
fn a_password_opens_its_repository_and_is_seen_nowhere() {
    let mut world = World::new(&[PROCFILE]);
    let http = Http::start(world.path());
    // "ann:s3cret!pw"
    http.want("YW5uOnMzY3JldCFwdw==");
    world.fetch_from(format!("http://ann:s3cret%21pw@{}/repo", http.address()));
    let (outcome, seen) = watched(&mut world, "s3cret!pw");
    outcome.release();
    assert!(!seen && !outcome.logged("s3cret"), "{:?}", outcome.lines);
    world.fetch_from(format!("http://ann:wr0ngpw@{}/repo", http.address()));
    let (outcome, seen) = watched(&mut world, "wr0ngpw");
    let failure = outcome.failure();
    assert!(failure.reason.contains("needs credentials"), "{failure:?}");
    assert!(!seen && !outcome.logged("wr0ngpw") && !format!("{failure:?}").contains("wr0ngpw"));
    world.fetch_from(http.url("repo"));
    let failure = world.deploy().failure().clone();
    assert!(failure.hint.is_some_and(|hint| hint.contains("TOKEN@")));
    // Nor is it in any file of the app's, but in the document.
    let grep = |word: &str| {
        let root = world.dirs.root().to_owned();
        let found = std::process::Command::new("grep")
            .args(["-r", word])
            .arg(root)
            .output();
        found.unwrap().stdout
    };
    for word in ["s3cret!pw", "wr0ngpw"] {
        assert!(
            grep(word).is_empty(),
            "{}",
            String::from_utf8_lossy(&grep(word))
        );
    }
}

#[test]
fn a_token_in_place_of_the_user_opens_the_repository() {
    let mut world = World::new(&[PROCFILE]);
    let http = Http::start(world.path());
    // "ghp_token:"
    http.want("Z2hwX3Rva2VuOg==");
    world.fetch_from(format!("http://ghp_token@{}/repo", http.address()));
    let outcome = world.deploy();
    outcome.release();
    assert!(!outcome.logged("ghp_token"));
}

#[test]
fn a_redirect_takes_no_password_to_another_server() {
    let mut world = World::new(&[PROCFILE]);
    let other = Http::start(world.path());
    other.want("YW5uOnMzY3JldA==");
    let to = other.url("repo");
    let redirecting = Listening::start(move |mut stream| {
        let mut head = [0; 4096];
        let length = stream.read(&mut head).unwrap_or(0);
        let head = String::from_utf8_lossy(&head[..length]).into_owned();
        let query = head
            .split(' ')
            .nth(1)
            .and_then(|target| target.split_once("/repo"));
        let rest = query.map_or("", |(_, rest)| rest);
        let answer = format!(
            "HTTP/1.1 302 Found\r\nLocation: {to}{rest}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        // The client may have gone.
        let _ = stream.write_all(answer.as_bytes());
    });
    world.fetch_from(format!("http://ann:s3cret@{}/repo", redirecting.address));
    let failure = world.deploy().failure().clone();
    assert!(failure.reason.contains("needs credentials"), "{failure:?}");
    let asked = other.requests();
    assert!(
        !asked.is_empty() && asked.iter().all(|request| request.ends_with(" -")),
        "{asked:?}"
    );
}

#[test]
fn a_connection_that_ends_in_the_middle_is_told_and_the_mirror_stays() {
    let noise: String = (0..200_000_u32)
        .map(|n| format!("{:x}", n.wrapping_mul(2_654_435_761)))
        .collect();
    let mut world = World::new(&[PROCFILE]);
    let daemon = Daemon::start(world.path());
    world.fetch_from(daemon.url("repo"));
    world.deploy().release();
    let pushed = world.commit(&[("noise", &noise)]);
    for bytes in [0, 3, 500, 20_000, 100_000] {
        daemon.cut_after(bytes);
        let outcome = world.deploy();
        let failure = outcome.failure();
        assert_eq!(failure.step, Step::Fetch);
        assert!(
            failure.reason.contains("ended the connection"),
            "{bytes}: {failure:?}"
        );
        assert!(!outcome.logged("damaged"), "{:?}", outcome.lines);
        let objects = world.dirs.mirror().join("objects/pack");
        let left = std::fs::read_dir(objects).into_iter().flatten().flatten();
        assert!(
            left.into_iter()
                .all(|e| !e.file_name().to_string_lossy().starts_with("tmp_"))
        );
    }
    daemon.cut_after(u64::MAX);
    assert_eq!(world.deploy().commit, Some(pushed));
}

#[test]
fn names_that_are_too_long_for_a_file_are_left_out() {
    let mut world = World::new(&[PROCFILE]);
    let daemon = Daemon::start(world.path());
    let commit = world.git(&["rev-parse", "HEAD"]);
    // Packed, so that no file has the name.
    let packed = format!(
        "# pack-refs with: peeled fully-peeled sorted \n{commit} refs/heads/{}\n",
        "n".repeat(400)
    );
    std::fs::write(world.repo().join(".git/packed-refs"), packed).unwrap();
    world.fetch_from(daemon.url("repo"));
    for _ in 0..2 {
        let outcome = world.deploy();
        assert_eq!(outcome.commit.as_ref(), Some(&commit), "{outcome:#?}");
        assert!(outcome.logged("names too long"), "{:?}", outcome.lines);
    }
}
