//! What an app may not touch, whoever owns it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{deploy, lines};
use crate::support::machine::{is_root, skip};
use crate::support::server::Server;
use crate::support::setup::Setup;
use crate::support::wait::{SOON, eventually};

/// What an app is told when it writes a file.
#[track_caller]
fn write(server: &Server, file: &str) -> String {
    let answer = server.visit(&format!("/echo/write?file={file}"));
    answer.expect(200).json()["error"].to_string()
}

/// A server outside of `/tmp`; `None`: the tests are not root.
fn server(launcher: &[&str]) -> Option<Server> {
    if !is_root() {
        skip("borders between apps", "only root has a place outside /tmp");
        return None;
    }
    let setup = Setup::below(Path::new("/var/lib")).launched_by(launcher);
    Some(setup.start())
}

/// Deploys two apps of one user and lets one write to what is its own, and to what is not: there `refusal` is the answer.
fn assert_borders(server: &Server, refusal: &str) {
    let reopened = "late: echo opened-anew >/dev/stdout; exec sleep 600\n";
    let _echo = deploy(server, "echo", reopened);
    let _other = deploy(server, "other", "");
    for own in ["$STORAGE_DIR/file", "$TMPDIR/file", "/dev/null"] {
        assert_eq!(write(server, own), "null", "{own}");
    }
    eventually("it can open its output anew", SOON, || {
        let log = lines(server, "echo", "stdout?process=late");
        (log == ["opened-anew"]).then_some(())
    });
    assert_eq!(write(server, "VERSION"), "\"EACCES\"");
    if !server.log().contains("landlock keeps apps") {
        return skip(
            "borders between apps of one user",
            "the kernel has no landlock",
        );
    }
    for foreign in [
        "other/storage/file",
        "other/tmp/file",
        "other/releases/1/VERSION",
    ] {
        let path = format!("{}/apps/{foreign}", server.directory().display());
        assert_eq!(write(server, &path), refusal, "{foreign}");
    }
    let config = server.config_directory().join("echo.json");
    assert_eq!(write(server, &config.display().to_string()), refusal);
}

#[test]
fn an_app_writes_to_its_own_places_and_others_are_not_there() {
    let Some(server) = server(&[]) else { return };
    assert_borders(&server, "\"ENOENT\"");
}

#[test]
fn where_nothing_can_be_mounted_an_app_says_so_and_writes_to_its_own_places_only() {
    let Some(server) = server(&["setpriv", "--bounding-set", "-sys_admin"]) else {
        return;
    };
    assert_borders(&server, "\"EACCES\"");
    let warnings = server.status("echo")["warnings"].to_string();
    let expected = "web.1: it runs without a view of the disk of its own (unshare: ";
    assert!(warnings.contains(expected), "{warnings}");
}

#[test]
fn an_app_that_runs_without_landlock_says_so_and_the_log_says_it_once() {
    if !is_root() {
        return skip(
            "landlock that cannot be used",
            "only root can close a directory",
        );
    }
    // What may be written beside the server's directory cannot be listed by its user.
    let closed = tempfile::tempdir_in("/var/lib").unwrap();
    std::fs::set_permissions(closed.path(), PermissionsExt::from_mode(0o711)).unwrap();
    let server = Setup::below(closed.path()).by_nobody().start();
    if !server.log().contains("landlock keeps apps") {
        return skip("landlock that cannot be used", "the kernel has no landlock");
    }
    let _echo = deploy(&server, "echo", "worker: exec sleep 600\n");
    let warnings = server.status("echo")["warnings"].to_string();
    let closed = closed.path().display().to_string();
    for part in [
        "web.1: it runs without landlock",
        "worker.1: it runs",
        &closed,
    ] {
        assert!(warnings.contains(part), "{part}: {warnings}");
    }
    server.act("echo", "restart").expect(200);
    let said = server.log().matches("runs without landlock").count();
    assert_eq!(said, 1, "{}", server.log());
}

#[test]
fn below_a_directory_that_is_open_to_all_an_app_can_still_make_files_in_that() {
    let server = Server::start();
    if !server.log().contains("no landlock here") {
        assert!(
            server
                .log()
                .contains("landlock is not used, since all may write to")
        );
    }
    let _echo = deploy(&server, "echo", "");
    let file = std::env::temp_dir().join(format!("procserver-test-open-{}", std::process::id()));
    assert_eq!(write(&server, &file.display().to_string()), "null");
    std::fs::remove_file(file).unwrap();
}
