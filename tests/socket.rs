//! The Unix socket, where the kernel says who asks.

use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::support::http::{Peer, Request};
use crate::support::machine::{is_root, skip};
use crate::support::server::Server;

/// Asks the API for the list of apps as another user would; prints the status line or the error.
const ASK: &str = "
import socket, sys
try:
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(20)
    s.connect(sys.argv[1])
    s.sendall(b'GET /applications HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n')
    print(s.recv(100).split(b'\\r\\n')[0].decode())
except PermissionError:
    print('not allowed to connect')
";

#[test]
fn the_daemons_own_user_needs_no_token_on_the_unix_socket() {
    let server = Server::start();
    let socket = Peer::Unix(server.socket());
    Request::get("/applications").send(&socket).expect(200);
    Request::get("/applications")
        .send(&server.public())
        .expect(401);
}

#[test]
fn another_user_is_refused_on_the_unix_socket() {
    if !is_root() {
        return skip(
            "another user is refused",
            "only root can ask as another user",
        );
    }
    let server = Server::start();
    let account = nix::unistd::User::from_name("nobody")
        .unwrap()
        .expect("there is a nobody");
    let output = Command::new("python3")
        .args(["-c", ASK])
        .arg(server.socket())
        .uid(account.uid.as_raw())
        .gid(account.gid.as_raw())
        .current_dir("/")
        .output()
        .unwrap();
    let answer = String::from_utf8_lossy(&output.stdout);
    let refused = ["HTTP/1.1 401", "HTTP/1.1 403", "not allowed to connect"];
    assert!(refused.iter().any(|r| answer.starts_with(r)), "{output:?}");
}

#[test]
fn the_token_can_be_read_by_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let server = Server::start();
    let mode = server
        .directory()
        .join("token")
        .metadata()
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(server.token().len() >= 32, "too short to be safe");
    assert!(
        !server.log().contains(&server.token()),
        "the token is in the log"
    );
}

/// The mode and the group of the socket.
fn mode_and_group(server: &Server) -> (u32, u32) {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(server.socket()).unwrap();
    (metadata.mode() & 0o777, metadata.gid())
}

#[test]
fn the_socket_can_be_opened_by_its_owner_and_its_group_only() {
    let server = Server::start();
    let group = nix::unistd::Group::from_name("procserver").unwrap();
    let (mode, gid) = mode_and_group(&server);
    match group {
        Some(group) if is_root() => assert_eq!((mode, gid), (0o660, group.gid.as_raw())),
        Some(_) | None => assert_eq!(mode & 0o007, 0, "{mode:o}"),
    }
}

/// Opens 200 connections and says how many are refused; keeps them until its stdin ends.
const FLOOD: &str = r"
import select, socket, sys, time
held, refused, until = [], 0, time.monotonic() + 60
for _ in range(200):
    s = socket.socket(socket.AF_UNIX)
    while True:
        try:
            s.connect(sys.argv[1])
            break
        except BlockingIOError:
            time.sleep(0.01)
    try:
        s.sendall(b'GET /healthz HTTP/1.1\r\nHost: a\r\n')
    except OSError:
        pass
    held.append(s)
waiting = list(held)
while refused < 100 and time.monotonic() < until:
    for s in select.select(waiting, [], [], 1)[0]:
        waiting.remove(s)
        try:
            refused += s.recv(100).startswith(b'HTTP/1.1 503')
        except OSError:
            pass
print(refused, flush=True)
sys.stdin.read()
";

#[test]
fn a_member_of_the_group_may_use_the_socket_and_cannot_use_it_up() {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;
    if !is_root() {
        return skip("a member of the group", "only root can be another user");
    }
    const GROUP: u32 = 54_321;
    let setup = crate::support::setup::Setup::new();
    // All of /etc: a file that useradd(8) replaces, for another test, loses what is mounted over it.
    let etc = setup.directory().join("etc");
    let mut copy = Command::new("cp");
    // Lock files come and go meanwhile.
    let _most = copy.args(["--archive", "/etc"]).arg(&etc).output().unwrap();
    let text = std::fs::read_to_string("/etc/group").unwrap();
    let others = text.lines().filter(|line| !line.starts_with("procserver:"));
    let text: Vec<&str> = others.collect();
    let text = format!("{}\nprocserver:x:{GROUP}:\n", text.join("\n"));
    std::fs::write(etc.join("group"), text).unwrap();
    let mount = format!("mount --bind {} /etc", etc.display());
    let server = setup.with_mounts(&mount).start();
    assert_eq!(mode_and_group(&server), (0o660, GROUP));
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    let as_nobody = |script: &str, gid: u32| {
        let mut command = Command::new("python3");
        command.args(["-c", script]).arg(server.socket());
        command.uid(nobody.uid.as_raw()).gid(gid).current_dir("/");
        command
    };
    let said = |gid| {
        let output = as_nobody(ASK, gid).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    assert_eq!(said(GROUP), "HTTP/1.1 200 OK");
    assert_eq!(said(nobody.gid.as_raw()), "not allowed to connect");
    let mut flood = as_nobody(FLOOD, GROUP);
    let mut flood = flood
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut refused = String::new();
    let mut out = BufReader::new(flood.stdout.take().unwrap());
    out.read_line(&mut refused).unwrap();
    assert!(refused.trim().parse::<u32>().unwrap() >= 100, "{refused}");
    let socket = Peer::Unix(server.socket());
    Request::get("/applications").send(&socket).expect(200);
    drop(flood.stdin.take());
    flood.wait().unwrap();
    assert!(
        server.log().contains("it has too many connections"),
        "{}",
        server.log()
    );
}
