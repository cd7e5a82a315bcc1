//! Git LFS: what is served is the content, or it is said that it is not.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use procserver::install::deploy_key;
use procserver::install::record::Step;
use sha2::{Digest, Sha256};

use super::hidden::server_without;
use super::http_server::Http;
use super::servers::{Sshd, has_sshd};
use super::world::World;
use crate::support::fixture::{document, web_files};
use crate::support::machine::skip;
use crate::support::repo::Repo;

const PROCFILE: (&str, &str) = ("Procfile", "web: ./serve\n");
const ATTRIBUTES: (&str, &str) = (
    ".gitattributes",
    "*.bin filter=lfs diff=lfs merge=lfs -text\n",
);

fn id(content: &str) -> String {
    let digest = Sha256::digest(content.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn pointer(content: &str) -> String {
    let (id, size) = (id(content), content.len());
    format!("version https://git-lfs.github.com/spec/v1\noid sha256:{id}\nsize {size}\n")
}

fn is_installed() -> bool {
    ["/usr/local/bin", "/usr/bin", "/bin"]
        .iter()
        .any(|d| Path::new(d).join("git-lfs").exists())
}

/// An app on a server that has Git LFS; `None`: git-lfs is not installed, which is said.
fn with_lfs(test: &str, files: &[(&str, &str)]) -> Option<(World, Http)> {
    if !is_installed() {
        skip(test, "there is no git-lfs here: apt-get install git-lfs");
        return None;
    }
    let mut world = World::new(&[PROCFILE, ATTRIBUTES]);
    world.commit(files);
    let http = Http::start(world.path());
    world.fetch_from(http.url("repo"));
    std::fs::create_dir(world.path().join("lfs-objects")).unwrap();
    Some((world, http))
}

fn upload(http: &Http, content: &str) {
    std::fs::write(http.object(&id(content)), content).unwrap();
}

fn downloads(http: &Http) -> usize {
    let requests = http.requests();
    requests
        .iter()
        .filter(|request| request.contains(" /lfs-objects/"))
        .count()
}

#[test]
fn pointers_are_replaced_by_what_they_point_to() {
    let (first, second) = (pointer("content one"), pointer("content two"));
    let files = [
        ("a.bin", first.as_str()),
        ("d e/b.bin", &second),
        ("c.txt", &first),
    ];
    let Some((mut world, http)) = with_lfs("pointers are replaced", &files) else {
        return;
    };
    let mode: std::fs::Permissions = PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(world.repo().join("a.bin"), mode).unwrap();
    world.commit(&[]);
    upload(&http, "content one");
    upload(&http, "content two");
    let outcome = world.deploy();
    let read =
        |name: &str| std::fs::read_to_string(outcome.release().directory.join(name)).unwrap();
    assert_eq!(
        (read("a.bin").as_str(), read("d e/b.bin").as_str()),
        ("content one", "content two")
    );
    // It is no file of LFS, whatever it looks like.
    assert_eq!(read("c.txt"), first);
    let mode = std::fs::metadata(outcome.release().directory.join("a.bin")).unwrap();
    assert_ne!(mode.permissions().mode() & 0o100, 0);
    assert!(outcome.release().warnings.is_empty());
    assert!(
        outcome.logged("2 files from Git LFS"),
        "{:?}",
        outcome.lines
    );
    // A redeploy has them already; what is not needed any more goes.
    let before = downloads(&http);
    world.deploy().release();
    assert_eq!(downloads(&http), before);
    std::fs::remove_dir_all(world.repo().join("d e")).unwrap();
    world.commit(&[]);
    world.deploy().release();
    let stored = |content: &str| {
        let id = id(content);
        let store = world.dirs.mirror().join("lfs/objects");
        store.join(&id[..2]).join(&id[2..4]).join(&id)
    };
    assert!(stored("content one").exists() && !stored("content two").exists());
    // One that is damaged in the mirror is fetched again.
    std::fs::write(stored("content one"), "rubbish 123").unwrap();
    let outcome = world.deploy();
    let text = std::fs::read_to_string(outcome.release().directory.join("a.bin"));
    assert_eq!(text.unwrap(), "content one");
    assert_eq!(downloads(&http), before + 1);
}

#[test]
fn a_password_opens_lfs_too_and_is_in_no_log() {
    let text = pointer("content");
    let Some((mut world, http)) = with_lfs("a password opens LFS", &[("a.bin", &text)]) else {
        return;
    };
    upload(&http, "content");
    http.want("YW5uOnMzY3JldA==");
    world.fetch_from(format!("http://ann:s3cret@{}/repo", http.address()));
    let outcome = world.deploy();
    let text = std::fs::read_to_string(outcome.release().directory.join("a.bin"));
    assert_eq!(text.unwrap(), "content");
    assert!(!outcome.logged("s3cret"));
}

#[test]
fn what_was_never_pushed_fails_the_deploy() {
    let text = pointer("content");
    let Some((mut world, _http)) = with_lfs("what was never pushed", &[("a.bin", &text)]) else {
        return;
    };
    let failure = world.deploy().failure().clone();
    assert_eq!(failure.step, Step::Fetch);
    assert!(failure.reason.contains("Git LFS files"), "{failure:?}");
    assert!(
        failure
            .hint
            .is_some_and(|hint| hint.contains("git lfs push"))
    );
}

#[test]
fn lfsconfig_excludes_files_and_configures_no_command() {
    let (kept, left) = (pointer("kept"), pointer("left"));
    let files = [("a.bin", kept.as_str()), ("data/b.bin", &left)];
    let Some((mut world, http)) = with_lfs("lfsconfig configures no command", &files) else {
        return;
    };
    upload(&http, "kept");
    let witness = world.path().join("ran");
    let touch = format!("touch {}", witness.display());
    let text = format!(
        "[lfs]\n\tfetchexclude = data\n\tstandalonetransferagent = evil\n\tskipdownloaderrors = true\n\
         [lfs \"customtransfer.evil\"]\n\tpath = sh\n\targs = -c '{touch}'\n\
         [lfs \"extension.evil\"]\n\tsmudge = {touch}\n\tclean = {touch}\n\
         [credential]\n\thelper = \"!{touch}\"\n[core]\n\tsshCommand = {touch}\n\thooksPath = /tmp\n\
         [filter \"lfs\"]\n\tsmudge = {touch}\n\tprocess = {touch}\n\
         [include]\n\tpath = /etc/passwd\n"
    );
    world.commit(&[(".lfsconfig", &text)]);
    let outcome = world.deploy();
    let read =
        |name: &str| std::fs::read_to_string(outcome.release().directory.join(name)).unwrap();
    assert_eq!((read("a.bin").as_str(), read("data/b.bin")), ("kept", left));
    let warnings = &outcome.release().warnings;
    assert!(
        warnings
            .iter()
            .any(|w| w.contains("data/b.bin") && w.contains("leaves them out")),
        "{warnings:?}"
    );
    assert!(!witness.exists());
}

#[test]
fn the_url_in_lfsconfig_follows_the_rules_for_repositories() {
    let text = pointer("content");
    let Some((mut world, http)) = with_lfs("the URL in lfsconfig", &[("a.bin", &text)]) else {
        return;
    };
    let witness = world.path().join("ran");
    for url in [
        format!("ext::touch {}", witness.display()),
        format!("file://{}", world.path().display()),
        world.path().display().to_string(),
        "ssh://-oProxyCommand=id/x".into(),
        "--upload-pack=id".into(),
    ] {
        world.commit(&[(".lfsconfig", &format!("[lfs]\n\turl = \"{url}\"\n"))]);
        let failure = world.deploy().failure().clone();
        assert!(
            failure.reason.contains("URL in .lfsconfig is not allowed"),
            "{url}: {failure:?}"
        );
    }
    assert!(!witness.exists());
    // Another server, which is given no password.
    let other = Http::start(world.path());
    upload(&other, "content");
    http.want("YW5uOnMzY3JldA==");
    world.fetch_from(format!("http://ann:s3cret@{}/repo", http.address()));
    world.commit(&[(
        ".lfsconfig",
        &format!("[lfs]\n\turl = {}\n", other.url("x/info/lfs")),
    )]);
    world.deploy().release();
    let asked = other.requests();
    assert!(
        downloads(&other) == 1 && asked.iter().all(|r| r.ends_with(" -")),
        "{asked:?}"
    );
}

#[test]
fn a_repository_on_this_disk_has_its_objects_beside_it() {
    if !is_installed() {
        return skip(
            "LFS on this disk",
            "there is no git-lfs here: apt-get install git-lfs",
        );
    }
    let text = pointer("content");
    let mut world = World::new(&[PROCFILE, ATTRIBUTES, ("a.bin", &text)]);
    let id = id("content");
    let store = world
        .repo()
        .join(".git/lfs/objects")
        .join(&id[..2])
        .join(&id[2..4]);
    std::fs::create_dir_all(&store).unwrap();
    std::fs::write(store.join(&id), "content").unwrap();
    let outcome = world.deploy();
    let text = std::fs::read_to_string(outcome.release().directory.join("a.bin"));
    assert_eq!(text.unwrap(), "content");
}

/// What git-lfs asks of an ssh server before it asks the HTTP server that it is sent to.
const AUTHENTICATE: &str = r#"#!/bin/sh
case "$SSH_ORIGINAL_COMMAND" in
  git-lfs-authenticate*) printf '{"href": "%s", "header": {"Authorization": "Basic Z2l2ZW4="}}' "$1" ;;
  git-upload-pack*) exec sh -c "$SSH_ORIGINAL_COMMAND" ;;
  *) exit 1 ;;
