//! Deploy keys: one per app, made by the first deploy over ssh, seen by nobody but the daemon's user.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use procserver::install::deploy_key;
use procserver::install::record::Step;
use procserver::install::ssh::Ssh;
use serde_json::json;

use super::hidden::server_without;
use super::servers::{Sshd, has_sshd, make_key};
use super::world::{World, root};
use crate::support::command::{finish, procserver};
use crate::support::fixture::{document, web_repo, with};
use crate::support::server::Server;

const PROCFILE: (&str, &str) = ("Procfile", "web: ./serve\n");

/// An app whose key the server knows, and which was deployed with it.
fn acquainted(test: &str) -> Option<(World, Sshd)> {
    if !has_sshd(test) {
        return None;
    }
    let mut world = World::new(&[PROCFILE]);
    let sshd = Sshd::start();
    world.fetch_from(sshd.url(&world.repo()));
    assert!(world.deploy().result.is_some_and(|r| r.is_err()));
    sshd.authorize(&[&deploy_key::public(&world.dirs).unwrap()]);
    world.deploy().release();
    Some((world, sshd))
}

#[test]
fn the_first_deploy_makes_a_key_and_says_where_to_put_it() {
    if !has_sshd("the first deploy makes a key") {
        return;
    }
    let mut world = World::new(&[PROCFILE]);
    let sshd = Sshd::start();
    world.fetch_from(sshd.url(&world.repo()));
    let outcome = world.deploy();
    let failure = outcome.failure();
    let key = deploy_key::public(&world.dirs).unwrap();
    assert_eq!(failure.step, Step::Fetch);
    assert!(
        failure
            .reason
            .contains("does not accept this application's deploy key"),
        "{failure:?}\n{}",
        sshd.log()
    );
    let hint = failure.hint.clone().unwrap();
    assert!(
        hint.contains("read-only deploy key") && hint.ends_with(&key),
        "{hint}"
    );
    assert!(
        key.starts_with("ssh-ed25519 ") && key.contains(" procserver-app@"),
        "{key}"
    );
    sshd.authorize(&[&key]);
    world.deploy().release();
    assert_eq!(deploy_key::public(&world.dirs), Some(key.clone()));
    // Of somebody else, who is let in now.
    make_key(&world.path().join("other"));
    let other = std::fs::read_to_string(world.path().join("other.pub")).unwrap();
    sshd.authorize(&[&other]);
    let failure = world.deploy().failure().clone();
    assert!(failure.hint.is_some_and(|hint| hint.ends_with(&key)));
}

#[test]
fn a_key_is_open_to_the_daemons_user_only_and_in_no_log() {
    let Some((mut world, _sshd)) = acquainted("a key is open to the daemon's user only") else {
        return;
    };
    let path = world.dirs.ssh().join("id_ed25519");
    let metadata = std::fs::metadata(&path).unwrap();
    assert_eq!(metadata.mode() & 0o777, 0o600);
    assert_eq!(metadata.uid(), nix::unistd::geteuid().as_raw());
    assert_eq!(
        std::fs::metadata(world.dirs.ssh()).unwrap().mode() & 0o777,
        0o700
    );
    let text = std::fs::read_to_string(&path).unwrap();
    let secret = text.lines().nth(2).unwrap().to_owned();
    world.install(&["cat ../../ssh/id_ed25519 || true; env; ls -l /proc/self/fd"]);
    let outcome = world.deploy();
    outcome.release();
    assert!(!outcome.logged("SSH_AUTH_SOCK"));
    if root() {
        assert!(outcome.logged("Permission denied"), "{:?}", outcome.lines);
        assert!(!outcome.logged(&secret));
    }
}

#[test]
fn a_damaged_key_is_made_anew_and_a_lost_public_half_is_found_again() {
    let Some((mut world, sshd)) = acquainted("a damaged key is made anew") else {
        return;
    };
    let key = deploy_key::public(&world.dirs).unwrap();
    let private = world.dirs.ssh().join("id_ed25519");
    std::fs::remove_file(private.with_extension("pub")).unwrap();
    world.deploy().release();
    let words = |key: &str| key.split(' ').nth(1).map(str::to_owned);
    let found = deploy_key::public(&world.dirs).unwrap();
    assert_eq!(words(&found), words(&key));
    // Others may not read it, or ssh refuses it.
    std::fs::set_permissions(&private, PermissionsExt::from_mode(0o644)).unwrap();
    std::fs::write(private.with_extension("pub"), "rubbish").unwrap();
    std::fs::write(&private, "rubbish").unwrap();
    let outcome = world.deploy();
    let new = deploy_key::public(&world.dirs).unwrap();
    assert!(
        outcome.logged("the deploy key is damaged"),
        "{:?}",
        outcome.lines
    );
    assert!(
        outcome
            .failure()
            .hint
            .clone()
            .is_some_and(|hint| hint.ends_with(&new))
    );
    sshd.authorize(&[&new]);
    world.deploy().release();
}

