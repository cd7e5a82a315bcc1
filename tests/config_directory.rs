//! The directory of documents: what is in it is deployed, and the API writes there.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::fixture::{document, web_repo, with};
use crate::support::machine::send_signal;
use crate::support::server::Server;
use crate::support::setup::Setup;
use crate::support::wait::{SOON, eventually};

#[test]
fn a_document_found_at_start_is_deployed() {
    let repo = web_repo("1");
    let text = format!(
        "// written by hand\n{{ name: 'echo', repo: {{ url: '{}' }} }}\n",
        repo.url()
    );
    let server = Setup::new().config_file("echo.json", &text).start();
    eventually("the app serves", SOON, || {
        (server.visit("/echo/").status == 200).then_some(())
    });
    let kept = std::fs::read_to_string(server.config_directory().join("echo.json")).unwrap();
    assert_eq!(kept, text, "a file is not rewritten because it was read");
}

#[test]
fn a_bad_document_is_named_in_the_log_and_harms_no_other() {
    let repo = web_repo("1");
    let server = Setup::new()
        .config_file("broken.json", "{ name: ")
        .config_file(
            "invalid.json",
            "{ name: 'invalid', repo: { url: 'ext::sh' } }",
        )
        .config_file("echo.json", &document("echo", &repo).to_string())
        .config_file("README.txt", "not a document at all")
        .start();
    eventually("the app serves", SOON, || {
        (server.visit("/echo/").status == 200).then_some(())
    });
    for named in ["broken.json", "invalid.json"] {
        eventually(named, SOON, || server.log().contains(named).then_some(()));
    }
    let apps = server.get("/applications").expect(200).json();
    let names: Vec<&Value> = apps
        .as_array()
        .unwrap()
        .iter()
        .map(|a| &a["name"])
        .collect();
    assert_eq!(names, ["echo"]);
}

#[test]
fn the_api_writes_there_what_it_accepted_and_removes_what_it_deleted() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let file = server.config_directory().join("echo.json");
    let written = || -> Value { serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap() };
    server.deploy(&document("echo", &repo));
    assert_eq!(written(), server.get("/applications/echo").json());

    let changed = with(document("echo", &repo), json!({ "env": { "A": "1" } }));
    server
        .send_and_wait("PUT", "/applications/echo", &changed)
        .expect(200);
    assert_eq!(written()["env"], json!({ "A": "1" }));

    let delete = server
        .request("DELETE", "/applications/echo")
        .header("Prefer", "wait=50");
    delete.send(&server.public()).expect(200);
    assert!(!file.exists());
}

/// Replaces a file as a careful program does.
fn put(server: &Server, name: &str, text: &str) {
    let (directory, hidden) = (server.config_directory(), format!(".{name}"));
    std::fs::write(directory.join(&hidden), text).unwrap();
    std::fs::rename(directory.join(&hidden), directory.join(name)).unwrap();
}

#[test]
fn a_file_that_comes_changes_or_goes_is_followed() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let text = document("echo", &repo);
    put(&server, "echo.json", &text.to_string());
    eventually("the app has come", SOON, || {
        (server.visit("/echo/").status == 200).then_some(())
    });
    let pid = server.ready_pid("echo", "web.1");

    let scaled = with(text, json!({ "scale": { "web": 2 } }));
    put(&server, "echo.json", &scaled.to_string());
    eventually("a second process has come", SOON, || {
        let processes = server.status("echo")["processes"].as_array()?.len();
        (processes == 2).then_some(())
    });
    assert_eq!(server.ready_pid("echo", "web.1"), pid);

    std::fs::remove_file(server.config_directory().join("echo.json")).unwrap();
    eventually("the app has gone", SOON, || {
        (server.get("/applications/echo").status == 404).then_some(())
    });
    assert!(server.directory().join("apps/echo/storage").is_dir());
}

