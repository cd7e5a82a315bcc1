//! The control groups of processes over the lives of servers: kept by a crash, found from another group, gone with the
//! app.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::{HOG, overflow, repo, server_with};
use crate::support::control_groups::{group_of, groups_of, hash, mark_of, mount_point};
use crate::support::fixture::{document, with};
use crate::support::machine::{is_alive, is_root, skip};
use crate::support::server::Server;
use crate::support::setup::Setup;
use crate::support::wait::{SOON, eventually};

/// The hierarchies in which a process with all limits has groups here.
const CONTROLLERS: [&str; 4] = ["", "memory", "cpu", "pids"];

fn all_limits() -> serde_json::Value {
    json!({ "limits": { "memory": "64M", "cpu": 1, "tasks": 50 } })
}

#[test]
fn groups_are_named_by_app_and_process_live_through_a_crash_and_go_with_the_app() {
    let Some(mut server) = server_with("memory") else {
        return;
    };
    server.deploy(&with(document("echo", &repo(HOG)), all_limits()));
    let pid = server.ready_pid("echo", "hog.1");
    let groups = CONTROLLERS.map(|controller| group_of(pid, controller));
    let top = format!(
        "procserver-apps-{}/echo/hog.1-1-",
        mark_of(server.directory())
    );
    let named = groups.iter().flatten();
    let named = named.filter(|group| group.display().to_string().contains(&top));
    assert!(named.count() > 0, "{groups:?}");

    server.kill();
    server.start_again();
    assert_eq!(server.ready_pid("echo", "hog.1"), pid);
    assert_eq!(
        CONTROLLERS.map(|controller| group_of(pid, controller)),
        groups
    );
    assert_eq!(overflow(&server)["oom"], true);

    let delete = server.request("DELETE", "/applications/echo");
    let delete = delete.header("Prefer", "wait=50");
    delete.send(&server.public()).expect(200);
    assert_eq!(groups_of(&server), Vec::<PathBuf>::new());
}

#[test]
fn groups_of_apps_without_a_document_are_swept_in_every_hierarchy() {
    let Some(mut server) = server_with("memory") else {
        return;
    };
    server.deploy(&with(document("echo", &repo("")), all_limits()));
    let pid = server.ready_pid("echo", "web.1");
    server.kill();
    std::fs::remove_dir_all(server.directory().join("run/apps/echo")).unwrap();
    std::fs::remove_file(server.directory().join("config/echo.json")).unwrap();
    server.start_again();
    eventually("it has ended", SOON, || (!is_alive(pid)).then_some(()));
    // What was killed a moment ago may keep its group until the next start.
    server.kill();
    server.start_again();
    assert_eq!(groups_of(&server), Vec::<PathBuf>::new());
}

/// Groups of a test's own, below which a server is started; gone with it.
struct Elsewhere(Vec<PathBuf>);

impl Elsewhere {
    fn make(name: &str) -> Option<Self> {
        let name = format!("procserver-test-{name}-{}", std::process::id());
        let mounts = ["", "memory"].into_iter().filter_map(mount_point);
        let groups: Vec<_> = mounts.map(|mount| mount.join(&name)).collect();
        let made = groups
            .iter()
            .all(|group| std::fs::create_dir(group).is_ok());
        (made && !groups.is_empty()).then_some(Self(groups))
    }

    /// A shell script that moves itself there, if `switch` exists.
    fn script(&self, switch: &Path) -> String {
        let moves = self.0.iter().map(|group| {
            let group = group.display();
            format!(
                "[ ! -e {} ] || echo $$ >{group}/cgroup.procs; ",
                switch.display()
            )
        });
        format!("{}exec \"$@\"", moves.collect::<String>())
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        for group in &self.0 {
            eventually("the group is empty", SOON, || {
                std::fs::remove_dir(group).is_ok().then_some(())
            });
        }
    }
}

#[test]
fn a_server_that_is_started_in_another_group_takes_over_and_sweeps_the_former_one() {
    let Some(elsewhere) = Elsewhere::make("elsewhere").filter(|_| is_root()) else {
        return skip("a server in another group", "no group can be made");
    };
    let setup = Setup::new();
    let switch = setup.directory().join("elsewhere");
    std::fs::write(&switch, "").unwrap();
    let script = elsewhere.script(&switch);
    let mut server = setup.launched_by(&["sh", "-c", &script, "sh"]).start();
    let repo = repo("lost: exec sleep 600\n");
    server.deploy(&with(document("echo", &repo), all_limits()));
    let (kept, lost) = (
        server.ready_pid("echo", "web.1"),
        server.ready_pid("echo", "lost.1"),
    );
    let group = group_of(kept, "")
        .or_else(|| group_of(kept, "memory"))
        .unwrap();
    assert!(
        elsewhere.0.iter().any(|e| group.starts_with(e)),
        "{group:?}"
    );

    server.kill();
    std::fs::remove_file(&switch).unwrap();
    // Nothing but its control group says whose it is, and to nobody.
    let record = server.directory().join("run/apps/echo/lost.1-1");
    std::fs::remove_dir_all(record).unwrap();
    server.start_again();
    assert_eq!(server.ready_pid("echo", "web.1"), kept);
    eventually("what is lost has ended", SOON, || {
        (!is_alive(lost)).then_some(())
    });
    assert!(group.exists());
    server.act("echo", "stop").expect(200);
    assert!(!group.exists(), "{group:?}");
    server.act("echo", "start").expect(200);
    let pid = server.ready_pid("echo", "web.1");
    let group = group_of(pid, "")
        .or_else(|| group_of(pid, "memory"))
        .unwrap();
    assert!(
        !elsewhere.0.iter().any(|e| group.starts_with(e)),
        "{group:?}"
    );
}

#[test]
fn flat_groups_of_older_servers_are_taken_over_and_removed() {
    let mut server = Server::start();
    if !server.log().contains("each process gets a control group") {
        return skip(
            "groups of older servers",
            "there is no cgroup2 directory to use",
        );
    }
    server.deploy(&document("echo", &repo("")));
    let pid = server.ready_pid("echo", "web.1");
    let group = group_of(pid, "").unwrap();
    server.kill();
    // As a server of yesterday made them.
    let parent = group.ancestors().nth(3).unwrap();
    let mark = mark_of(server.directory());
    let instance = server.directory().join("run/apps/echo/web.1-1");
    let instance = hash(&instance.display().to_string(), 8);
    let old = parent.join(format!("procserver-{mark}-web-1-1-{instance}"));
    let lost = parent.join(format!("procserver-{mark}-worker-1-7-0123456789abcdef"));
    for directory in [&old, &lost] {
        std::fs::create_dir(directory).unwrap();
    }
    std::fs::write(old.join("cgroup.procs"), pid.to_string()).unwrap();
    std::fs::remove_dir(&group).unwrap();
    server.start_again();
    assert_eq!(server.ready_pid("echo", "web.1"), pid);
    assert!(old.exists() && !lost.exists());
    server.act("echo", "restart").expect(200);
    eventually("it is gone", SOON, || (!old.exists()).then_some(()));
    assert!(server.ready_pid("echo", "web.1") != pid);
}