#[test]
fn a_changed_host_key_is_refused_until_somebody_says_it_is_right() {
    let Some((mut world, sshd)) = acquainted("a changed host key is refused") else {
        return;
    };
    sshd.change_host_key();
    let failure = world.deploy().failure().clone();
    assert!(
        failure.reason.contains("not the one known for it"),
        "{failure:?}"
    );
    let hint = failure.hint.unwrap();
    let (_, command) = hint.split_once(": ").unwrap();
    let done = Command::new("sh").args(["-c", command]).output().unwrap();
    assert!(done.status.success(), "{command}: {done:?}");
    world.deploy().release();
}

#[test]
fn ssh_itself_reads_the_options_as_they_are_meant() {
    if !has_sshd("ssh reads the options") {
        return;
    }
    let ssh = Ssh {
        key: "/a b/50% it's/key".into(),
        known_hosts: "/a b/50% it's/known_hosts".into(),
    };
    let command = format!("{} -G git.example.org", ssh.command());
    let output = Command::new("sh")
        .args(["-c", &command])
        .env("SSH_AUTH_SOCK", "/x")
        .output();
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let values = |name: &str| -> Vec<&str> {
        let lines = text.lines().filter_map(|line| line.split_once(' '));
        lines
            .filter(|(n, _)| *n == name)
            .map(|(_, value)| value)
            .collect()
    };
    for (name, value) in [
        ("batchmode", "yes"),
        ("identitiesonly", "yes"),
        ("identityagent", "none"),
        ("stricthostkeychecking", "accept-new"),
        ("identityfile", "/a b/50%% it's/key"),
        ("globalknownhostsfile", "/dev/null"),
        ("preferredauthentications", "publickey"),
        ("forwardagent", "no"),
        ("connecttimeout", "30"),
    ] {
        assert_eq!(values(name), [value], "{name}");
    }
    assert!(values("userknownhostsfile")[0].contains("it's/known_hosts"));
}

#[test]
fn a_missing_repository_behind_ssh_is_told_with_the_key() {
    let Some((mut world, sshd)) = acquainted("a missing repository behind ssh") else {
        return;
    };
    world.fetch_from(sshd.url(&world.path().join("none")));
    let failure = world.deploy().failure().clone();
    assert!(failure.reason.contains("no such repository"), "{failure:?}");
    assert!(
        failure
            .hint
            .is_some_and(|hint| hint.contains("ssh-ed25519 "))
    );
}

#[test]
fn the_key_is_shown_by_the_api_and_the_command_line_and_goes_with_the_app() {
    if !has_sshd("the key is shown by the API") {
        return;
    }
    let (server, repo, sshd) = (Server::start(), web_repo("1"), Sshd::start());
    let ssh = json!({ "repo": { "url": sshd.url(repo.path()) } });
    let app = with(document("echo", &repo), ssh);
    let key = |server: &Server| {
        let socket = format!("unix:{}", server.socket().display());
        finish(
            procserver()
                .args(["key", "echo"])
                .env("PROCSERVER_URL", socket),
        )
    };
    let answer = server
        .send_and_wait("POST", "/applications", &app)
        .expect(422)
        .json();
    let hint = answer["failure"]["hint"].as_str().unwrap().to_owned();
    let shown = server
        .get("/applications/echo/deploy-key")
        .expect(200)
        .json();
    let shown = shown["deploy_key"].as_str().unwrap().to_owned();
    assert!(hint.ends_with(&shown), "{hint}");
    assert_eq!(server.status("echo")["deploy_key"], shown.as_str());
    assert_eq!(key(&server).success().trim_end(), shown);
    sshd.authorize(&[&shown]);
    server.act("echo", "redeploy").expect(200);
    assert_eq!(server.visit("/echo/").expect(200).json()["version"], "1");
    server.act("echo", "redeploy").expect(200);
    assert_eq!(server.status("echo")["deploy_key"], shown.as_str());
    let private = server.directory().join("apps/echo/ssh/id_ed25519");
    assert!(private.exists());
    server
        .request("DELETE", "/applications/echo?keep=storage")
        .header("Prefer", "wait=50")
        .send(&server.public());
    assert!(!private.exists());
    // Another app of that name is another app.
    server.deploy(&document("echo", &repo));
    server.get("/applications/echo/deploy-key").expect(404);
    assert!(server.status("echo")["deploy_key"].is_null());
    assert_eq!(key(&server).code, Some(1));
}

#[test]
fn without_ssh_it_is_said_what_to_install() {
    let Some(setup) = server_without("ssh-keygen", "without ssh it is said what to install") else {
        return;
    };
    let server = setup.start();
    let app = json!({ "name": "echo", "repo": { "url": "git@git.example.org:a/b.git" } });
    let answer = server
        .send_and_wait("POST", "/applications", &app)
        .expect(422)
        .json();
    let failure = &answer["failure"];
    assert_eq!(failure["step"], "fetch");
    assert!(
        failure["reason"].to_string().contains("ssh-keygen"),
        "{failure}"
    );
    assert!(
        failure["hint"]
            .to_string()
            .contains("apt-get install openssh-client"),
        "{failure}"
    );
    server.get("/applications/echo/deploy-key").expect(404);
}