#[test]
fn a_file_that_is_damaged_is_named_and_the_last_good_one_runs_on() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("echo", &repo));
    let (pid, file) = (
        server.ready_pid("echo", "web.1"),
        server.config_directory().join("echo.json"),
    );
    let good = std::fs::read_to_string(&file).unwrap();
    let has_warning = |wanted: bool| {
        eventually("a warning that names the file", SOON, || {
            let warnings = server.status("echo")["warnings"].to_string();
            (warnings.contains("echo.json") == wanted).then_some(())
        });
    };
    std::fs::write(&file, &good[..good.len() / 2]).unwrap();
    has_warning(true);
    assert!(server.log().contains("echo.json"));
    std::fs::write(&file, &good).unwrap();
    has_warning(false);
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    has_warning(true);
    std::fs::remove_dir(&file).unwrap();
    std::fs::write(&file, &good).unwrap();
    has_warning(false);
    assert_eq!(server.ready_pid("echo", "web.1"), pid);
    let deployments = server.get("/applications/echo/deployments").json();
    assert_eq!(deployments.as_array().unwrap().len(), 1);

    // A change through the API counts from the last good one, and what was edited is kept.
    std::fs::write(&file, &good[..good.len() / 2]).unwrap();
    has_warning(true);
    let change = json!({"env": {"A": "1"}});
    server
        .send_and_wait("PATCH", "/applications/echo", &change)
        .expect(200);
    has_warning(false);
    let replaced = std::fs::read_to_string(file.with_extension("json.replaced")).unwrap();
    assert_eq!(replaced, good[..good.len() / 2]);
    assert!(server.log().contains("echo.json.replaced"));

    // An edit that nobody has looked at yet is in effect, or kept as well.
    let edit = with(document("echo", &repo), json!({"keep_releases": 3})).to_string();
    std::fs::write(&file, &edit).unwrap();
    let change = json!({"env": {"A": "2"}});
    server
        .send_and_wait("PATCH", "/applications/echo", &change)
        .expect(200);
    let replaced = std::fs::read_to_string(file.with_extension("json.replaced")).unwrap();
    let present = server.get("/applications/echo").expect(200).json();
    assert!(
        replaced == edit || present["keep_releases"] == 3,
        "{present}"
    );
}

/// The ways in which editors and tools write a file.
const WRITERS: [&str; 5] = [
    // In place, after it was truncated (nano, shell redirection); in two parts, with a pause as a slow disk makes one.
    "head -c 20 new > echo.json; sleep 0.5; tail -c +21 new >> echo.json",
    // A new one over it (most tools), the old one moved away first (vim with a backup), with a swap file beside it.
    "cp new .echo.json.tmp; mv .echo.json.tmp echo.json",
    "touch .echo.json.swp; mv echo.json echo.json~; sleep 0.5; cp new echo.json; rm echo.json~ .echo.json.swp",
    // A link to it is replaced, as configuration tools with versions do (Kubernetes, GNU stow).
    "mkdir -p v; cp new v/echo; ln -sf v/echo echo.json.link; mv echo.json.link echo.json",
    // What was written while nobody might read it counts when it may be read.
    "chmod 000 echo.json; rm echo.json; install -m 600 new echo.json; chmod 644 echo.json",
];

#[test]
fn a_document_counts_however_an_editor_writes_it_and_a_change_of_its_mode_alone_does_nothing() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("echo", &repo));
    let pid = server.ready_pid("echo", "web.1");
    let run = |script: &str| {
        let mut shell = std::process::Command::new("sh");
        shell.arg("-ec").arg(script);
        let ran = shell.current_dir(server.config_directory()).status();
        assert!(ran.unwrap().success(), "{script}");
    };
    for (count, script) in (2..).zip(WRITERS) {
        let new = with(
            document("echo", &repo),
            json!({ "scale": { "web": count % 2 + 1 } }),
        );
        std::fs::write(server.config_directory().join("new"), new.to_string()).unwrap();
        run(script);
        eventually(script, SOON, || {
            let document = server.get("/applications/echo").expect(200).json();
            let processes = server.status("echo")["processes"].as_array()?.len();
            (document == new && processes == count % 2 + 1).then_some(())
        });
    }
    run("chmod 600 echo.json; touch echo.json; chmod 644 echo.json");
    server.get("/applications/echo").expect(200);
    assert_eq!(server.ready_pid("echo", "web.1"), pid);
    let status = server.status("echo");
    assert_eq!(
        (&status["release"], &status["warnings"]),
        (&json!(1), &json!([]))
    );
}