esac
"#;

#[test]
fn a_repository_behind_ssh_gets_them_with_the_deploy_key() {
    let test = "LFS behind ssh";
    let text = pointer("content");
    if !has_sshd(test) {
        return;
    }
    let Some((mut world, http)) = with_lfs(test, &[("a.bin", &text)]) else {
        return;
    };
    upload(&http, "content");
    // "given"
    http.want("Z2l2ZW4=");
    let script = world.path().join("authenticate");
    std::fs::write(&script, AUTHENTICATE).unwrap();
    let mode: std::fs::Permissions = PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, mode).unwrap();
    let sshd = Sshd::start();
    world.fetch_from(sshd.url(&world.repo()));
    assert!(world.deploy().result.is_some_and(|result| result.is_err()));
    let key = deploy_key::public(&world.dirs).unwrap();
    let command = format!(
        "command=\"{} {}\" ",
        script.display(),
        http.url("x/info/lfs")
    );
    sshd.authorize(&[&(command + &key)]);
    let outcome = world.deploy();
    let text = std::fs::read_to_string(outcome.release().directory.join("a.bin"));
    assert_eq!(text.unwrap(), "content");
}

#[test]
fn without_git_lfs_pointers_are_served_and_a_warning_says_so() {
    let Some(setup) = server_without("git-lfs", "without git-lfs a warning says so") else {
        return;
    };
    let text = pointer("content");
    let repo = Repo::new(&web_files("1"));
    repo.commit(&[ATTRIBUTES, ("a.bin", &text), ("b.bin", "no pointer")]);
    let server = setup.start();
    server.deploy(&document("echo", &repo));
    let warnings = server.status("echo")["warnings"].to_string();
    assert!(
        warnings.contains("a.bin is only a pointer") && warnings.contains("git-lfs"),
        "{warnings}"
    );
    let log = server
        .get("/applications/echo/logs/install")
        .expect(200)
        .text();
    assert!(log.contains("remark: a.bin is only a pointer"), "{log}");
    // It is still so when another document is put on the same code.
    let changes = serde_json::json!({ "env": { "A": "1" } });
    server
        .send_and_wait("PATCH", "/applications/echo", &changes)
        .expect(200);
    assert_eq!(server.status("echo")["warnings"].to_string(), warnings);
}
