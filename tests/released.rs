//! Data directories as released servers have left them (`tests/released/VERSION`): each later one reads them.
//!
//! That of a release is made by its own `procserver serve`, which deploys a repository with `public/index.html`, a
//! `Procfile` and `static: {dir: "public"}`; git, tokens and locks are left out.

use std::path::Path;

use serde_json::Value;

use crate::support::setup::Setup;

#[test]
fn what_a_released_server_has_left_is_served() {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/released");
    let mut versions = 0;
    for version in std::fs::read_dir(all).unwrap().flatten() {
        let setup = Setup::new();
        copy(&version.path(), setup.directory());
        let server = setup.start();
        let page = server.visit("/site/").expect(200).text();
        assert_eq!(page, "the page of release 1\n");
        let status = server.status("site");
        assert_eq!(
            (&status["release"], &status["state"]),
            (&Value::from(1), &"running".into())
        );
        let deployments = server
            .get("/applications/site/deployments")
            .expect(200)
            .json();
        assert_eq!(deployments[0]["state"], "succeeded", "{deployments}");
        assert_eq!(
            deployments.as_array().unwrap().len(),
            1,
            "nothing is deployed anew"
        );
        let log = server
            .get("/applications/site/logs/install")
            .expect(200)
            .text();
        assert!(log.contains("checkout"), "{log}");
        let warnings = &status["warnings"];
        assert!(warnings.as_array().is_none_or(Vec::is_empty), "{warnings}");
        versions += 1;
    }
    assert!(versions > 0);
}

/// As a server keeps it: what is of a release belongs to root, and nobody may write to it.
fn copy(from: &Path, to: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), &to).unwrap();
            let mode = if to.extension().is_some_and(|e| e == "json") {
                0o600
            } else {
                0o444
            };
            std::fs::set_permissions(&to, PermissionsExt::from_mode(mode)).unwrap();
        }
    }
}
