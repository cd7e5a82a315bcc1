//! What is pushed to a server does not grow for ever, and nothing is lost that somebody may still want.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::{branch, create, is_at, page, pushed, run, site, url};
use crate::support::repo::Repo;
use crate::support::server::Server;
use crate::support::wait::{SOON, eventually};

/// Bytes of a commit of [`noise`].
const NOISE: usize = 3 << 20;

/// Bytes that git cannot make smaller, other ones for each `seed`.
pub(crate) fn noise(mut seed: u64, length: usize) -> Vec<u8> {
    let next = std::iter::repeat_with(|| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        seed.to_be_bytes()[0]
    });
    next.take(length).collect()
}

fn mirror(server: &Server, app: &str) -> PathBuf {
    server.directory().join("apps").join(app).join("repo.git")
}

/// Bytes of all objects of an application's repository on the server.
pub(crate) fn bytes(server: &Server, app: &str) -> u64 {
    fn below(directory: &Path) -> u64 {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        let sizes = entries.map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => below(&entry.path()),
            Ok(found) => found.len(),
            // git has just removed it.
            Err(_) => 0,
        });
        sizes.sum()
    }
    below(&mirror(server, app).join("objects"))
}

/// git in that repository, as root.
fn in_mirror(server: &Server, app: &str, arguments: &[&str]) -> (bool, String) {
    let path = mirror(server, app);
    let all = [&["-c", "safe.directory=*"], arguments].concat();
    let output = run(&path, &all);
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

/// All that refs lead to is there, and so are the commits of all kept releases with their files.
#[track_caller]
pub(crate) fn is_whole(server: &Server, app: &str) {
    let (is_sound, told) = in_mirror(server, app, &["fsck", "--full"]);
    assert!(is_sound, "{told}");
    let releases = server.get(&format!("/applications/{app}/releases"));
    let releases = releases.expect(200).json();
    for release in releases.as_array().unwrap() {
        let commit = release["commit"].as_str().unwrap();
        let (is_there, told) =
            in_mirror(server, app, &["rev-list", "--objects", "--quiet", commit]);
        assert!(is_there, "{commit}: {told}");
    }
}

/// Replaces the only commit of `repo` by one with other noise.
fn replace(repo: &Repo, seed: u64) {
    std::fs::write(repo.path().join("noise"), noise(seed, NOISE)).unwrap();
    std::fs::write(repo.path().join("index.html"), seed.to_string()).unwrap();
    for arguments in [&["add", "."][..], &["commit", "-q", "--amend", "-m", "new"]] {
        assert!(run(repo.path(), arguments).status.success());
    }
}

/// Pushes it by force.
#[track_caller]
fn forced(server: &Server, app: &str, repo: &Repo, refspec: &str) -> bool {
    let refspec = format!("+{refspec}");
    let output = run(repo.path(), &["push", &url(server, app), &refspec]);
    output.status.success()
}

#[test]
fn what_forced_and_refused_pushes_leave_goes_and_kept_releases_stay() {
    let server = Server::start();
    let mut document = site("site");
    document["keep_releases"] = json!(2);
    create(&server, &document);
    let repo = page("0");
    replace(&repo, 100);
    assert!(forced(&server, "site", &repo, "main"));
    let tagged = repo.commit_id();
    pushed_tag(&server, &repo);
    let mut commits = Vec::new();
    for seed in 1..=6 {
        replace(&repo, seed);
        assert!(forced(&server, "site", &repo, "main"));
        commits.push(repo.commit_id());
        // It is refused, but it has come.
        replace(&repo, 50 + seed);
        assert!(!forced(&server, "site", &repo, "main:other"));
    }
    // Thirteen times the noise has come. Two releases and the tag are kept.
    let most = 8 * NOISE as u64;
    eventually("the rest is gone", 6 * SOON, || {
        (bytes(&server, "site") < most).then_some(())
    });
    is_at(&server, "site", &commits[5]);
    is_whole(&server, "site");
    let (has_tag, told) = in_mirror(&server, "site", &["rev-parse", "v1^{commit}"]);
    assert!(has_tag && told.trim() == tagged, "{told}");
    server.act("site", "rollback").expect(200);
    assert_eq!(server.visit("/site/").expect(200).text(), "5");
    server.act("site", "redeploy").expect(200);
    assert_eq!(server.visit("/site/").expect(200).text(), "6");
    let place = tempfile::tempdir().unwrap();
    let clone = run(place.path(), &["clone", &url(&server, "site"), "clone"]);
    assert!(clone.status.success());
    assert!(
        run(repo.path(), &["reset", "-q", "--hard", &commits[5]])
            .status
            .success()
    );
    let last = repo.commit(&[("index.html", "last")]);
    pushed(&server, "site", &repo);
    is_at(&server, "site", &last);
}

#[track_caller]
fn pushed_tag(server: &Server, repo: &Repo) {
    assert!(run(repo.path(), &["tag", "v1"]).status.success());
    let output = run(repo.path(), &["push", &url(server, "site"), "v1"]);
    assert!(output.status.success());
}

/// Pushes so much that the mirror is packed, to a server that is killed at `failpoint`, and starts it again.
fn killed_at(failpoint: &str) {
    let mut server = Server::start();
    create(&server, &site("site"));
    let repo = page("0");
    for seed in 1..=2 {
        replace(&repo, seed);
        assert!(forced(&server, "site", &repo, "main"));
    }
    server.arm_kill(failpoint);
    replace(&repo, 3);
    // The client may hear of the deploy, or not.
    let _ = forced(&server, "site", &repo, "main");
    server.wait_for_death();
    let packs = mirror(&server, "site").join("objects/pack");
    let half = packs.join(".tmp-1-pack-1.pack");
    std::fs::write(&half, "x").unwrap();
    server.start_again();
    eventually("it runs again", 3 * SOON, || {
        (server.status("site")["state"] == "running").then_some(())
    });
    assert!(!half.exists());
    is_at(&server, "site", &repo.commit_id());
    is_whole(&server, "site");
    server.act("site", "rollback").expect(200);
    server.act("site", "redeploy").expect(200);
    assert_eq!(server.visit("/site/").expect(200).text(), "3");
    for seed in 4..=8 {
        replace(&repo, seed);
        assert!(forced(&server, "site", &repo, "main"));
    }
    is_whole(&server, "site");
    assert_eq!(branch(&server, "site"), Some(repo.commit_id()));
}

#[test]
fn a_server_that_is_killed_before_it_packs_loses_nothing() {
    killed_at("before the mirror is packed");
}

#[test]
fn a_server_that_is_killed_after_it_has_packed_loses_nothing() {
    killed_at("after the mirror is packed");
}
