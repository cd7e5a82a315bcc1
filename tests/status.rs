//! `procserver status` and `GET /-/status`: what a server tells of itself.

use serde_json::{Value, json};

use crate::support::command::{Finished, finish, procserver};
use crate::support::fixture::{document, web_repo, with};
use crate::support::http::Request;
use crate::support::repo::Repo;
use crate::support::server::Server;
use crate::support::wait::{SOON, eventually};

fn said(server: &Server, more: &[&str]) -> Finished {
    let url = format!("unix:{}", server.socket().display());
    let mut command = procserver();
    finish(command.args(["status", "--server", &url]).args(more))
}

#[test]
fn a_healthy_server_is_told_with_exit_code_0() {
    let server = Server::start();
    let repo = web_repo("1");
    server.deploy(&document("blog", &repo));
    let ended = said(&server, &["--json"]);
    let told: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(ended.code, Some(0), "{told:#}");
    assert_eq!(told["pid"], server.pid());
    assert_eq!(told["listen"], json!([server.address().to_string()]));
    assert_eq!(told["applications"]["blog"]["state"], "running");
    assert_eq!(told["ports"]["used"], 1);
    assert_eq!(told["problems"], json!([]));
    for (what, least) in [
        ("/memory_bytes", 1_000_000),
        ("/descriptors/open", 10),
        ("/descriptors/limit", 100),
        ("/disk/total_bytes", 1_000_000),
        ("/applications/blog/disk_bytes", 4096),
    ] {
        let is = told.pointer(what).and_then(Value::as_u64);
        assert!(is >= Some(least), "{what}: {told:#}");
    }
    let text = said(&server, &[]).success();
    assert!(text.contains("applications   1: 1 running"), "{text}");
    // Over TCP nobody sees it without the token.
    let open = Request::get("/-/status").send(&server.public());
    assert_eq!(open.status, 401);
    server.get("/-/status").expect(200);
}

#[test]
fn what_is_wrong_is_named_with_exit_code_1() {
    let server = Server::start();
    let broken = Repo::new(&[("Procfile", "web: exec false\n")]);
    let hasty = json!({"health_check": {"boot_timeout": "2s"}});
    let failed = server.send_and_wait(
        "POST",
        "/applications",
        &with(document("shop", &broken), hasty),
    );
    assert_eq!(failed.status, 422);
    std::fs::write(server.config_directory().join("bad.json"), "{").unwrap();
    let ended = eventually("the bad document is known", SOON, || {
        Some(said(&server, &[])).filter(|ended| ended.stdout.contains("bad.json"))
    });
    assert_eq!(ended.code, Some(1), "{}", ended.stdout);
    assert!(
        ended
            .stdout
            .contains("problem: shop has never been deployed"),
        "{}",
        ended.stdout
    );
}

#[test]
fn no_server_is_exit_code_1_and_applications_keep_their_paths() {
    let ended = finish(procserver().args(["status", "--server", "unix:/nowhere/x.sock"]));
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.stderr.contains("no server answers"),
        "{}",
        ended.stderr
    );
    let server = Server::start();
    let repo = web_repo("1");
    for name in ["status", "server"] {
        server.deploy(&document(name, &repo));
        assert_eq!(server.visit(&format!("/{name}/")).status, 200);
    }
    server.get("/-/status").expect(200);
}
