//! Slow clients hold no process, and processes that serve one connection at a time are served.

use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use procserver::front::settings::FrontSettings;

use super::fixture::{Client, Fixture, OK, passing, route, until};
use super::origin::{Conn, Origin, read_message};
use crate::support::machine::{SmallDisk, is_root, skip};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const LARGE: usize = 8 << 20;

/// Bytes of a body that is larger than what is kept in memory.
const LENGTH: usize = 48 << 16;

/// A front end that does not think that a client is gone or slow where the machine is.
fn patient(origin: &Origin) -> Fixture {
    patient_but(origin, |_| {})
}

fn patient_but(origin: &Origin, tune: impl FnOnce(&mut FrontSettings)) -> Fixture {
    Fixture::tuned(vec![route("blog", &[origin])], |s| {
        s.timeouts.idle = Duration::from_secs(60);
        s.timeouts.body = Duration::from_secs(60);
        tune(s);
    })
}

/// Answers one request, a large one with much, and closes.
fn serve_one(conn: &mut Conn) {
    let request = read_message(&mut conn.stream, false);
    conn.record(&request);
    if request.starts_with("GET /large") {
        conn.send(&format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n"
        ));
        conn.send(&"x".repeat(LARGE));
    } else {
        conn.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
    }
}

fn read_large(client: &mut Client, size: usize) {
    assert!(client.head().starts_with("HTTP/1.1 200 OK"));
    let mut body = vec![0; size];
    client.stream.read_exact(&mut body).unwrap();
    assert!(body.iter().all(|b| *b == b'x'));
}

