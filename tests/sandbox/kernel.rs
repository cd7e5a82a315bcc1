//! What the kernel has for all: processes, capabilities, shared memory, keys.

use std::path::Path;

use serde_json::json;

use super::world::World;
use crate::support::machine::{is_alive, is_root, skip};
use crate::support::setup::Setup;

/// SysV IPC, and keys (keyctl(2)), by system calls.
pub(super) const KERNEL: &str = r#"
import ctypes, os, platform, sys
libc = ctypes.CDLL(None, use_errno=True)
add_key, keyctl = {"x86_64": (248, 250)}.get(platform.machine(), (217, 219))
do, name = sys.argv[1:3]
if do == "share":
    print(libc.shmget(int(name), 4096, 0o1666) >= 0)
if do == "find":
    print(libc.shmget(int(name), 0, 0) >= 0)
if do == "put":
    print(libc.syscall(add_key, b"user", name.encode(), b"secret", 6, -3) > 0)
if do == "search":
    print(libc.syscall(keyctl, 10, -3, b"user", name.encode(), 0) > 0)
if do == "join":
    print(libc.syscall(keyctl, 1, None) > 0 and libc.syscall(add_key, b"user", name.encode(), b"secret", 6, -3) > 0, flush=True)
    os.execvp(sys.argv[3], sys.argv[3:])
"#;

#[test]
fn shared_memory_of_another_app_is_not_there() {
    let Some(world) = World::new("IPC of another app", json!({})) else {
        return;
    };
    let name = std::process::id();
    let shared = world.does(&format!("python3 kernel.py share {name}"));
    assert_eq!(shared, "True");
    // It is kept as long as anything of the process runs.
    let found = world.does(&format!("python3 kernel.py find {name}"));
    assert_eq!(found, "True");
    let (_, found) = world.run("prey", &format!("python3 kernel.py find {name}"));
    assert_eq!(found, "False");
    let machines = std::fs::read_to_string("/proc/sysvipc/shm").unwrap();
    let is_there = |line: &str| line.split_whitespace().next() == Some(&name.to_string());
    assert!(!machines.lines().any(is_there), "{machines}");
}

#[test]
fn keys_of_the_server_and_of_other_apps_are_not_handed_on() {
    let test = "keys of the server";
    if !is_root() {
        return skip(test, "only root gives apps users of their own");
    }
    if !Path::new("/proc/keys").exists() {
        return skip(test, "this kernel keeps no keys");
    }
    let name = format!("procserver-test-{}", std::process::id());
    let words = ["python3", "-c", KERNEL, "join", &name];
    let setup = Setup::below(Path::new("/var/lib")).with_own_users();
    let Some(world) = World::made(setup.launched_by(&words), &json!({})) else {
        return;
    };
    let search = |app, name: &str| {
        world
            .run(app, &format!("python3 kernel.py search {name}"))
            .1
    };
    assert_eq!(search("spy", &name), "False");
    let own = format!("{name}-own");
    assert_eq!(world.does(&format!("python3 kernel.py put {own}")), "True");
    assert_eq!(search("spy", &own), "True");
    assert_eq!(search("prey", &own), "False");
}

#[test]
fn processes_of_others_are_neither_seen_nor_read_nor_signalled() {
    let Some(world) = World::new("processes of others", json!({})) else {
        return;
    };
    let (prey, spy, server) = (world.pid("prey"), world.pid("spy"), world.server.pid());
    let seen = world.does("for p in /proc/[0-9]*; do stat -c %u $p 2>/dev/null; done | sort -u");
    assert_eq!(seen, world.does("id -u"));
    world.does(&format!("cat /proc/{spy}/environ > /dev/null"));
    for foreign in [prey, server, 1] {
        for file in ["environ", "cmdline", "status", "fd", "root"] {
            let said = world.fails(&format!("ls /proc/{foreign}/{file}"));
            assert!(said.contains("No such file"), "{said}");
        }
        for signal in ["0", "TERM", "KILL", "STOP"] {
            let said = world.fails(&format!("/bin/kill -{signal} {foreign}"));
            assert!(said.contains("not permitted"), "{said}");
        }
    }
    assert_eq!(world.pid("prey"), prey);
    assert!(is_alive(server));
}

#[test]
fn nothing_has_a_capability_or_gains_one() {
    let Some(world) = World::new("capabilities", json!({})) else {
        return;
    };
    let data = world.data();
    let status = world.does("cat /proc/self/status");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        let none = format!("{set}:\t{}", "0".repeat(16));
        assert!(status.contains(&none), "{status}");
    }
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    // Neither by a user namespace, in which it is root, nor by unmounting what hides.
    let undo = format!("umount -l {data} || mount -t proc none /proc || umount -l /proc");
    world.fails(&undo);
    world.fails(&format!(
        "unshare --user --map-root-user --mount sh -c '{undo}'"
    ));
    let script = format!(
        "unshare --user --map-root-user sh -c 'cat {data}/token {data}/apps/prey/state.json /proc/1/environ'"
    );
    world.fails(&script);
}
