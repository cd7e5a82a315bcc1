//! Connections that a receiver of syslog breaks off: no message comes twice, and none in two pieces.

use std::io::{BufReader, Read};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::{LONG, deploy, drain_is, lines_repo, logged, numbers, write_up_to};
use crate::support::server::Server;
use crate::support::wait::eventually;

/// The next message; `None` at the end, also in the middle of one.
fn message(stream: &mut impl Read) -> Option<String> {
    let mut length = 0;
    loop {
        let mut digit = [0];
        stream.read_exact(&mut digit).ok()?;
        match digit[0] {
            b' ' => break,
            digit => {
                let digit = char::from(digit).to_digit(10).expect("a digit");
                length = length * 10 + usize::try_from(digit).unwrap();
            }
        }
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message).ok()?;
    Some(String::from_utf8(message).unwrap())
}

#[test]
fn what_comes_after_a_connection_that_was_broken_off_is_whole_and_nothing_comes_twice() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (got, connections) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(0)));
    let (all, count) = (Arc::clone(&got), Arc::clone(&connections));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::with_capacity(512, stream.unwrap());
            *count.lock().unwrap() += 1;
            // Each is broken off after so many, with more unread: the kernel answers with a reset.
            for _ in 0..700 {
                let Some(message) = message(&mut stream) else {
                    break;
                };
                all.lock().unwrap().push(message);
            }
        }
    });
    let server = Server::start();
    deploy(
        &server,
        &lines_repo(),
        json!([{"url": format!("syslog+tcp://{address}")}]),
    );
    for step in 1..=20 {
        write_up_to(&server, step * 500);
        logged(&server, step * 500);
    }
    // The last connection may be broken off with the last lines unread: more come until one is there.
    let mut last = 10_000;
    eventually("the last line is there", LONG, || {
        last += 1;
        write_up_to(&server, last);
        let got = got.lock().unwrap();
        numbers(got.last().map(String::as_str))
            .first()
            .is_some_and(|n| *n > 10_000)
            .then_some(())
    });
    drain_is(&server, "nothing waits", |drain| drain["waiting"] == 0);
    let got = got.lock().unwrap();
    let numbers = numbers(got.iter().map(String::as_str));
    assert_eq!(numbers.len(), got.len(), "whole messages");
    assert!(
        numbers.windows(2).all(|pair| pair[0] < pair[1]),
        "twice or out of order"
    );
    assert!(*connections.lock().unwrap() > 2);
    assert!(
        got[0].starts_with("<134>1 ")
            && got[0].contains(" noisy lines.1 stdout [meta sequenceId=\""),
        "{}",
        got[0]
    );
}
