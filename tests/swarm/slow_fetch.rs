//! A node that takes long to fetch an image: that says nothing of the application.

use std::time::Duration;

use serde_json::json;

use super::echo::{LONG, app, done, ready, repo, server};
use super::engines::Engines;
use super::kept_base;
use crate::support::fixture::with;
use crate::support::machine::skip;
use crate::support::wait::eventually;

/// How long the image takes, after the application's own time would have been over.
const LONGER: Duration = Duration::from_secs(25);

#[test]
fn the_time_to_get_ready_begins_when_the_node_has_the_image() {
    let test = "a node takes long to fetch an image";
    if !cfg!(debug_assertions) {
        return skip(test, "there are no failpoints in this build");
    }
    let Some(engines) = Engines::start(1, test) else {
        return;
    };
    let server = server(&engines);
    let arrived = server.directory().join("arrived");
    let held = server.failpoint("an image is fetched");
    std::fs::write(&held, format!("wait {}", arrived.display())).unwrap();
    let short = json!({
        "scale": { "web": 1 },
        "health_check": { "path": "/", "interval": "200ms", "boot_timeout": "20s" },
    });
    let repo = repo("1");
    let one = with(app(&repo), short);
    std::thread::scope(|scope| {
        let created = scope.spawn(|| done(&server, "POST", "/applications", Some(&one)));
        eventually("the node that fetches is named", LONG, || {
            let status = server.get("/applications/echo/status").text();
            let told = "node1 fetches the image";
            status.contains(told).then_some(())
        });
        std::thread::sleep(LONGER);
        assert!(!created.is_finished(), "{}", server.log());
        std::fs::write(&arrived, "").unwrap();
        created.join().unwrap();
    });
    kept_base::keep(server.directory());
    ready(&server, &["web.1"]);
}
