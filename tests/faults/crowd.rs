//! Ten thousand clients that are connected and say nothing.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::deploy;
use crate::support::http::Peer;
use crate::support::machine::{memory, skip};
use crate::support::setup::Setup;

/// As many as the fault says.
const WANTED: u64 = 10_000;

/// Connects so often, half of the time with a request before the silence, from some hundred addresses of the machine's
/// own; says so, and keeps them until its stdin ends.
const CROWD: &str = r#"
import resource, socket, sys
port, wanted = int(sys.argv[1]), int(sys.argv[2])
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
crowd = []
for number in range(wanted):
    one = socket.socket()
    one.settimeout(60)
    one.bind(("127.1.%d.1" % (number // 100), 0))
    one.connect(("127.0.0.1", port))
    if number % 2:
        one.sendall(b"GET /nobody/ HTTP/1.1\r\nHost: crowd\r\n\r\n")
        assert one.recv(1 << 16).startswith(b"HTTP/1.1 404"), "an answer"
    crowd.append(one)
print("connected", flush=True)
sys.stdin.read()
closed = 0
for one in crowd:
    one.setblocking(False)
    try:
        # What is left of a response, then the end.
        while one.recv(1 << 16):
            pass
        closed += 1
    except BlockingIOError:
        pass
print("closed", closed, flush=True)
"#;

/// How many descriptors a process of this machine can have, but for a few.
fn room() -> u64 {
    let limit = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE);
    limit.unwrap().1.saturating_sub(1000)
}

#[test]
fn ten_thousand_silent_connections_take_little_memory_and_keep_nobody_from_being_served() {
    let count = WANTED.min(room());
    if count < WANTED {
        skip(
            "10,000 idle connections",
            &format!("the hard limit of open files allows {count}"),
        );
    }
    let server = Setup::new()
        .flag("--timeouts-head", "10m")
        .flag("--timeouts-idle", "10m")
        .flag("--limits-connections", "20000")
        .start();
    let _repo = deploy(&server, "echo", "");
    let Peer::Tcp(address) = server.public() else {
        unreachable!("it is TCP")
    };
    let before = memory(server.pid());
    let mut command = Command::new("python3");
    command.args(["-c", CROWD, &address.port().to_string(), &count.to_string()]);
    let mut crowd = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut said = BufReader::new(crowd.stdout.take().unwrap()).lines();
    assert_eq!(said.next().expect("it connects").unwrap(), "connected");

    let each = memory(server.pid()).saturating_sub(before) / count;
    assert!(each < 16 << 10, "{each} bytes for each connection");
    let begun = Instant::now();
    for _ in 0..20 {
        server.visit("/echo/").expect(200);
        server.status("echo");
    }
    // Looking at all that are idle for every request would take long.
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );

    drop(crowd.stdin.take());
    assert_eq!(said.next().expect("it counts").unwrap(), "closed 0");
    assert!(crowd.wait().unwrap().success());
    server.visit("/echo/").expect(200);
}
