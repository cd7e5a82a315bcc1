//! While things change: routes, releases, the server itself.

use std::io::Write as _;
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use procserver::router::table::{Availability, Route};

use super::fixture::{Client, Fixture, OK, route, until};
use super::origin::{Origin, PATIENCE};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

fn without_backend(availability: Availability) -> Route {
    Route {
        availability,
        ..route("blog", &[])
    }
}

#[test]
fn a_request_for_a_starting_app_is_held_until_it_is_there() {
    let origin = Origin::answering(OK);
    let front = Fixture::new(vec![without_backend(Availability::Starting)]);
    let mut client = front.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc");
    // Any change wakes it; only the one that helps lets it through.
    front.publish(Route {
        created: 9,
        domain: Vec::new(),
        ..route("other", &[])
    });
    front.publish(route("blog", &[&origin]));
    assert!(client.rest().ends_with("ok"));
    assert!(origin.received().ends_with("\r\n\r\nabc"));
}

#[test]
fn a_client_that_leaves_while_it_is_held_is_not_sent_to_the_app() {
    let origin = Origin::answering(OK);
    let mut front = Fixture::tuned(vec![without_backend(Availability::Starting)], |s| {
        s.hold = PATIENCE;
        s.drain = PATIENCE;
    });
    let mut gone = front.connect();
    gone.send(GET);
    drop(gone);
    // It stops at once only if no connection is left: the held one is noticed to be gone.
    let before = std::time::Instant::now();
    front.join();
    assert!(before.elapsed() < PATIENCE / 2);
    assert!(origin.received_nothing());
}

#[test]
fn without_a_backend_the_answer_says_why() {
    for (availability, code) in [
        (Availability::Stopped, "H14"),
        (Availability::Crashed, "H10"),
        (Availability::NoWeb, "H14"),
    ] {
        let front = Fixture::new(vec![without_backend(availability)]);
        let answer = front.talk(GET);
        assert!(
            answer.starts_with("HTTP/1.1 503 ") && answer.contains(code),
            "{answer}"
        );
    }
    let front = Fixture::tuned(vec![without_backend(Availability::Starting)], |s| {
        s.hold = Duration::from_millis(50);
    });
    let answer = front.talk(GET);
    assert!(
        answer.starts_with("HTTP/1.1 503 ") && answer.contains("H20"),
        "{answer}"
    );
    assert!(answer.contains("Retry-After: "), "{answer}");
}

#[test]
fn a_route_change_breaks_no_request_in_flight_and_the_next_goes_to_the_new_backend() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let old = Origin::start(move |conn| {
        conn.request();
        wait.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold");
    });
    let new = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew");
    let before = route("blog", &[&old]);
    let load = before.backends[0].load.clone();
    let front = Fixture::new(vec![before]);
    let mut client = front.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    old.received();
    front.publish(route("blog", &[&new]));
    assert!(front.talk(GET).ends_with("new"));
    assert_eq!(load.outstanding(), 1);
    go.send(()).unwrap();
    assert!(client.response().ends_with("old"));
    until("the old backend is drained", || load.outstanding() == 0);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.response().ends_with("new"));
}

#[test]
fn an_app_port_listens_while_the_table_names_it() {
    let origin = Origin::answering(OK);
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let address = (std::net::Ipv4Addr::LOCALHOST, port).into();
    let own = Route {
        domain: Vec::new(),
        path: false,
        port: Some(port),
        ..route("own", &[&origin])
    };
    let front = Fixture::tuned(vec![own.clone()], |s| s.workers = 2);
    let connects = || std::net::TcpStream::connect(address).is_ok();
    until("it listens", connects);
    for _ in 0..4 {
        let mut client = Client::connect(address);
        client
            .send("GET /x HTTP/1.1\r\nHost: whatever\r\nX-App: none\r\nConnection: close\r\n\r\n");
        assert!(client.rest().ends_with("ok"));
        assert!(origin.received().starts_with("GET /x "));
    }
    front.publish(Route { port: None, ..own });
    until("it listens no more", || !connects());
}

#[test]
fn stopping_finishes_what_is_in_flight_and_closes_what_is_idle() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let origin = Origin::start(move |conn| {
        conn.request();
        wait.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        conn.send(OK);
    });
    let mut front = Fixture::tuned(vec![route("blog", &[&origin])], |s| s.drain = PATIENCE);
    let mut idle = front.connect();
    idle.send("GET /none HTTP/1.1\r\nHost: \r\n\r\n");
    assert!(idle.response().starts_with("HTTP/1.1 404"));
    let mut busy = front.connect();
    busy.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    origin.received();
    front.begin_stop();
    assert_eq!(idle.rest(), "", "idle: closed at once");
    go.send(()).unwrap();
    assert!(busy.rest().ends_with("ok"));
    front.join();
}

#[test]
fn what_does_not_finish_within_the_drain_time_is_cut_off() {
    let origin = Origin::start(|conn| {
        conn.request();
        conn.record_rest();
    });
    let mut front = Fixture::tuned(vec![route("blog", &[&origin])], |s| {
        s.drain = Duration::from_millis(50);
    });
    let mut client = front.connect();
    client.send(GET);
    origin.received();
    front.begin_stop();
    assert_eq!(client.rest(), "");
    front.join();
}

#[test]
fn who_goes_on_sending_behind_an_answer_does_not_hold_up_a_stop() {
    let origin = Origin::answering(OK);
    let drain = Duration::from_secs(60);
    let mut front = Fixture::tuned(vec![route("blog", &[&origin])], |s| s.drain = drain);
    let mut client = front.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n");
    assert!(client.response().starts_with("HTTP/1.1 413 "));
    let sending = std::thread::spawn(move || {
        while client.stream.write_all(b"x").is_ok() {
            std::thread::park_timeout(Duration::from_millis(10));
        }
    });
    let begun = Instant::now();
    front.join();
    assert!(begun.elapsed() < drain / 4, "{:?}", begun.elapsed());
    sending.join().unwrap();
}

#[test]
fn nobody_connects_to_a_front_end_that_stops_and_waits_for_ever() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let origin = Origin::start(move |conn| {
        conn.request();
        wait.lock().unwrap().recv().unwrap();
        conn.send(OK);
    });
    let mut front = Fixture::tuned(vec![route("blog", &[&origin])], |s| {
        s.drain = Duration::from_secs(60);
        s.timeouts.response = Duration::from_secs(60);
    });
    let mut busy = front.connect();
    busy.send(GET);
    origin.received();
    front.begin_stop();
    // Who comes before the listener is closed is answered or sent away; then nobody is let in any more.
    let deadline = Instant::now() + Duration::from_secs(50);
    while let Ok(stream) = std::net::TcpStream::connect(front.address) {
        assert!(Instant::now() < deadline, "it still listens");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut client = super::fixture::Client { stream };
        let nobody = b"GET / HTTP/1.1\r\nHost: \r\n\r\n";
        let _ = client.stream.write_all(nobody);
        let _answered_or_closed = client.rest();
    }
    go.send(()).unwrap();
    assert!(
        busy.rest().ends_with("ok"),
        "what was in flight is finished"
    );
    front.join();
}
