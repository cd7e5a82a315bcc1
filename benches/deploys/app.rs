//! The app that is deployed: it answers every request with 200, and stops at once when it is told to.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

/// Serves on `$PORT` for ever.
pub(crate) fn serve() {
    let port = std::env::var("PORT").expect("PORT is set");
    let port: u16 = port.parse().expect("PORT is a number");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("PORT is free");
    for stream in listener.incoming().flatten() {
        std::thread::spawn(move || answer(stream));
    }
}

/// Requests have no body.
fn answer(stream: TcpStream) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut stream = stream;
    loop {
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
        }
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n";
        stream.write_all(answer).ok()?;
    }
}
