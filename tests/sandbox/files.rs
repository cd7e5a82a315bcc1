//! The files of others, and the places where all may write.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::{Value, json};

use super::world::World;

#[test]
fn files_of_another_app_and_of_the_server_are_not_there() {
    let Some(world) = World::new("files of others", json!({})) else {
        return;
    };
    let data = world.data();
    world.run(
        "prey",
        "umask 0; echo secret > $STORAGE_DIR/open; chmod 777 $STORAGE_DIR",
    );
    let absent = [
        format!("cat {data}/apps/prey/storage/open"),
        format!("ls {data}/apps/prey"),
        format!("ls {data}/run/apps/prey"),
        format!("cat {data}/token"),
        format!("cat {data}/config/prey.json"),
        format!("ls {data}/logs"),
        format!("ls {data}/run/procserver.sock"),
    ];
    for script in absent {
        let said = world.fails(&script);
        assert!(said.contains("No such file"), "{script}: {said}");
    }
    assert_eq!(
        world.does(&format!("ls {data} {data}/apps {data}/run/apps")),
        format!("{data}:\napps\nrun\n\n{data}/apps:\nspy\n\n{data}/run/apps:\nspy")
    );
    // Its own part of the server's is closed.
    for script in [
        "repo.git",
        "state.json",
        "user.json",
        "ssh",
        "deployments",
        "logs",
    ] {
        world.fails(&format!(
            "ls {data}/apps/spy/{script}/ || cat {data}/apps/spy/{script}"
        ));
    }
    for place in [
        "/etc",
        "/var/lib",
        "/usr/bin",
        "/",
        &data,
        &format!("{data}/apps"),
    ] {
        world.fails(&format!("echo x > {place}/procserver-spy"));
    }
    for own in ["$STORAGE_DIR", "$TMPDIR", "$HOME", "/tmp", "/var/tmp"] {
        world.does(&format!("echo x > {own}/own"));
    }
    // Builds make hard links from a store in HOME.
    world.does("echo x > $HOME/one && ln $HOME/one $STORAGE_DIR/two");
    // Nothing of it is mounted on the machine.
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&data), "{mounts}");
}

#[test]
fn each_app_has_a_tmp_of_its_own_which_all_its_processes_share_and_which_goes_with_it() {
    let Some(mut world) = World::new("a /tmp for each app", json!({})) else {
        return;
    };
    let name = format!("procserver-spy-{}", std::process::id());
    world.does(&format!(
        "echo mine > /tmp/{name} && cat /var/tmp/{name} $TMPDIR/{name}"
    ));
    assert_eq!(world.run("prey", &format!("cat /tmp/{name}")).0, 1);
    assert!(!Path::new("/tmp").join(&name).exists());
    let of_worker = world.server.ready_pid("spy", "worker.1");
    let seen = std::fs::read_to_string(format!("/proc/{of_worker}/root/tmp/{name}"));
    assert_eq!(seen.unwrap(), "mine\n");
    // It is kept over restarts, also of the server, as long as anything of the app runs.
    world.server.act("spy", "restart").expect(200);
    world.server.kill();
    world.server.start_again();
    world.pid("spy");
    assert_eq!(world.does(&format!("cat /tmp/{name}")), "mine");
    world.server.terminate();
    world.server.start_again();
    world.pid("spy");
    world.fails(&format!("cat /tmp/{name}"));
}

#[test]
fn what_lies_where_all_may_write_is_seen_by_the_apps_own_processes_only_and_goes_with_it() {
    let Some(world) = World::new("places that all may write", json!({})) else {
        return;
    };
    let name = format!("procserver-spy-{}-shared", std::process::id());
    let mut open = vec!["/dev/shm"];
    // Not every machine has it.
    open.extend(Path::new("/run/lock").is_dir().then_some("/run/lock"));
    let of_worker = world.server.ready_pid("spy", "worker.1");
    for place in &open {
        let path = format!("{place}/{name}");
        world.does(&format!(
            "cp /bin/true {path} && chmod 4755 {path} && echo more > {path}.more"
        ));
        assert!(!Path::new(&path).exists(), "{path} is on the machine");
        assert_ne!(world.run("prey", &format!("ls {path}")).0, 0, "{path}");
        let seen = std::fs::read_to_string(format!("/proc/{of_worker}/root{path}.more"));
        assert_eq!(seen.unwrap(), "more\n");
    }
    for place in ["/tmp", "/var/tmp", "/dev/shm"] {
        let mounted = world.does(&format!(
            "grep ' {place} ' /proc/self/mountinfo | tail -n 1"
        ));
        assert!(
            mounted.contains("nosuid") && mounted.contains("nodev"),
            "{mounted}"
        );
    }
    // Nobody else comes to it on the machine, and nothing of it stays.
    let kept = || {
        let found = std::process::Command::new("find")
            .args(["/dev/shm", "/run/lock", "-name", &name])
            .output();
        String::from_utf8(found.unwrap().stdout).unwrap()
    };
    let shared = kept();
    let held = shared.lines().find(|path| path.starts_with("/dev/shm/"));
    let parent = held.map(|path| Path::new(path).ancestors().nth(2).unwrap());
    if let Some(parent) = parent {
        let found = std::fs::metadata(parent).unwrap();
        assert_eq!((found.uid(), found.mode() & 0o7777), (0, 0o700), "{shared}");
    }
    world
        .server
        .send_and_wait("DELETE", "/applications/spy", &Value::Null)
        .expect(200);
    assert_eq!(kept(), "");
}
