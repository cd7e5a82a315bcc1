//! What an application has on disk, and `limits.disk`.

use serde_json::json;

use super::{repo, storage};
use crate::support::fixture::document;
use crate::support::server::Server;

#[test]
fn an_app_with_more_on_disk_than_it_may_is_warned_of_and_not_deployed_again_until_it_may() {
    let server = Server::start();
    let repo = repo("");
    server.deploy(&document("echo", &repo));
    std::fs::write(storage(&server, "upload"), vec![7; 4 << 20]).unwrap();
    let disk = server.get("/applications/echo/disk").expect(200).json();
    let bytes = |part: &str| disk[part].as_u64().unwrap();
    assert!(
        bytes("storage") >= 4 << 20 && bytes("storage") < 5 << 20,
        "{disk}"
    );
    assert!(bytes("releases") > 0 && bytes("repository") > 0, "{disk}");
    assert_eq!(disk["limit"], json!(null));

    let limit = |size: &str| {
        let patch = json!({ "limits": { "disk": size } });
        server
            .send_and_wait("PATCH", "/applications/echo", &patch)
            .expect(200);
    };
    limit("2M");
    let warnings = server.status("echo")["warnings"].to_string();
    assert!(
        warnings.contains("more than its limits.disk allows"),
        "{warnings}"
    );
    let pid = server.ready_pid("echo", "web.1");
    let refused = server.act("echo", "redeploy").expect(422);
    let failure = refused.json()["failure"].clone();
    let reason = failure["reason"].as_str().unwrap();
    assert!(
        reason.contains("its limits.disk is 2M: storage"),
        "{failure}"
    );
    let hint = failure["hint"].as_str().unwrap();
    assert!(
        hint.contains("procserver set echo limits.disk="),
        "{failure}"
    );
    assert_eq!(server.ready_pid("echo", "web.1"), pid);

    limit("1G");
    server.act("echo", "redeploy").expect(200);
    let warnings = server.status("echo")["warnings"].to_string();
    assert!(!warnings.contains("limits.disk"), "{warnings}");
}
