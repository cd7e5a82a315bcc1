//! Clients that mean harm: what they send is bounded, and what they do not read ends.

use std::sync::Mutex;
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use super::client::{Client, front, run, tuned};
use super::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, GOAWAY, HEADERS, PING,
    PRIORITY, RST_STREAM, Raw, SETTINGS, STATUS_200, WINDOW_UPDATE, block, frame, get,
};
use crate::front::fixture::{OK, passing, route};
use crate::front::origin::Origin;

const CANCEL: [u8; 4] = [0, 0, 0, 8];
const INITIAL_WINDOW_SIZE: u16 = 4;

/// An application that answers nothing before what comes with it is dropped.
fn holding() -> (Origin, Sender<()>) {
    let (hold, held) = mpsc::channel();
    let held = Mutex::new(held);
    let origin = Origin::start(move |conn| {
        conn.request();
        let _dropped = held.lock().unwrap().recv();
        conn.send(OK);
    });
    (origin, hold)
}

/// An application that takes longer to answer than a client has to close that was told to go, which is two seconds. That
/// this time passes is what is tested: nothing is to happen in it that could be waited for.
fn slow() -> Origin {
    Origin::start(|conn| {
        conn.request();
        std::thread::sleep(Duration::from_millis(2500));
        conn.send(OK);
    })
}

/// Sends `bytes` again and again until the server ends the connection, or they are this many.
fn flood(client: &mut Raw, mut bytes: impl FnMut(u32) -> Vec<u8>, most: u32) -> bool {
    (0..most).any(|turn| client.try_send_bytes(&bytes(turn)).is_err())
}

#[test]
fn requests_that_are_given_up_at_once_end_the_connection() {
    let origin = Origin::answering(OK);
    let front = front(vec![route("blog", &[&origin])]);
    // As they are found in one read, and each by itself.
    for at_once in [50, 1] {
        let mut client = Raw::connect(front.address, &[]);
        let mut stream = 1;
        let ended = flood(
            &mut client,
            |_| {
                let mut bytes = Vec::new();
                for _ in 0..at_once {
                    bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, stream, &get()));
                    bytes.extend(frame(RST_STREAM, 0, stream, &CANCEL));
                    stream += 2;
                }
                bytes
            },
            20_000,
        );
        assert!(ended, "{at_once} at once");
    }
    let mut count = 0;
    while origin.next_received().is_some() {
        count += 1;
    }
    assert!(count < 1000, "{count} requests reached the app");
}

#[test]
fn streams_that_the_server_is_made_to_reset_end_the_connection() {
    let origin = Origin::start(|conn| conn.record_rest());
    let front = front(vec![route("blog", &[&origin])]);
    let mut client = Raw::connect(front.address, &[]);
    let mut stream = 1;
    let ended = flood(
        &mut client,
        |_| {
            let mut bytes = frame(HEADERS, END_HEADERS | END_STREAM, stream, &get());
            // A window beyond 2^31 is an error of the stream (CVE-2025-8671).
            bytes.extend(frame(WINDOW_UPDATE, 0, stream, &[0x7f, 0xff, 0xff, 0xff]));
            stream += 2;
            bytes
        },
        20_000,
    );
    assert!(ended);
}

#[test]
fn frames_for_nothing_end_the_connection() {
    let origin = Origin::answering(OK);
    let front = front(vec![route("blog", &[&origin])]);
    let open = block(&[
        (b":method", b"POST"),
        (b":scheme", b"https"),
        (b":authority", b"a.test"),
        (b":path", b"/"),
    ]);
    let floods: [(&str, Vec<u8>); 6] = [
        ("PING", frame(PING, 0, 0, &[0; 8])),
        ("answers to PING", frame(PING, ACK, 0, &[0; 8])),
        ("SETTINGS", frame(SETTINGS, 0, 0, &[])),
        ("PRIORITY", frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1])),
        ("empty DATA", frame(DATA, 0, 1, &[])),
        (
            "DATA of padding",
            frame(DATA, 8, 1, &[[200].as_slice(), &[0; 200]].concat()),
        ),
    ];
    for (what, bytes) in floods {
        let mut client = Raw::connect(front.address, &[]);
        client.send(HEADERS, END_HEADERS, 1, &open);
        let many = bytes.repeat(1000);
        // What is answered is read: it is no client that is stuck.
        let ended = (0..2000).any(|_| !client.reads_on() || client.try_send_bytes(&many).is_err());
        assert!(ended, "{what}");
    }
    run(async {
        let mut client = Client::connect(front.address).await;
        assert_eq!(client.get("/").await.status, 200, "others are served");
    });
}

