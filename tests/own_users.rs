//! By default each app of root's server has a user of its own: made with it, kept as long as it has files, removed with
//! them.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

use nix::unistd::{Group, User};
use serde_json::{Value, json};

use crate::support::fixture::{document, web_repo, with};
use crate::support::machine::{is_root, skip};
use crate::support::own_users::{OwnUsers, useradd, userdel};
use crate::support::repo::Repo;
use crate::support::server::Server;
use crate::support::setup::Setup;
use crate::support::wait::{SOON, eventually};

fn no_root(test: &str) -> bool {
    if !is_root() {
        skip(test, "only root makes users");
    }
    !is_root()
}

fn server() -> Server {
    Setup::new().with_own_users().start()
}

/// The users that a server has made and not removed.
fn users(server: &Server) -> Vec<String> {
    let users = std::mem::ManuallyDrop::new(OwnUsers::of(server.directory()));
    users.names()
}

fn user_of(server: &Server, app: &str) -> String {
    let status = server.status(app);
    let user = status["user"].as_str();
    user.unwrap_or_else(|| panic!("{status}")).to_owned()
}

fn uid(user: &str) -> Option<u32> {
    Some(User::from_name(user).unwrap()?.uid.as_raw())
}

/// As whom the app says that it runs.
fn runs_as(server: &Server, app: &str) -> Option<u64> {
    server.visit(&format!("/{app}/")).expect(200).json()["uid"].as_u64()
}

fn delete(server: &Server, app: &str) {
    let path = format!("/applications/{app}");
    server
        .send_and_wait("DELETE", &path, &Value::Null)
        .expect(200);
}

fn storage(server: &Server, app: &str) -> std::path::PathBuf {
    server.directory().join("apps").join(app).join("storage")
}

fn deploy(server: &Server, app: &str) -> Repo {
    let repo = web_repo("1");
    server.deploy(&document(app, &repo));
    repo
}

#[test]
fn each_app_has_a_user_that_nobody_logs_in_as_and_that_goes_with_it() {
    if no_root("a user for each app") {
        return;
    }
    let server = server();
    let _repos = [deploy(&server, "users-a"), deploy(&server, "users-b")];
    let names = ["users-a", "users-b"].map(|app| user_of(&server, app));
    assert_eq!(users(&server), names);
    for (app, name) in ["users-a", "users-b"].into_iter().zip(&names) {
        assert!(name.starts_with(&format!("ps-{app}")), "{name}");
        let user = User::from_name(name).unwrap().expect("it is made");
        assert_eq!(runs_as(&server, app), Some(user.uid.as_raw().into()));
        assert_eq!(user.shell.to_str(), Some("/usr/sbin/nologin"));
        assert!(user.uid.as_raw() < 1000, "{user:?}");
        let group = Group::from_gid(user.gid).unwrap().expect("it has a group");
        assert_eq!(&group.name, name);
        assert_eq!(
            storage(&server, app).metadata().unwrap().uid(),
            user.uid.as_raw()
        );
    }
    delete(&server, "users-a");
    assert_eq!(users(&server), [names[1].clone()]);
    assert_eq!(runs_as(&server, "users-b"), uid(&names[1]).map(u64::from));
    // What is kept keeps its user; an app of that name gets both back.
    std::fs::write(storage(&server, "users-b").join("kept"), "").unwrap();
    server
        .request("DELETE", "/applications/users-b?keep=storage")
        .header("Prefer", "wait=60")
        .send(&server.public())
        .expect(200);
    assert_eq!(users(&server), [names[1].clone()]);
    let _repo = deploy(&server, "users-b");
    assert_eq!(user_of(&server, "users-b"), names[1]);
    assert!(storage(&server, "users-b").join("kept").exists());
    delete(&server, "users-b");
    assert_eq!(users(&server), Vec::<String>::new());
    assert!(
        names
            .iter()
            .all(|name| Group::from_name(name).unwrap().is_none())
    );
}

#[test]
fn the_ids_of_a_removed_app_are_not_given_to_the_next_one() {
    if no_root("ids of removed apps") {
        return;
    }
    let mut server = server();
    let mut seen = Vec::new();
    for app in ["users-id-1", "users-id-2", "users-id-3"] {
        let _repo = deploy(&server, app);
        let user = User::from_name(&user_of(&server, app)).unwrap().unwrap();
        let ids = [user.uid.as_raw(), user.gid.as_raw()];
        assert!(seen.iter().all(|id| !ids.contains(id)), "{ids:?} {seen:?}");
        seen.extend(ids);
        delete(&server, app);
        server.kill();
        server.start_again();
    }
}

