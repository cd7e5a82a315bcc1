//! `procserver doctor` beside what the machine really does.

use std::path::Path;

use serde_json::json;

use crate::support::command::{finish, launched, procserver};
use crate::support::fixture::{document, web_repo, with};
use crate::support::machine::{is_root, skip};
use crate::support::server::Server;

fn said(words: &[&str]) -> (Option<i32>, String) {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    let ended = finish(launched(&words).arg("doctor"));
    assert_eq!(ended.stderr, "");
    (ended.code, ended.stdout)
}

#[test]
fn it_names_what_is_missing_and_what_to_do_and_changes_nothing() {
    if !is_root() {
        return skip("a machine without unshare", "only root has it");
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let (code, all) = said(&[]);
    let view = "ok      a view of the machine for each application";
    assert!(
        all.contains(view) && all.contains("ok      a user for each"),
        "{all}"
    );
    assert_eq!(all.contains("MISSING"), code == Some(1), "{all}");
    let (code, without) = said(&["setpriv", "--bounding-set", "-sys_admin"]);
    assert_eq!(code, Some(1), "{without}");
    assert!(
        without.contains("MISSING a view of the machine"),
        "{without}"
    );
    assert!(
        without.contains("unshare: ") && without.contains("CAP_SYS_ADMIN"),
        "{without}"
    );
    let hide = "mount --bind /dev/null /usr/sbin/useradd; exec \"$@\"";
    let (code, without) = said(&["unshare", "--mount", "sh", "-c", hide, "sh"]);
    assert_eq!(code, Some(1), "{without}");
    assert!(without.contains("apt-get install passwd"), "{without}");
    assert_eq!(
        std::fs::read_to_string("/proc/self/mountinfo").unwrap(),
        mounts
    );
    let ended = finish(procserver().args(["doctor", "--json"]));
    let told: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let all = told.as_array().expect("a list");
    for check in ["settings", "git", "user", "control groups", "clock", "unit"] {
        let has = all.iter().any(|finding| finding["check"] == check);
        assert!(has, "{check}: {told:#}");
    }
}

/// The findings about what lies in `directory`.
fn looked_at(directory: &Path, settings: &str) -> (Option<i32>, String) {
    let file = directory.join("p.toml");
    std::fs::write(&file, settings).unwrap();
    let mut command = procserver();
    command.args(["doctor", "--data-dir", directory.to_str().unwrap()]);
    let ended = finish(command.args(["--config", file.to_str().unwrap()]));
    assert_eq!(ended.stderr, "");
    (ended.code, ended.stdout)
}

#[test]
fn settings_that_are_wrong_and_a_port_of_another_program_are_missing() {
    let home = tempfile::tempdir().unwrap();
    let (code, told) = looked_at(home.path(), "lisen = []");
    assert_eq!(code, Some(1), "{told}");
    assert!(
        told.contains("MISSING settings: ") && told.contains("line 1"),
        "{told}"
    );
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port();
    let settings = format!("listen = [\"127.0.0.1:{port}\"]");
    let (code, told) = looked_at(home.path(), &settings);
    assert_eq!(code, Some(1), "{told}");
    let holder = format!("MISSING port {port}: pid {} (", std::process::id());
    assert!(told.contains(&holder), "{told}");
    assert!(told.contains("warning server: none answers at"), "{told}");
}

#[test]
fn a_server_that_runs_is_asked_and_the_names_of_its_applications_looked_up() {
    let server = Server::start();
    let repo = web_repo("1");
    let names = json!({"hosts": ["localhost", "nobody.invalid"]});
    server.deploy(&with(document("blog", &repo), names));
    let settings = format!("listen = [\"{}\"]", server.address());
    let (_, told) = looked_at(server.directory(), &settings);
    for line in [
        "ok      server: it answers, version ".to_owned(),
        format!(
            "ok      port {}: the server listens on it",
            server.address().port()
        ),
        "ok      localhost of blog: it leads here (".to_owned(),
        "nobody.invalid of blog: ".to_owned(),
    ] {
        assert!(told.contains(&line), "{line}: {told}");
    }
    assert!(!told.contains("ok      nobody.invalid"), "{told}");
}