#[test]
fn who_was_ended_for_a_flood_is_not_read_for_long() {
    let front = front(vec![]);
    let mut client = Raw::connect(front.address, &[]);
    let many = frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1]).repeat(1000);
    // Far more than ends it, and than fits into what the kernel holds.
    let most = (128 << 20) / u32::try_from(many.len()).unwrap();
    assert!(flood(&mut client, |_| many.clone(), most));
}

#[test]
fn a_head_without_end_ends_the_connection() {
    let front = front(vec![]);
    let empty = vec![0; 0];
    let fields = block(&[(b"x", &[b'x'; 100])]).repeat(100);
    for (what, more) in [("empty pieces", empty), ("fields", fields)] {
        let mut client = Raw::connect(front.address, &[]);
        client.send(HEADERS, END_STREAM, 1, &get());
        let more = frame(CONTINUATION, 0, 1, &more);
        assert!(flood(&mut client, |_| more.clone(), 60_000), "{what}");
    }
    // A table of one field of 4 KB that is named again and again: 64 KiB become 250 MB.
    let mut client = Raw::connect(front.address, &[]);
    let mut bomb = vec![0x40, 1, b'x', 127, 0xa1, 0x1e];
    bomb.extend([b'x'; 4000]);
    bomb.extend([0xbe; 12_000]);
    client.send(HEADERS, END_STREAM, 1, &get());
    client.send(CONTINUATION, END_HEADERS, 1, &bomb);
    let answer = client.next_of(&[HEADERS, RST_STREAM, GOAWAY]).unwrap();
    assert!(answer.kind != HEADERS || answer.payload[0] != STATUS_200);
}

#[test]
fn who_opens_no_window_is_ended_as_one_who_does_not_read() {
    let origin = Origin::start(|conn| {
        conn.request();
        conn.send(OK);
        conn.record_rest();
    });
    let (front, mut access) = tuned(vec![passing("blog", &[&origin])], |settings| {
        settings.timeouts.idle = Duration::from_millis(300);
    });
    let mut client = Raw::connect(front.address, &[(INITIAL_WINDOW_SIZE, 0)]);
    client.ask(1);
    client.is_answered();
    let end = client.next_of(&[DATA, RST_STREAM, GOAWAY]).unwrap();
    assert_eq!((end.kind, end.stream), (RST_STREAM, 1), "{end:?}");
    let lines = run(access.next()).unwrap();
    let line: serde_json::Value = serde_json::from_slice(&lines.text).unwrap();
    assert_eq!(line["code"], "H18", "{line}");
}

#[test]
fn who_does_not_read_what_waits_for_it_is_ended() {
    let page = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n{}",
        "x".repeat(1_000_000)
    );
    let page: &'static str = page.leak();
    let origin = Origin::answering(page);
    let (front, _) = tuned(vec![route("blog", &[&origin])], |settings| {
        settings.timeouts.idle = Duration::from_millis(500);
    });
    let mut client = Raw::connect(front.address, &[(INITIAL_WINDOW_SIZE, 1 << 21)]);
    client.send(WINDOW_UPDATE, 0, 0, &[0x7f, 0, 0, 0]);
    // More than the kernel takes.
    for stream in 0..30 {
        client.ask(2 * stream + 1);
    }
    // Nothing is answered to this, so that nothing more is written.
    let priority = frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1]);
    let ends = || client.try_send_bytes(&priority).err();
    crate::support::wait::eventually("the connection ends", crate::support::wait::SOON, ends);
}

#[test]
fn a_preface_that_does_not_come_or_is_none_ends_the_connection() {
    let (front, _) = tuned(vec![], |settings| {
        settings.timeouts.head = Duration::from_millis(300);
    });
    for bytes in [
        &b""[..],
        b"PRI * HTTP",
        b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
    ] {
        let mut client = Raw::silent(front.address);
        client.send_bytes(bytes);
        while client.next().is_some() {}
    }
    // One that asks for nothing is told to go when its time is over.
    let mut client = Raw::connect(front.address, &[]);
    assert_eq!(client.end(), 0);
}

#[test]
fn a_connection_that_is_idle_is_told_to_go_and_ends() {
    let origin = Origin::answering(OK);
    let (front, _) = tuned(vec![route("blog", &[&origin])], |settings| {
        settings.timeouts.idle = Duration::from_millis(300);
    });
    run(async {
        let mut client = Client::connect(front.address).await;
        assert_eq!(client.get("/").await.status, 200);
        client.connection.await.unwrap().expect("it ends well");
    });
    // And one that does not go is not waited for.
    let mut client = Raw::connect(front.address, &[]);
    client.ask(1);
    assert_eq!(client.end(), 0);
}

