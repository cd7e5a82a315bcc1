//! A push is a deploy: it is shown, and it moves the branch when it worked.

use std::io::Write;
use std::process::Stdio;

use super::{branch, create, git, is_at, page, push, pushed, run, site, url, url_with};
use crate::access::token_of;
use crate::support::server::Server;

#[test]
fn a_push_deploys_and_shows_each_step_and_a_clone_gets_it_back() {
    let server = Server::start();
    create(&server, &site("site"));
    let repo = page("one");
    let shown = pushed(&server, "site", &repo);
    for line in [
        "remote: === fetch",
        "remote: === checkout done in ",
        "remote: === deployment 1 succeeded: release 1",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    assert_eq!(server.visit("/site/").expect(200).text(), "one");
    is_at(&server, "site", &repo.commit_id());
    let commit = repo.commit(&[("index.html", "two")]);
    pushed(&server, "site", &repo);
    assert_eq!(server.visit("/site/").expect(200).text(), "two");
    is_at(&server, "site", &commit);
    let place = tempfile::tempdir().unwrap();
    let clone = run(
        place.path(),
        &["clone", "--depth", "1", &url(&server, "site"), "clone"],
    );
    assert!(
        clone.status.success(),
        "{}",
        String::from_utf8_lossy(&clone.stderr)
    );
    let page = std::fs::read_to_string(place.path().join("clone/index.html")).unwrap();
    assert_eq!(page, "two");
    // The branch is what a redeploy deploys.
    server.act("site", "rollback").expect(200);
    server.act("site", "redeploy").expect(200);
    is_at(&server, "site", &commit);
}

#[test]
fn a_deploy_that_fails_refuses_the_push_with_its_reason_and_leaves_all_as_it_was() {
    let server = Server::start();
    create(&server, &site("site"));
    let repo = page("good");
    pushed(&server, "site", &repo);
    let good = repo.commit_id();
    repo.commit(&[
        ("Procfile", "web: echo it is broken >&2; exit 3\n"),
        ("index.html", "bad"),
    ]);
    let (worked, shown) = push(&server, "site", &repo, "main");
    assert!(!worked, "{shown}");
    for part in [
        "remote rejected",
        "not deployed: start: web.1 ended with exit code 3",
        "it is broken",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert_eq!(server.visit("/site/").expect(200).text(), "good");
    is_at(&server, "site", &good);
    std::fs::remove_file(repo.path().join("Procfile")).unwrap();
    let mended = repo.commit(&[("index.html", "mended")]);
    pushed(&server, "site", &repo);
    is_at(&server, "site", &mended);
    // Going back is a push, too.
    let (worked, shown) = push(&server, "site", &repo, &format!("+{good}:main"));
    assert!(worked, "{shown}");
    assert_eq!(server.visit("/site/").expect(200).text(), "good");
    is_at(&server, "site", &good);
}

#[test]
fn one_branch_is_deployed_tags_are_kept_and_all_else_is_refused() {
    let server = Server::start();
    create(&server, &site("site"));
    let repo = page("one");
    let refused = |refspec: &str, says: &str| {
        let (worked, shown) = push(&server, "site", &repo, refspec);
        assert!(!worked && shown.contains(says), "{refspec}: {shown}");
    };
    refused("main:other", "only main is deployed here");
    assert_eq!(branch(&server, "site"), None);
    pushed(&server, "site", &repo);
    refused("main:refs/notes/a", "only branches and tags");
    refused("main:refs/procserver/a", "rejected");
    refused(":main", "cannot be deleted");
    repo.tag("v1");
    let (worked, shown) = push(&server, "site", &repo, "v1");
    assert!(worked, "{shown}");
    let listed = run(repo.path(), &["ls-remote", &url(&server, "site")]);
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(
        listed.contains("refs/tags/v1") && !listed.contains("other"),
        "{listed}"
    );
    is_at(&server, "site", &repo.commit_id());
}

#[test]
fn of_an_atomic_push_nothing_is_deployed_where_one_ref_is_refused() {
    let server = Server::start();
    create(&server, &site("site"));
    let repo = page("one");
    repo.tag("v1");
    let push = |refspecs: &[&str]| {
        let url = url(&server, "site");
        let words = [&["push", "--atomic", &url][..], refspecs].concat();
        let output = run(repo.path(), &words);
        let shown = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), shown)
    };
    let (worked, shown) = push(&["main", "v1", "main:other"]);
    assert!(
        !worked && shown.contains("only main is deployed"),
        "{shown}"
    );
    assert!(shown.contains("--atomic wants all or none"), "{shown}");
    assert_eq!(branch(&server, "site"), None);
    assert_eq!(server.status("site")["state"], "empty");
    let (worked, shown) = push(&["main", "v1"]);
    assert!(worked, "{shown}");
    is_at(&server, "site", &repo.commit_id());
}

