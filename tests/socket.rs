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