#[test]
fn a_request_that_crosses_the_word_to_go_is_answered_however_long_it_takes() {
    let origin = slow();
    let (front, _) = tuned(vec![route("blog", &[&origin])], |settings| {
        settings.timeouts.head = Duration::from_millis(300);
    });
    let mut client = Raw::connect(front.address, &[]);
    assert_eq!(client.next_of(&[GOAWAY]).unwrap().code(), 0);
    client.ask(1);
    client.is_answered();
}

#[test]
fn a_request_that_crosses_the_end_of_the_server_is_answered_however_long_it_takes() {
    let origin = slow();
    let (mut front, _) = tuned(vec![route("blog", &[&origin])], |settings| {
        settings.drain = Duration::from_secs(10);
    });
    let mut client = Raw::connect(front.address, &[]);
    assert!(client.next_of(&[SETTINGS]).is_some());
    front.begin_stop();
    assert_eq!(client.next_of(&[GOAWAY]).unwrap().code(), 0);
    client.ask(1);
    client.is_answered();
    drop(client);
    front.join();
}

#[test]
fn a_client_has_no_more_requests_at_a_time_than_its_address_may_have_connections() {
    let (origin, hold) = holding();
    let (front, _) = tuned(vec![route("blog", &[&origin])], |settings| {
        settings.limits.connections_per_address = 5;
    });
    let mut client = Raw::connect(front.address, &[]);
    for stream in 0..10 {
        client.ask(2 * stream + 1);
    }
    for _ in 0..5 {
        client.is_refused();
    }
    drop(hold);
    for _ in 0..5 {
        client.is_answered();
    }
    // What was refused can be asked again.
    client.ask(21);
    client.is_answered();
}

#[test]
fn a_calm_client_is_told_why_a_wild_one_was_ended() {
    let front = front(vec![]);
    let mut client = Raw::connect(front.address, &[]);
    let mut bytes = Vec::new();
    for stream in 0..100 {
        bytes.extend(frame(
            HEADERS,
            END_HEADERS | END_STREAM,
            2 * stream + 1,
            &get(),
        ));
        bytes.extend(frame(RST_STREAM, 0, 2 * stream + 1, &CANCEL));
    }
    client.send_bytes(&bytes);
    assert_eq!(client.end(), ENHANCE_YOUR_CALM);
}

#[test]
fn of_a_hundred_and_one_requests_at_a_time_one_is_refused_and_can_be_sent_again() {
    let (origin, hold) = holding();
    let front = front(vec![route("blog", &[&origin])]);
    let mut client = Raw::connect(front.address, &[]);
    for stream in 0..101 {
        client.ask(2 * stream + 1);
    }
    assert_eq!(client.is_refused(), 201);
    drop(hold);
    for _ in 0..100 {
        client.is_answered();
    }
    client.ask(203);
    client.is_answered();
}

#[test]
fn a_burst_from_who_does_not_know_the_limit_costs_none_of_the_first_hundred() {
    let (origin, hold) = holding();
    let front = front(vec![route("blog", &[&origin])]);
    let mut client = Raw::connect(front.address, &[]);
    let heads = (0..500).map(|at| frame(HEADERS, END_HEADERS | END_STREAM, 2 * at + 1, &get()));
    client.send_bytes(&heads.collect::<Vec<_>>().concat());
    for _ in 0..400 {
        client.is_refused();
    }
    drop(hold);
    for _ in 0..100 {
        client.is_answered();
    }
}

#[test]
fn the_heads_of_a_connection_are_bounded_together() {
    let (origin, hold) = holding();
    let front = front(vec![route("blog", &[&origin])]);
    let mut client = Raw::connect(front.address, &[]);
    let head = [get(), block(&[(b"x", &[b'x'; 16_000])])].concat();
    for stream in 0..100 {
        client.send(HEADERS, END_HEADERS | END_STREAM, 2 * stream + 1, &head);
    }
    // A MiB has room for 65 of them.
    for _ in 65..100 {
        client.is_refused();
    }
    drop(hold);
    for _ in 0..65 {
        client.is_answered();
    }
    // What was refused has room now.
    client.send(HEADERS, END_HEADERS | END_STREAM, 201, &head);
    client.is_answered();
}