#[test]
fn a_copy_of_a_data_directory_has_users_of_its_own_and_a_moved_one_keeps_them() {
    if no_root("a copy of a data directory") {
        return;
    }
    let mut one = server();
    let _repo = deploy(&one, "users-copy");
    let name = user_of(&one, "users-copy");
    one.terminate();
    let mut other = server();
    other.terminate();
    let copy = |from: &std::path::Path, to: &std::path::Path| {
        for part in ["apps", "config"] {
            let _none_yet = std::fs::remove_dir_all(to.join(part));
            let copied = Command::new("cp")
                .arg("-a")
                .arg(from.join(part))
                .arg(to)
                .status();
            assert!(copied.unwrap().success());
        }
    };
    copy(one.directory(), other.directory());
    other.start_again();
    other.ready_pid("users-copy", "web.1");
    let of_copy = user_of(&other, "users-copy");
    assert_ne!(of_copy, name);
    assert_ne!(uid(&of_copy), uid(&name));
    assert_eq!(
        storage(&other, "users-copy").metadata().unwrap().uid(),
        uid(&of_copy).unwrap()
    );
    delete(&other, "users-copy");
    assert!(uid(&name).is_some());
    assert_eq!(users(&other), Vec::<String>::new());
    // Moved: the other place is no more.
    other.terminate();
    copy(one.directory(), other.directory());
    std::fs::remove_dir_all(one.directory().join("apps")).unwrap();
    other.start_again();
    other.ready_pid("users-copy", "web.1");
    assert_eq!(user_of(&other, "users-copy"), name);
    assert_eq!(users(&other), std::slice::from_ref(&name));
    delete(&other, "users-copy");
    assert_eq!(uid(&name), None);
}

#[test]
fn an_account_that_can_be_logged_in_to_is_not_taken_for_the_apps() {
    if no_root("an imitated user") {
        return;
    }
    use sha2::{Digest, Sha256};
    let server = server();
    let root = server.directory().join("apps/users-like");
    let hash = Sha256::digest(root.as_os_str().as_encoded_bytes());
    let hash: String = hash[..8].iter().map(|b| format!("{b:02x}")).collect();
    let comment = format!("procserver app users-like ({hash})");
    let stranger = "ps-users-like";
    useradd(&[
        "--no-create-home",
        "--shell",
        "/bin/sh",
        "--comment",
        &comment,
        stranger,
    ]);
    let _stranger = Stranger(stranger);
    let _repo = deploy(&server, "users-like");
    assert_ne!(user_of(&server, "users-like"), stranger);
    delete(&server, "users-like");
    assert!(uid(stranger).is_some());
}

/// Runs Python code as root, which is to become an app's user, and then says so. It ends in time by itself, too.
fn stray(code: &str) -> Child {
    let code = format!("import os, time\n{code}\nprint(1, flush=True)\ntime.sleep(60)");
    let mut child = Command::new("python3")
        .args(["-c", &code])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = child.stdout.as_mut().expect("it is piped");
    stdout.read_exact(&mut [0]).expect("it says so");
    child
}

#[test]
fn nothing_that_runs_as_the_user_outlives_it_or_keeps_it_from_being_removed() {
    if no_root("processes of the user") {
        return;
    }
    let server = server();
    let _repo = deploy(&server, "users-stray");
    let id = uid(&user_of(&server, "users-stray")).unwrap();
    // By a file with the set-user-ID bit; with another root, where userdel(8) does not look; of somebody who can become it.
    let strays = [
        format!("os.setresuid({id}, {id}, {id})"),
        format!("os.chroot('/var/lib'); os.setresuid({id}, {id}, {id})"),
        format!("os.setresuid(65534, 65534, {id})"),
    ]
    .map(|code| stray(&code));
    // Each is buried at once, as init does.
    let ended = strays.map(|mut child| std::thread::spawn(move || child.wait().unwrap().signal()));
    delete(&server, "users-stray");
    assert_eq!(users(&server), Vec::<String>::new());
    let ended = ended.map(|ended| ended.join().unwrap());
    assert_eq!(ended, [Some(9); 3]);
}

