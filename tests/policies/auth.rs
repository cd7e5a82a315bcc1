//! A name and a password.

use serde_json::json;

use super::{GET, SESAME, has, has_not, policed};
use crate::front::fixture::{Client, Fixture, OK};
use crate::front::origin::Origin;

/// ann:sesame
const RIGHT: &str = "Authorization: Basic YW5uOnNlc2FtZQ==\r\n";
/// ann:sesam, bob:sesame
const WRONG: [&str; 2] = [
    "Authorization: Basic YW5uOnNlc2Ft\r\n",
    "Authorization: Basic Ym9iOnNlc2FtZQ==\r\n",
];

fn get(fields: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

fn guarded(origin: &Origin) -> Fixture {
    let fields = json!({"auth": {"basic": {"ann": SESAME}, "realm": "Staging"}});
    Fixture::new(vec![policed(fields, &[origin])])
}

#[test]
fn who_knows_the_password_is_let_in_and_the_application_is_told_who_it_is() {
    let origin = Origin::answering(OK);
    let front = guarded(&origin);
    let mut client = front.connect();
    client.send(GET);
    let answer = client.response();
    has(
        &answer,
        &[
            "HTTP/1.1 401 Unauthorized\r\n",
            "\r\nWWW-Authenticate: Basic realm=\"Staging\", charset=\"UTF-8\"\r\n",
        ],
    );
    for _ in 0..3 {
        let forged = "X-Forwarded-User: root\r\nX_Forwarded_User: root\r\nRemote-User: root\r\nX-Remote-User: root\r\n";
        client.send(&get(&format!("{RIGHT}{forged}")));
        has(&client.response(), &["HTTP/1.1 200 "]);
        let got = origin.received();
        has(&got, &["\r\nX-Forwarded-User: ann\r\n"]);
        has_not(&got, &["authorization", "YW5uOnNlc2FtZQ", "root"]);
    }
    // What is let in by one request is not by another.
    client.send(GET);
    has(&client.response(), &["HTTP/1.1 401 "]);
    assert!(origin.received_nothing());
}

#[test]
fn wrong_ones_are_refused_and_ten_of_them_close_the_door_for_a_while() {
    let origin = Origin::answering(OK);
    let front = guarded(&origin);
    let mut known = Client::from([127, 0, 0, 2], front.address);
    known.send(&get(RIGHT));
    has(&known.response(), &["HTTP/1.1 200 "]);
    let mut client = Client::from([127, 0, 0, 2], front.address);
    let mut ask = |n: usize| {
        client.send(&get(WRONG[n % 2]));
        client.response()
    };
    for n in 0..10 {
        has(&ask(n), &["HTTP/1.1 401 ", "WWW-Authenticate"]);
    }
    // One more is allowed each six seconds, which a slow machine may take for the others.
    let refused = (0..1000)
        .map(&mut ask)
        .find(|answer| !answer.contains(" 401 "));
    has(
        &refused.expect("a refusal"),
        &["HTTP/1.1 429 ", "\r\nRetry-After: ", "wrong passwords"],
    );
    // Who is known goes on, and who comes from elsewhere is not concerned.
    known.send(&get(RIGHT));
    has(&known.response(), &["HTTP/1.1 200 "]);
    let mut other = Client::from([127, 0, 0, 3], front.address);
    other.send(&get(WRONG[0]));
    has(&other.response(), &["HTTP/1.1 401 "]);
}

#[test]
fn rubbish_is_no_password() {
    let origin = Origin::answering(OK);
    let front = guarded(&origin);
    let mut client = front.connect();
    let huge = format!("Authorization: Basic {}\r\n", "A".repeat(20_000));
    for fields in [
        "Authorization: \r\n",
        "Authorization: Basic\r\n",
        "Authorization: Basic YW5u\r\n",
        "Authorization: Basic \u{1f600}\r\n",
        "Authorization: Bearer YW5uOnNlc2FtZQ==\r\n",
        "Authorization_: Basic YW5uOnNlc2FtZQ==\r\n",
        &format!("{RIGHT}{RIGHT}"),
        &huge,
    ] {
        client.send(&get(fields));
        let answer = client.response();
        has(&answer, &["HTTP/1.1 401 "]);
    }
    assert!(origin.received_nothing());
    client.send(&get(RIGHT));
    has(&client.response(), &["HTTP/1.1 200 "]);
}

#[test]
fn a_body_is_not_taken_from_who_is_not_let_in() {
    let origin = Origin::answering(OK);
    let front = guarded(&origin);
    let expects = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    let answer = front.talk(expects);
    has(&answer, &["HTTP/1.1 401 "]);
    has_not(&answer, &["100 Continue"]);
    let mut client = front.connect();
    client.send(&format!(
        "PUT / HTTP/1.1\r\nHost: a\r\n{RIGHT}Content-Length: 5\r\n\r\nhello"
    ));
    has(&client.response(), &["HTTP/1.1 200 "]);
    has(&origin.received(), &["\r\n\r\nhello"]);
}

#[test]
fn many_at_once_are_all_let_in() {
    let origin = Origin::answering(OK);
    let front = guarded(&origin);
    let mut clients: Vec<Client> = (0..20).map(|_| front.connect()).collect();
    for client in &mut clients {
        client.send(&get(RIGHT));
    }
    for client in &mut clients {
        has(&client.response(), &["HTTP/1.1 200 "]);
    }
}
