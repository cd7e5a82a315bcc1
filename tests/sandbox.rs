//! An app beside another one, each with a user of its own: what it can read, write, signal, see and answer for of the
//! other, of the server and of the machine.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::fixture::{document, with};
use crate::support::machine::{is_alive, is_root, send_signal, skip};
use crate::support::repo::Repo;
use crate::support::server::Server;
use crate::support::setup::Setup;
use crate::support::wait::{SOON, eventually};

/// Runs what it is sent and tells what came of it; its name is the answer to a GET.
const APP: &str = r#"
import http.server, json, os, socketserver, subprocess
class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, text):
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        self.answer(os.environ["PROCSERVER_APP"])
    def do_POST(self):
        script = self.rfile.read(int(self.headers["Content-Length"])).decode()
        ran = subprocess.run(["sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.answer(json.dumps([ran.returncode, ran.stdout]))
    def log_message(self, *args):
        pass
    def address_string(self):
        return "unix"
class Unix(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    pass
if os.environ.get("ON") == "socket":
    Unix(os.environ["SOCKET"], Handler).serve_forever()
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"#;

/// Takes a port as soon as it can and answers there.
const THIEF: &str = r#"
import socket, sys
def take():
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        made.bind(("127.0.0.1", int(sys.argv[1])))
        made.listen(64)
        return made
    except OSError:
        made.close()
taken = None
while not taken:
    taken = take()
print("taken", flush=True)
while True:
    client, _ = taken.accept()
    client.recv(65536)
    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nthief")
    client.close()
"#;

/// Two apps, `spy` and `prey`, outside of `/tmp`.
struct World {
    server: Server,
    _repo: Repo,
}

impl World {
    fn new(test: &str, changes: Value) -> Option<Self> {
        if !is_root() {
            skip(test, "only root gives apps users of their own");
            return None;
        }
        Self::made(
            Setup::below(Path::new("/var/lib")).with_own_users(),
            &changes,
        )
    }

    fn made(setup: Setup, changes: &Value) -> Option<Self> {
        let server = setup.start();
        let repo = Repo::new(&[
            (
                "Procfile",
                "web: exec python3 app.py\nworker: exec sleep 600\n",
            ),
            ("app.py", APP),
            ("thief.py", THIEF),
            ("kernel.py", KERNEL),
        ]);
        for name in ["spy", "prey"] {
            server.deploy(&with(document(name, &repo), changes.clone()));
        }
        Some(Self {
            server,
            _repo: repo,
        })
    }

    /// What came of a script that an app runs: its exit code and all that it printed.
    #[track_caller]
    fn run(&self, app: &str, script: &str) -> (i64, String) {
        let asked = self.server.request("POST", &format!("/{app}/"));
        let told = asked.body(script).send(&self.server.public());
        let told = told.expect(200).json();
        let (code, text) = (told[0].as_i64().unwrap(), told[1].as_str().unwrap());
        (code, text.trim_end().to_owned())
    }

    /// Runs a script that must fail; what it printed.
    #[track_caller]
    fn fails(&self, script: &str) -> String {
        let (code, text) = self.run("spy", script);
        assert_ne!(code, 0, "{script}: {text}");
        text
    }

    /// Runs a script that must not fail; what it printed.
    #[track_caller]
    fn does(&self, script: &str) -> String {
        let (code, text) = self.run("spy", script);
        assert_eq!(code, 0, "{script}: {text}");
        text
    }

    fn data(&self) -> String {
        self.server.directory().display().to_string()
    }

    fn process(&self, app: &str) -> Value {
        self.server.process(app, "web.1")
    }

    fn pid(&self, app: &str) -> i32 {
        self.server.ready_pid(app, "web.1")
    }
}

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

/// SysV IPC, and keys (keyctl(2)), by system calls.
const KERNEL: &str = r#"
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
fn nothing_of_the_sandbox_is_lacking_before_the_first_process_either() {
    let Some(world) = World::new("the first deployment", json!({ "install": ["sleep 0"] })) else {
        return;
    };
    let log = world.server.get("/applications/spy/logs/install");
    let log = log.expect(200).text();
    assert!(log.contains("sleep 0"), "{log}");
    assert!(!log.contains("it runs without"), "{log}");
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

#[test]
fn the_port_of_another_app_cannot_be_taken_while_it_runs_and_is_no_use_while_it_restarts() {
    let Some(world) = World::new("the port of another app", json!({})) else {
        return;
    };
    let port = world.process("prey")["port"].as_u64().unwrap();
    let taken = "timeout 1 python3 thief.py";
    let said = world.fails(&format!("{taken} {port}"));
    assert_eq!(said, "");
    // It waits for the moment when the port is free.
    let wait = format!("setsid python3 thief.py {port} > $TMPDIR/thief 2>&1 &");
    world.does(&wait);
    world.server.act("prey", "stop").expect(200);
    eventually("the port is taken", SOON, || {
        (world.run("spy", "cat $TMPDIR/thief").1 == "taken").then_some(())
    });
    world.server.act("prey", "start").expect(200);
    assert_ne!(world.process("prey")["port"], port);
    for _ in 0..20 {
        assert_eq!(world.server.visit("/prey/").expect(200).text(), "prey");
    }
    // And while it restarts: whoever answers at its port is not asked.
    let port = world.process("prey")["port"].as_u64().unwrap();
    world.does(&format!(
        "setsid python3 thief.py {port} > $TMPDIR/thief 2>&1 &"
    ));
    for _ in 0..5 {
        let pid = world.pid("prey");
        send_signal(pid, nix::sys::signal::Signal::SIGKILL);
        eventually("another is ready", SOON, || {
            let process = world.process("prey");
            (process["state"] == "ready" && process["pid"] != pid).then_some(())
        });
        for _ in 0..5 {
            assert_eq!(world.server.visit("/prey/").expect(200).text(), "prey");
        }
    }
}

#[test]
fn the_socket_of_another_app_is_not_there_and_nobody_else_answers_on_it() {
    let Some(world) = World::new(
        "the socket of another app",
        json!({ "env": { "ON": "socket" } }),
    ) else {
        return;
    };
    let connect = |path: &str| {
        format!("python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect(\"{path}\")'")
    };
    let socket = world.process("prey")["socket"]
        .as_str()
        .expect("it listens there")
        .to_owned();
    let own = world.process("spy")["socket"]
        .as_str()
        .expect("it listens there")
        .to_owned();
    world.does(&connect(&own));
    let said = world.fails(&connect(&socket));
    assert!(said.contains("No such file"), "{said}");
    let said = world.fails(&connect(&format!("{}/run/procserver.sock", world.data())));
    assert!(said.contains("No such file"), "{said}");
    // While it restarts, again and again: nobody else ever answers.
    world.fails(&format!("mkdir -p $(dirname {socket})"));
    for _ in 0..5 {
        let pid = world.pid("prey");
        send_signal(pid, nix::sys::signal::Signal::SIGKILL);
        let answer = eventually("it answers again", SOON, || {
            let answer = world
                .server
                .request("GET", "/prey/")
                .send(&world.server.public());
            (answer.status == 200).then(|| answer.text())
        });
        assert_eq!(answer, "prey");
        eventually("another is ready", SOON, || {
            let process = world.process("prey");
            (process["state"] == "ready" && process["pid"] != pid).then_some(())
        });
    }
}

#[test]
fn an_app_that_says_so_sees_what_the_machine_has_and_still_opens_nothing_of_others() {
    let Some(world) = World::new("no sandbox", json!({ "sandbox": false })) else {
        return;
    };
    let data = world.data();
    let name = format!("procserver-spy-{}-open", std::process::id());
    world.does(&format!("echo mine > /tmp/{name}"));
    std::fs::remove_file(Path::new("/tmp").join(&name)).expect("it is the machine's");
    world.does(&format!("cat /proc/{}/cmdline", world.pid("prey")));
    for script in [
        format!("ls {data}/apps"),
        format!("cat {data}/apps/prey/storage/x"),
        format!("cat {data}/token"),
        format!("cat {data}/config/prey.json"),
        format!("cat /proc/{}/environ", world.pid("prey")),
    ] {
        let said = world.fails(&script);
        assert!(said.contains("Permission denied"), "{script}: {said}");
    }
}
