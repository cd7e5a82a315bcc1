//! `limits.disk` as a project quota of the file system.

use std::process::Command;

use serde_json::json;

use super::repo;
use crate::support::fixture::{document, with};
use crate::support::machine::{is_root, skip};
use crate::support::server::Server;
use crate::support::setup::Setup;
use crate::support::wait::{SOON, eventually};

/// A server whose applications are on an ext4 with project quotas, where this kernel has them: CI's has not.
fn start() -> Option<Server> {
    const TEST: &str = "limits.disk by project quotas";
    if !is_root() {
        skip(TEST, "only root can mount a file system");
        return None;
    }
    let setup = Setup::new();
    let at = setup.directory().display().to_string();
    std::fs::create_dir_all(setup.directory().join("apps")).unwrap();
    let mount = format!(
        "truncate -s 256M {at}/image; mkfs.ext4 -q -F -O quota,project {at}/image; \
         mount -o loop,prjquota {at}/image {at}/apps; chmod 711 {at}/apps"
    );
    let tried = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-ec"])
        .arg(format!("{mount}; setquota -P 7 0 1000 0 0 {at}/apps"))
        .output();
    if !tried.as_ref().is_ok_and(|tried| tried.status.success()) {
        let reason = "this kernel has no ext4 with project quotas on a loop device, or setquota is not there";
        skip(TEST, &format!("{reason}: {tried:?}"));
        return None;
    }
    Some(setup.with_mounts(&mount).start())
}

fn limit(server: &Server, size: &str) {
    let patch = json!({ "limits": { "disk": size } });
    let patched = server.send_and_wait("PATCH", "/applications/echo", &patch);
    patched.expect(200);
    eventually("the limit is enforced", SOON, || {
        (server.status("echo")["disk"]["enforced"] == true).then_some(())
    });
}

#[test]
fn what_runs_for_an_app_cannot_write_beyond_its_quota_and_a_deploy_says_so() {
    let Some(server) = start() else { return };
    let repo = repo("");
    server.deploy(&document("echo", &repo));
    limit(&server, "20M");
    let fill = "head -c 60000000 /dev/zero >$STORAGE_DIR/big";
    let install = json!({ "install": [fill] });
    let failed = server.send_and_wait("PATCH", "/applications/echo", &install);
    let failed = failed.expect(422).json();
    let reason = failed["failure"]["reason"].to_string();
    assert!(reason.contains("limits.disk 20M is used up"), "{failed}");
    // Raised, it applies at once.
    limit(&server, "100M");
    server.act("echo", "redeploy").expect(200);
    let disk = server.get("/applications/echo/disk").expect(200).json();
    assert!(disk["storage"].as_u64().unwrap() >= 60_000_000, "{disk}");
    // Who owns a directory could take it out of the project otherwise.
    let leave = "! chattr -p 0 $STORAGE_DIR && ! chattr -P $STORAGE_DIR";
    let install = json!({ "install": [leave] });
    let patched = server.send_and_wait("PATCH", "/applications/echo", &install);
    patched.expect(200);
}

#[test]
fn where_there_are_no_quotas_the_status_says_why() {
    if !is_root() {
        skip("limits.disk without quotas", "only root can mount a tmpfs");
        return;
    }
    let setup = Setup::new();
    let apps = setup.directory().join("apps");
    std::fs::create_dir_all(&apps).unwrap();
    let mount = format!("mount -t tmpfs -o mode=711 tmpfs {}", apps.display());
    let server = setup.with_mounts(&mount).start();
    let repo = repo("");
    let limits = json!({ "limits": { "disk": "1G" } });
    server.deploy(&with(document("echo", &repo), limits));
    let disk = eventually("it is known", SOON, || {
        let disk = server.status("echo")["disk"].clone();
        let why = disk["unenforced"].as_str()?;
        why.contains("tmpfs, which has no project quotas")
            .then(|| disk.clone())
    });
    assert_eq!(disk["enforced"], false);
    assert_eq!(disk["limit"], 1 << 30);
    assert!(disk["used"].as_u64().unwrap() > 0, "{disk}");
}
