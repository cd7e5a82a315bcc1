//! The ports and sockets of others.

use serde_json::json;

use super::world::World;
use crate::support::machine::send_signal;
use crate::support::wait::{SOON, eventually};

/// Takes a port as soon as it can and answers there.
pub(super) const THIEF: &str = r#"
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
