//! The server is replaced in place: `procserver reload`.

mod by_tls;
mod refused;
mod replaced;
mod under_load;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::command::{Finished, finish, procserver};
use crate::support::server::Server;
use crate::support::setup::{install, write_script};

fn reload(server: &Server) -> Finished {
    let mut command = procserver();
    let socket = format!("unix:{}", server.socket().display());
    finish(command.args(["reload", "--server", &socket]))
}

fn program(server: &Server) -> PathBuf {
    server.directory().join("procserver")
}

/// Installs a script in place of the program.
fn install_script(server: &Server, script: &str) {
    let path = server.directory().join("script");
    write_script(&path, &format!("#!/bin/sh\n{script}\n"));
    install(&path, &program(server));
}

fn status(server: &Server) -> Value {
    server.get("/-/reload").expect(200).json()
}

fn tunnel(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let head = "GET /echo/ HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.extend(byte);
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"));
    stream
}