#[test]
fn a_sighup_reads_again_what_the_watch_does_not_see() {
    // What a link leads to is written to without a sign of it in the directory.
    let server = Server::start();
    let repo = web_repo("1");
    let outside = server.directory().join("outside.json");
    std::fs::write(&outside, document("echo", &repo).to_string()).unwrap();
    let link = server.config_directory().join("echo.json");
    std::os::unix::fs::symlink(&outside, &link).unwrap();
    server.ready_pid("echo", "web.1");
    let changed = with(document("echo", &repo), json!({ "scale": { "web": 2 } }));
    std::fs::write(&outside, changed.to_string()).unwrap();
    send_signal(server.pid(), Signal::SIGHUP);
    server.ready_pid("echo", "web.2");
    assert!(server.log().contains("SIGHUP"));
}

#[test]
fn a_directory_that_is_made_anew_is_watched_again_and_its_applications_stay_meanwhile() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("echo", &repo));
    let pid = server.ready_pid("echo", "web.1");
    let directory = server.config_directory();
    let echo = std::fs::read(directory.join("echo.json")).unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
    eventually("it is told", SOON, || {
        let told = server.log().contains("everything stays as it is");
        told.then_some(())
    });
    std::fs::create_dir(&directory).unwrap();
    eventually("it is told again", SOON, || {
        server.log().contains("was made anew").then_some(())
    });
    std::fs::write(directory.join("echo.json"), echo).unwrap();
    let second = document("second", &repo).to_string();
    std::fs::write(directory.join("second.json"), second).unwrap();
    server.ready_pid("second", "web.1");
    assert_eq!(server.ready_pid("echo", "web.1"), pid);
    // It is as before: what goes from now on goes soon.
    std::fs::remove_file(directory.join("second.json")).unwrap();
    eventually("the second is removed", SOON, || {
        (server.get("/applications/second").status == 404).then_some(())
    });
}

/// Makes directories beside `directory` until one has `inode`, which the file system gives anew soon, if it does at
/// all, and gives the last one its name.
fn make_with_inode(directory: &Path, inode: u64) {
    let made: Vec<_> = (0..1000)
        .map(|n| directory.with_file_name(format!("config-{n}")))
        .map_while(|path| {
            std::fs::create_dir(&path).unwrap();
            let is_it = std::fs::metadata(&path).unwrap().ino() == inode;
            (!is_it).then_some(path)
        })
        .collect();
    let last = directory.with_file_name(format!("config-{}", made.len().min(999)));
    std::fs::rename(last, directory).unwrap();
}

#[test]
fn a_directory_that_is_made_anew_with_the_inode_of_the_former_is_another_one() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("echo", &repo));
    let directory = server.config_directory();
    let echo = std::fs::read(directory.join("echo.json")).unwrap();
    let inode = std::fs::metadata(&directory).unwrap().ino();
    std::fs::remove_dir_all(&directory).unwrap();
    make_with_inode(&directory, inode);
    eventually("it is told", SOON, || {
        server.log().contains("was made anew").then_some(())
    });
    std::fs::write(directory.join("echo.json"), echo).unwrap();
    let second = document("second", &repo).to_string();
    std::fs::write(directory.join("second.json"), second).unwrap();
    server.ready_pid("second", "web.1");
    std::fs::remove_file(directory.join("second.json")).unwrap();
    eventually("the second is removed", SOON, || {
        (server.get("/applications/second").status == 404).then_some(())
    });
}