#[test]
fn clients_that_send_and_read_slowly_hold_no_process() {
    let origin = Origin::one_at_a_time(serve_one);
    let front = patient(&origin);
    let mut senders: Vec<Client> = (0..4).map(|_| front.connect()).collect();
    for sender in &mut senders {
        sender.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc");
    }
    let mut readers: Vec<Client> = (0..4).map(|_| front.connect()).collect();
    for reader in &mut readers {
        reader.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    for _ in 0..4 {
        assert!(origin.received().starts_with("GET /large"));
    }
    let mut client = front.connect();
    client.send(GET);
    assert!(client.response().ends_with("\r\n\r\nok"));
    assert!(origin.received().starts_with("GET / "));
    for sender in &mut senders {
        sender.send(&"x".repeat(99_997));
        assert!(sender.response().ends_with("\r\n\r\nok"));
        assert!(origin.received().ends_with("xxx"));
    }
    for reader in &mut readers {
        read_large(reader, LARGE);
        reader.send(GET);
        assert!(reader.response().ends_with("\r\n\r\nok"), "it is kept");
    }
}

/// Sends a body that is larger than what is kept in memory, with the next request behind it.
fn send_large(client: &mut Client, chunked: bool) {
    let piece = "x".repeat(1 << 16);
    if chunked {
        client.send("PUT /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        for _ in 0..48 {
            client.send(&format!("10000\r\n{piece}\r\n"));
        }
        client.send("0\r\nX-Sum: 1\r\n\r\n");
    } else {
        client.send(&format!(
            "PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: {LENGTH}\r\n\r\n"
        ));
        (0..48).for_each(|_| client.send(&piece));
    }
    client.send(GET);
}

/// Reads what [`send_large`] sends, or a request without a body.
fn read_quickly(conn: &mut Conn) -> Option<String> {
    let mut request = read_message(&mut conn.stream, true).into_bytes();
    let head = String::from_utf8_lossy(&request).into_owned();
    let whole = request.len() + LENGTH;
    let mut space = vec![0; 1 << 16];
    let is_whole = |request: &[u8]| {
        (head.contains("Content-Length") && request.len() >= whole)
            || head.starts_with("GET")
            || request.ends_with(b"0\r\nX-Sum: 1\r\n\r\n")
    };
    while !head.is_empty() && !is_whole(&request) {
        let most = space.len().min(whole.saturating_sub(request.len()).max(1));
        let read = conn
            .stream
            .read(&mut space[..most])
            .ok()
            .filter(|n| *n > 0)?;
        request.extend_from_slice(&space[..read]);
    }
    (!head.is_empty()).then(|| String::from_utf8_lossy(&request).into_owned())
}

#[test]
fn a_body_that_is_too_large_for_memory_arrives_whole_be_there_a_place_for_it_or_not() {
    let directory = tempfile::tempdir().unwrap();
    for buffers in [directory.path(), "/nonexistent".as_ref()] {
        let origin = Origin::start(|conn| {
            while let Some(request) = read_quickly(conn) {
                conn.record(&request);
                conn.send(OK);
            }
        });
        let front = patient_but(&origin, |s| {
            s.limits.body = 1 << 30;
            s.buffers = buffers.to_owned();
        });
        for chunked in [false, true] {
            let mut client = front.connect();
            send_large(&mut client, chunked);
            assert!(client.response().ends_with("\r\n\r\nok"));
            let request = origin.received();
            let (head, body) = request.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with("PUT /a "), "{head}");
            let payload = body.bytes().filter(|b| *b == b'x').count();
            assert_eq!(payload, LENGTH);
            assert_eq!(body.ends_with("0\r\nX-Sum: 1\r\n\r\n"), chunked);
            assert!(client.response().ends_with("\r\n\r\nok"));
            assert!(origin.received().starts_with("GET / "));
        }
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn what_is_kept_of_a_chunked_body_may_end_in_the_line_between_two_chunks() {
    for buffer in [1 << 30, 1 << 20] {
        let origin = Origin::start(|conn| {
            let mut request = read_message(&mut conn.stream, true).into_bytes();
            let mut space = vec![0; 1 << 16];
            while !request.ends_with(b"\r\n0\r\nX-Sum: 1\r\n\r\n") {
                match conn.stream.read(&mut space) {
                    Ok(read @ 1..) => request.extend_from_slice(&space[..read]),
                    _ => break,
                }
            }
            conn.record(&String::from_utf8_lossy(&request));
            conn.send(OK);
        });
        let front = patient_but(&origin, |s| {
            s.limits.body = 1 << 30;
            s.limits.buffer = buffer;
            s.timeouts.idle = Duration::from_secs(20);
        });
        let mut client = front.connect();
        client.send("PUT /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        // With its lines 8,738 bytes each: fifteen are two less than 128 KiB, which is a piece, so that pieces end in
        // the lines between the first chunks.
        let datum = |n: usize| format!("{n:010}").repeat(873);
        let sent: String = (0..400).map(datum).collect();
        let pieces = (0..400).map(|n| format!("221a\r\n{}\r\n", datum(n)));
        client.send(&pieces.collect::<String>());
        client.send("0\r\nX-Sum: 1\r\n\r\n");
        let response = client.response();
        assert!(response.ends_with("\r\n\r\nok"), "{buffer}: {response}");
        let request = origin.received();
        let (payload, rest) = chunks(request.split_once("\r\n\r\n").unwrap().1);
        assert!(payload == sent, "{} of {} bytes", payload.len(), sent.len());
        assert_eq!(rest, "0\r\nX-Sum: 1\r\n\r\n");
    }
}

#[test]
fn on_a_full_disk_bodies_go_on_at_their_clients_speed_and_nothing_of_them_stays() {
    let directory = tempfile::tempdir().unwrap();
    let disk = is_root().then(|| SmallDisk::mount(directory.path().join("disk"), 4));
    let Some(Some(disk)) = disk else {
        return skip("bodies on a full disk", "only root can mount a small one");
    };
    let free = || rustix::fs::statvfs(&disk.0).unwrap().f_bfree;
    let empty = free();
    let origin = Origin::start(|conn| {
        while let Some(request) = read_quickly(conn) {
            match request.starts_with("GET /large") {
                true => {
                    conn.send(&format!(
                        "HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n"
                    ));
                    conn.send(&"x".repeat(LARGE));
                }
                false => conn.send(OK),
            }
        }
    });
    let front = patient_but(&origin, |s| {
        s.limits.body = 1 << 30;
        s.buffers = disk.0.clone();
    });
    let mut readers: Vec<Client> = (0..4).map(|_| front.connect()).collect();
    for reader in &mut readers {
        reader.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    until("the disk is full", || free() < empty / 10);
    for chunked in [false, true] {
        let mut client = front.connect();
        send_large(&mut client, chunked);
        (0..2).for_each(|_| assert!(client.response().ends_with("\r\n\r\nok")));
    }
    for reader in &mut readers {
        read_large(reader, LARGE);
        reader.send(GET);
        assert!(reader.response().ends_with("\r\n\r\nok"), "it is kept");
    }
    until("all room is free again", || free() == empty);
}

#[test]
fn without_a_place_for_it_a_large_response_is_whole_all_the_same() {
    let origin = Origin::one_at_a_time(serve_one);
    let front = patient_but(&origin, |s| {
        s.buffers = "/nonexistent".into();
    });
    let mut client = front.connect();
    client.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(origin.received().starts_with("GET /large"));
    read_large(&mut client, LARGE);
}

/// The payload of the whole chunks at the front of a body, and what is behind them.
fn chunks(mut body: &str) -> (String, &str) {
    let mut payload = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("a chunk size");
        let Some(rest) = rest.get(size..).filter(|_| size > 0) else {
            break;
        };
        payload.push_str(&body[body.len() - rest.len() - size..][..size]);
        body = rest.strip_prefix("\r\n").expect("the end of a chunk");
    }
    (payload, body)
}

/// Sends 8 MiB in chunks whose sizes are no powers of two, each numbered.
fn send_chunks(conn: &mut Conn) -> String {
    conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    let mut all = String::new();
    for n in 0..300 {
        let piece = format!("{n:05}").repeat(5592 + n);
        conn.send(&format!("{:x}\r\n{piece}\r\n", piece.len()));
        all.push_str(&piece);
    }
    all
}

#[test]
fn a_chunked_response_that_is_kept_for_a_slow_client_is_whole() {
    let origin = Origin::start(|conn| {
        while conn.request().is_some() {
            let all = send_chunks(conn);
            conn.send("0\r\n\r\n");
            conn.record(&all);
        }
    });
    let front = patient(&origin);
    let mut client = front.connect();
    client.send(GET);
    origin.received();
    // It was all taken from the origin before the client reads.
    let sent = origin.received();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let came = client.rest();
    let (head, body) = came.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    let (payload, rest) = chunks(body);
    assert!(payload == sent, "{} of {} bytes", payload.len(), sent.len());
    assert!(rest.starts_with("0\r\n\r\nHTTP/1.1 200 OK"));
}

#[test]
fn what_is_kept_of_a_response_with_bad_trailers_looks_incomplete() {
    let origin = Origin::start(|conn| {
        conn.request();
        send_chunks(conn);
        conn.send("4\r\nlast\r\n0\r\nno trailer\r\n\r\n");
        conn.record("sent");
        conn.request();
    });
    let front = patient(&origin);
    let mut client = front.connect();
    client.send(GET);
    origin.received();
    assert_eq!(origin.received(), "sent");
    let came = client.rest();
    assert!(came.ends_with("\r\n4\r\nlast\r\n"), "and it is closed");
}

#[test]
fn what_was_taken_of_a_response_that_breaks_off_is_delivered_and_looks_incomplete() {
    let origin = Origin::start(|conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        let piece = format!("10000\r\n{}\r\n", "x".repeat(1 << 16));
        (0..128).for_each(|_| conn.send(&piece));
        conn.record("breaks off");
    });
    let front = patient(&origin);
    let mut client = front.connect();
    client.send(GET);
    origin.received();
    assert_eq!(origin.received(), "breaks off");
    let came = client.rest();
    assert_eq!(came.bytes().filter(|b| *b == b'x').count(), 128 << 16);
    assert!(came.ends_with("x\r\n"), "whole chunks, and no last one");
}

#[test]
fn a_reader_that_stops_is_cut_off_and_the_process_was_free_before() {
    let origin = Origin::one_at_a_time(serve_one);
    let front = Fixture::tuned(vec![route("blog", &[&origin])], |s| {
        s.timeouts.idle = Duration::from_millis(300);
    });
    let mut reader = front.connect();
    reader.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    origin.received();
    let mut client = front.connect();
    client.send(GET);
    assert!(client.response().ends_with("\r\n\r\nok"));
    // It ends with less than was promised once nobody has read for the idle limit.
    std::thread::park_timeout(Duration::from_millis(1500));
    let rest = reader.rest();
    assert!(rest.len() < LARGE, "{}", rest.len());
}

#[test]
fn a_body_that_comes_too_slowly_is_408_whoever_waits_for_it() {
    for route in [route, passing] {
        let origin = Origin::answering(OK);
        let front = Fixture::tuned(vec![route("blog", &[&origin])], |s| {
            s.timeouts.body = Duration::from_millis(400);
            s.timeouts.idle = Duration::from_secs(60);
        });
        let mut client = front.connect();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
        // A byte now and then is not enough.
        let mut sends = client.stream.try_clone().unwrap();
        std::thread::spawn(move || {
            while sends.write_all(b"x").is_ok() {
                std::thread::park_timeout(Duration::from_millis(20));
            }
        });
        let answer = client.response();
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }
}

#[test]
fn a_body_beyond_the_limit_is_413_as_soon_as_that_is_known() {
    let origin = Origin::answering(OK);
    let front = Fixture::tuned(vec![route("blog", &[&origin])], |s| s.limits.body = 1000);
    let mut client = front.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n200\r\n");
    client.send(&format!("{}\r\n200\r\n", "x".repeat(512)));
    assert!(client.response().starts_with("HTTP/1.1 413 "));
    assert!(origin.received_nothing());
}

#[test]
fn an_app_that_serves_one_connection_at_a_time_is_served_by_all_workers() {
    let origin = Origin::one_at_a_time(|conn| {
        while conn.request().is_some() {
            conn.send(OK);
        }
    });
    let front = Fixture::tuned(vec![route("blog", &[&origin])], |s| s.workers = 4);
    let begun = Instant::now();
    let mut clients: Vec<Client> = (0..12).map(|_| front.connect()).collect();
    for client in &mut clients {
        client.send(GET);
        assert!(client.response().ends_with("\r\n\r\nok"));
    }
    // Each idle connection that is kept costs three seconds.
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(6), "{took:?}");
}

#[test]
fn connections_to_an_app_that_serves_many_at_once_are_kept_however_long_it_takes() {
    const CLIENTS: usize = 16;
    const ROUNDS: usize = 6;
    let accepted = Arc::new(AtomicUsize::new(0));
    let all_at_once = Arc::new(Barrier::new(CLIENTS));
    let (count, barrier) = (Arc::clone(&accepted), Arc::clone(&all_at_once));
    let origin = Origin::start(move |conn| {
        count.fetch_add(1, Ordering::SeqCst);
        while conn.request().is_some() {
            barrier.wait();
            // Longer than it takes until somebody asks whether this is for want of a connection.
            std::thread::park_timeout(Duration::from_millis(60));
            conn.send(OK);
        }
    });
    let front = Fixture::tuned(vec![route("blog", &[&origin])], |s| s.workers = 2);
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| front.connect()).collect();
    for _ in 0..ROUNDS {
        clients.iter_mut().for_each(|client| client.send(GET));
        for client in &mut clients {
            assert!(client.response().ends_with("\r\n\r\nok"));
        }
    }
    // Each worker has its own; were none kept, each request had a new one.
    let accepted = accepted.load(Ordering::SeqCst);
    assert!(accepted <= CLIENTS * (ROUNDS - 1), "{accepted}");
}
