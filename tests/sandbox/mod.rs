//! An app beside another one, each with a user of its own: what it can read, write, signal, see and answer for of the
//! other, of the server and of the machine.

mod files;
mod kernel;
mod listeners;
mod world;

use std::path::Path;

use serde_json::json;

use crate::support::fixture::{document, web_repo};
use crate::support::machine::skip;
use crate::support::setup::Setup;
use world::World;

#[test]
fn nothing_of_the_sandbox_is_lacking_before_the_first_process_either() {
    let Some(world) = World::new("the first deployment", json!({ "install": ["sleep 0"] })) else {
        return;
    };
    let log = world.server.get("/applications/spy/logs/install");
    let log = log.expect(200).text();
    assert!(log.contains("sleep 0"), "{log}");
    assert!(!log.contains("it runs without"), "{log}");
}

#[test]
fn where_all_may_write_a_server_may_keep_its_data_too() {
    let parent = Path::new("/dev/shm");
    if !parent.is_dir() {
        return skip("data in /dev/shm", "this machine has none");
    }
    let server = Setup::below(parent).start();
    let repo = web_repo("1");
    server.deploy(&document("in-memory", &repo));
    server.ready_pid("in-memory", "web.1");
    assert_eq!(server.status("in-memory")["warnings"], json!([]));
}

#[test]
fn an_app_that_says_so_sees_what_the_machine_has_and_still_opens_nothing_of_others() {
    let Some(world) = World::new("no sandbox", json!({ "sandbox": false })) else {
        return;
    };
    let data = world.data();
    let name = format!("procserver-spy-{}-open", std::process::id());
    world.does(&format!("echo mine > /tmp/{name}"));
    std::fs::remove_file(Path::new("/tmp").join(&name)).expect("it is the machine's");
    world.does(&format!("cat /proc/{}/cmdline", world.pid("prey")));
    for script in [
        format!("ls {data}/apps"),
        format!("cat {data}/apps/prey/storage/x"),
        format!("cat {data}/token"),
        format!("cat {data}/config/prey.json"),
        format!("cat /proc/{}/environ", world.pid("prey")),
    ] {
        let said = world.fails(&script);
        assert!(said.contains("Permission denied"), "{script}: {said}");
    }
}