/// A user that somebody else has made, for the time of a test.
struct Stranger(&'static str);

impl Stranger {
    fn make(name: &'static str) -> Self {
        useradd(&["--system", "--no-create-home", name]);
        Self(name)
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        userdel(self.0);
    }
}

#[test]
fn a_user_that_somebody_else_has_made_is_neither_used_nor_removed() {
    if no_root("a foreign user of the name") {
        return;
    }
    let server = server();
    let stranger = Stranger::make("ps-users-foreign");
    let _repo = deploy(&server, "users-foreign");
    let name = user_of(&server, "users-foreign");
    assert!(name.starts_with("ps-users-foreign-"), "{name}");
    // Not even where a record says that it is the app's.
    server.act("users-foreign", "stop").expect(200);
    let record = server.directory().join("apps/users-foreign/user.json");
    let claimed = json!({ "user": stranger.0, "uid": uid(stranger.0) });
    std::fs::write(&record, claimed.to_string()).unwrap();
    server.act("users-foreign", "start").expect(200);
    assert_eq!(user_of(&server, "users-foreign"), name);
    delete(&server, "users-foreign");
    assert!(uid(stranger.0).is_some());
    assert_eq!(users(&server), Vec::<String>::new());
}

#[test]
fn apps_of_the_same_name_on_two_servers_are_two_users() {
    if no_root("two servers") {
        return;
    }
    let (one, other) = (server(), server());
    let _repos = [deploy(&one, "users-twin"), deploy(&other, "users-twin")];
    let names = [&one, &other].map(|server| user_of(server, "users-twin"));
    assert_ne!(names[0], names[1]);
    delete(&one, "users-twin");
    assert_eq!((users(&one).len(), users(&other).len()), (0, 1));
    assert_eq!(runs_as(&other, "users-twin"), uid(&names[1]).map(u64::from));
}

#[test]
fn an_app_of_an_old_data_directory_keeps_its_user_until_the_document_says_otherwise() {
    if no_root("an old data directory") {
        return;
    }
    // As servers were before: all apps share a user.
    let mut setup = Setup::new().with_own_users();
    let shared = match User::from_name("www-data").unwrap() {
        Some(_) => "www-data",
        None => "nobody",
    };
    setup.set_flag("--default-user", shared);
    let mut server = setup.start();
    let repo = deploy(&server, "users-old");
    let old = storage(&server, "users-old").join("old");
    std::fs::write(&old, "").unwrap();
    std::os::unix::fs::chown(&old, uid(shared), None).unwrap();
    let pid = server.ready_pid("users-old", "web.1");
    server.kill();
    server.set_flag("--default-user", "per-app");
    server.start_again();
    assert_eq!(server.ready_pid("users-old", "web.1"), pid);
    repo.commit(&[("VERSION", "2")]);
    server.act("users-old", "redeploy").expect(200);
    assert_eq!(user_of(&server, "users-old"), shared);
    assert_eq!(runs_as(&server, "users-old"), uid(shared).map(u64::from));
    assert_eq!(users(&server), Vec::<String>::new());
    // A new one beside it has its own.
    let _repo = deploy(&server, "users-new");
    assert!(user_of(&server, "users-new").starts_with("ps-users-new"));
    // Its files go with it.
    let own = json!({ "user": "per-app" });
    server
        .send_and_wait("PATCH", "/applications/users-old", &own)
        .expect(200);
    let name = user_of(&server, "users-old");
    assert!(name.starts_with("ps-users-old"), "{name}");
    assert_eq!(Some(old.metadata().unwrap().uid()), uid(&name));
    // And with a user that is named it is as it always was.
    let named = json!({ "user": "nobody" });
    server
        .send_and_wait("PATCH", "/applications/users-old", &named)
        .expect(200);
    assert_eq!(user_of(&server, "users-old"), "nobody");
    delete(&server, "users-old");
    delete(&server, "users-new");
    assert_eq!(users(&server), Vec::<String>::new());
}

#[test]
fn a_user_that_was_lost_is_made_again_with_the_same_id_and_what_runs_is_taken_over() {
    if no_root("a lost user") {
        return;
    }
    let mut server = server();
    // It has the id that would come next when the app's user is made again.
    let before = Stranger::make("ps-users-before");
    let _repo = deploy(&server, "users-lost");
    let (name, pid) = (
        user_of(&server, "users-lost"),
        server.ready_pid("users-lost", "web.1"),
    );
    let id = uid(&name);
    server.kill();
    // As after passwd was restored; userdel(8) does not end the process.
    let gone = Command::new("userdel")
        .args(["--force", &name])
        .output()
        .unwrap();
    assert!(gone.status.success(), "{gone:?}");
    drop(before);
    server.start_again();
    assert_eq!(server.ready_pid("users-lost", "web.1"), pid);
    assert_eq!(uid(&name), id);
    delete(&server, "users-lost");
    assert_eq!(users(&server), Vec::<String>::new());
}

#[test]
fn a_lock_that_another_program_holds_is_waited_for() {
    if no_root("a lock of passwd") {
        return;
    }
    let server = server();
    let lock = Lock::take();
    let repo = web_repo("1");
    server
        .send("POST", "/applications", &document("users-lock", &repo))
        .expect(202);
    eventually("useradd is refused", SOON, || {
        server
            .log()
            .contains("useradd is tried again")
            .then_some(())
    });
    drop(lock);
    server.ready_pid("users-lock", "web.1");
    delete(&server, "users-lock");
    assert_eq!(users(&server), Vec::<String>::new());
}

/// The lock of passwd, as vipw(8) takes it.
struct Lock;

impl Lock {
    const PATH: &str = "/etc/passwd.lock";

    fn take() -> Self {
        eventually("the lock is free", SOON, || {
            let made = std::fs::File::options()
                .write(true)
                .create_new(true)
                .open(Self::PATH);
            let mut file = made.ok()?;
            std::io::Write::write_all(&mut file, std::process::id().to_string().as_bytes()).ok()
        });
        Self
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(Self::PATH);
    }
}

#[test]
fn where_users_cannot_be_made_the_deployment_says_so_and_a_named_user_works() {
    if no_root("no useradd") {
        return;
    }
    let hide = "mount --bind /dev/null /usr/sbin/useradd";
    let server = Setup::new().with_own_users().with_mounts(hide).start();
    let repo = web_repo("1");
    let wanted = document("users-none", &repo);
    let refused = server
        .send_and_wait("POST", "/applications", &wanted)
        .expect(422)
        .text();
    assert!(
        refused.contains("useradd") && refused.contains("default_user"),
        "{refused}"
    );
    let named = with(wanted, json!({ "user": "nobody" }));
    server
        .send_and_wait("PUT", "/applications/users-none", &named)
        .expect(200);
    assert_eq!(runs_as(&server, "users-none"), uid("nobody").map(u64::from));
}

/// Kills the server at a step of making or removing a user: the next one finishes it, and nothing is left at the end.
fn killed_at(failpoint: &str, app: &str, while_removed: bool) {
    if no_root(failpoint) {
        return;
    }
    if !cfg!(debug_assertions) {
        return skip(failpoint, "there are no failpoints in this build");
    }
    let mut server = server();
    let repo = web_repo("1");
    let asked = match while_removed {
        true => {
            server.deploy(&document(app, &repo));
            server.arm_kill(failpoint);
            server.request("DELETE", &format!("/applications/{app}"))
        }
        false => {
            server.arm_kill(failpoint);
            server
                .request("POST", "/applications")
                .header("Content-Type", "application/json")
                .body(document(app, &repo).to_string())
        }
    };
    let _answer = asked.try_send(&server.public());
    server.wait_for_death();
    server.start_again();
    if !while_removed {
        server.ready_pid(app, "web.1");
        assert_eq!(users(&server), [user_of(&server, app)]);
        delete(&server, app);
    }
    eventually("nothing is left", SOON, || {
        let is_gone = !server.directory().join("apps").join(app).exists();
        (is_gone && users(&server).is_empty()).then_some(())
    });
}

#[test]
fn killed_before_a_user_is_made() {
    killed_at("before a user is made", "users-kill-1", false);
}

#[test]
fn killed_after_a_user_is_made() {
    killed_at("after a user is made", "users-kill-2", false);
}

#[test]
fn killed_before_a_record_is_written() {
    killed_at("before users-kill-3 user.json", "users-kill-3", false);
}

#[test]
fn killed_before_a_user_is_removed() {
    killed_at("before a user is removed", "users-kill-4", true);
}

#[test]
fn killed_after_a_user_is_removed() {
    killed_at("after a user is removed", "users-kill-5", true);
}
