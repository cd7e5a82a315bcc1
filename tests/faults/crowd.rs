//! Ten thousand clients that are connected and say nothing.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::deploy;
use crate::support::http::Peer;
use crate::support::machine::{memory, skip};
use crate::support::setup::Setup;
use crate::support::wait::{SOON, eventually};

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

/// Opens connections at this address of the loopback network until the server closes one, or there are `most`.
fn fill(last: u8, to: std::net::SocketAddr, most: usize) -> Vec<std::net::TcpStream> {
    use std::io::{Read, Write};
    let mut crowd = Vec::new();
    while crowd.len() < most {
        let Some(mut stream) = connect_from(last, to) else {
            break;
        };
        let asked = stream.write_all(b"GET /nobody/ HTTP/1.1\r\nHost: crowd\r\n\r\n");
        if asked.is_err() || !matches!(stream.read(&mut [0; 4096]), Ok(1..)) {
            break;
        }
        crowd.push(stream);
    }
    crowd
}

/// How many the server has not closed.
fn open(crowd: &[std::net::TcpStream]) -> usize {
    use std::io::{ErrorKind, Read};
    let is_open = |mut stream: &std::net::TcpStream| {
        stream.set_nonblocking(true).unwrap();
        loop {
            match stream.read(&mut [0; 4096]) {
                // What is left of a response.
                Ok(1..) => {}
                other => return other.is_err_and(|e| e.kind() == ErrorKind::WouldBlock),
            }
        }
    };
    crowd.iter().filter(|stream| is_open(stream)).count()
}

fn connect_from(last: u8, to: std::net::SocketAddr) -> Option<std::net::TcpStream> {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let from = std::net::SocketAddr::from(([127, 0, 0, last], 0));
    socket.bind(&from.into()).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    socket.connect(&to.into()).ok()?;
    Some(socket.into())
}

#[test]
fn crowds_that_say_nothing_leave_room_for_processes_the_socket_and_other_addresses() {
    let server = Setup::new()
        .flag("--timeouts-head", "10m")
        .flag("--timeouts-idle", "10m")
        .flag("--workers", "2")
        .launched_by(&["prlimit", "--nofile=256:256"])
        .start();
    let _repo = deploy(&server, "echo", "");
    let Peer::Tcp(address) = server.public() else {
        unreachable!("it is TCP")
    };
    let mut crowds = Vec::new();
    for last in 2..6 {
        let crowd = fill(last, address, 200);
        assert!(crowd.len() >= 20, "{} of {last}", crowd.len());
        // Its own may have been ended to make room for more of it.
        eventually("half of 104 at most are open", SOON, || {
            (open(&crowd) <= 52).then_some(())
        });
        crowds.push(crowd);
    }
    // There is room for processes, for the API, and for one who comes from elsewhere.
    let socket = Peer::Unix(server.socket());
    let request = crate::support::http::Request::new("POST", "/applications/echo/restart");
    request
        .header("Prefer", "wait=50")
        .send(&socket)
        .expect(200);
    assert_eq!(fill(9, address, 3).len(), 3);
    server.visit("/echo/").expect(200);
    let log = server.log();
    assert!(
        log.contains("LimitNOFILE") && log.contains("limits.connections_per_address"),
        "{log}"
    );
    assert!(!log.contains("os error 24"), "{log}");
}