#[test]
fn more_than_a_thousand_tags_are_pushed_at_once() {
    let server = Server::start();
    create(&server, &site("site"));
    let repo = page("one");
    let id = repo.commit_id();
    let lines = (0..1100).map(|number| format!("create refs/tags/t{number} {id}\n"));
    let mut update = git(repo.path(), &["update-ref", "--stdin"]);
    let mut update = update.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = update.stdin.take().unwrap();
    let lines: String = lines.collect();
    stdin.write_all(lines.as_bytes()).unwrap();
    drop(stdin);
    assert!(update.wait().unwrap().success());
    let (worked, shown) = push(&server, "site", &repo, "--tags");
    assert!(worked, "{shown}");
    pushed(&server, "site", &repo);
}

#[test]
fn too_many_refs_at_once_are_refused_with_what_to_do() {
    let server = Server::start();
    create(&server, &site("site"));
    let repo = page("one");
    pushed(&server, "site", &repo);
    let (zeros, id) = ("0".repeat(40), repo.commit_id());
    let mut body = Vec::new();
    for number in 0..10_001 {
        let wish = match number {
            0 => format!("{zeros} {id} refs/tags/t0\0 report-status side-band-64k"),
            _ => format!("{zeros} {id} refs/tags/t{number}"),
        };
        body.extend(format!("{:04x}{wish}", wish.len() + 4).bytes());
    }
    body.extend(b"0000PACK\0\0\0\x02\0\0\0\0");
    // The SHA-1 of these twelve bytes.
    body.extend(
        b"\x02\x9d\x08\x82\x3b\xd8\xa8\xea\xb5\x10\xad\x6a\xc7\x5c\x82\x3c\xfd\x3e\xd3\x1e",
    );
    let request = server.request("POST", "/git/site.git/git-receive-pack");
    let told = request.body(body).send(&server.public()).expect(200);
    let told = told.text();
    let first: String = told.chars().take(500).collect();
    assert!(told.contains("too many branches and tags"), "{first}");
    assert!(!told.contains("ok refs/tags/"), "{first}");
    pushed(&server, "site", &repo);
}

#[test]
fn a_push_takes_a_token_that_may_deploy_and_an_app_that_is_pushed_to() {
    let server = Server::start();
    create(&server, &site("site"));
    let repo = page("one");
    let deploy = token_of(&server, "deploy");
    let read = token_of(&server, "read");
    let shown = |app: &str, token: &str| {
        let url = url_with(&server, app, token);
        let output = run(repo.path(), &["push", &url, "main"]);
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let told = shown("site", "wrong");
    assert!(told.contains("The token is not this server's"), "{told}");
    let told = shown("site", &read);
    assert!(
        told.contains("This needs a token with the scope \"deploy\""),
        "{told}"
    );
    let told = shown("none", &deploy);
    assert!(told.contains("there is no application \"none\""), "{told}");
    let fetched = crate::support::fixture::web_repo("1");
    server.deploy(&crate::support::fixture::document("fetched", &fetched));
    let told = shown("fetched", &deploy);
    assert!(told.contains("comes from repo.url"), "{told}");
    assert_eq!(branch(&server, "site"), None);
    let told = shown("site", &deploy);
    assert!(told.contains("main -> main"), "{told}");
    is_at(&server, "site", &repo.commit_id());
}
