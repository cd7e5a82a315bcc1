//! What a head of HTTP/2 may not be, and what becomes of it in HTTP/1.1.

use http::Request;

use super::client::{Client, front, received, request, run};
use super::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PROTOCOL_ERROR, RST_STREAM, Raw,
    STATUS_200, block,
};
use crate::front::fixture::{OK, route};
use crate::front::origin::Origin;

type Field = (&'static [u8], &'static [u8]);
type Head = &'static [Field];

const METHOD: Field = (b":method", b"GET");
const CONNECT: Field = (b":method", b"CONNECT");
const WEBSOCKET: Field = (b":protocol", b"websocket");
const SCHEME: Field = (b":scheme", b"https");
const AUTHORITY: Field = (b":authority", b"a.test");
const HOST: Field = (b"host", b"a.test");
const PATH: Field = (b":path", b"/");
const TWO_LINES: Field = (b":method", b"GET / HTTP/1.1\r\nX");

/// Paths that are malformed: what each has.
const PATHS: &[(&str, &[u8])] = &[
    ("a blank in the path", b"/ HTTP/1.1"),
    ("a line end in the path", b"/\r\nX: y"),
    ("a NUL in the path", b"/\0"),
    ("bytes above 127 in the path", b"/\xc3\xa9"),
    ("an empty path", b""),
    ("an absolute path", b"http://b.test/"),
    ("a path without slash", b"x"),
    ("a query without slash", b"?x"),
    ("an authority for a path", b"b.test:80"),
    ("a star for GET", b"*"),
];

/// Authorities that are malformed.
const AUTHORITIES: &[(&str, &[u8])] = &[
    ("an empty authority", b""),
    ("a user in the authority", b"u@a.test"),
    ("a blank in the authority", b"a.test b"),
    ("a line end in the authority", b"a\r\nX: y"),
    ("a slash in the authority", b"a.test/x"),
];

/// Fields that make a head malformed which is none without them.
const FIELDS: &[(&str, Head)] = &[
    ("two paths", &[(b":path", b"/x")]),
    ("another Host", &[(b"host", b"b.test")]),
    ("an unknown pseudo-field", &[(b":x", b"y")]),
    ("a status", &[(b":status", b"200")]),
    ("a name in upper case", &[(b"X", b"y")]),
    ("a blank in a name", &[(b"x y", b"z")]),
    ("a colon in a name", &[(b"x:y", b"z")]),
    ("a line end in a name", &[(b"x\r\ny", b"z")]),
    ("an empty name", &[(b"", b"z")]),
    ("a CRLF in a value", &[(b"x", b"y\r\nz: a")]),
    ("an LF in a value", &[(b"x", b"y\nz: a")]),
    ("a CR in a value", &[(b"x", b"y\rz: a")]),
    ("a NUL in a value", &[(b"x", b"y\0")]),
    ("Connection", &[(b"connection", b"x-app")]),
    ("Keep-Alive", &[(b"keep-alive", b"1")]),
    ("Proxy-Connection", &[(b"proxy-connection", b"close")]),
    ("Transfer-Encoding", &[(b"transfer-encoding", b"chunked")]),
    ("Upgrade", &[(b"upgrade", b"websocket")]),
    ("TE", &[(b"te", b"gzip")]),
    (
        "two lengths",
        &[(b"content-length", b"0"), (b"content-length", b"5")],
    ),
    ("a list of lengths", &[(b"content-length", b"0, 0")]),
    ("a signed length", &[(b"content-length", b"+0")]),
    ("a length without a body", &[(b"content-length", b"5")]),
    ("an unknown expectation", &[(b"expect", b"x")]),
    ("two X-App", &[(b"x-app", b"a"), (b"x-app", b"b")]),
];

/// Other heads that are malformed.
const OTHERS: &[(&str, Head)] = &[
    ("no path", &[METHOD, SCHEME, AUTHORITY]),
    ("no method", &[SCHEME, AUTHORITY, PATH]),
    ("two methods", &[METHOD, METHOD, SCHEME, AUTHORITY, PATH]),
    (
        "a blank in the method",
        &[(b":method", b"GET /x"), SCHEME, AUTHORITY, PATH],
    ),
    (
        "a line end in the method",
        &[TWO_LINES, SCHEME, AUTHORITY, PATH],
    ),
    ("no scheme", &[METHOD, AUTHORITY, PATH]),
    ("no authority and no Host", &[METHOD, SCHEME, PATH]),
    ("two hosts", &[METHOD, SCHEME, PATH, HOST, HOST]),
    (
        "a pseudo-field behind others",
        &[METHOD, SCHEME, AUTHORITY, (b"x", b"y"), PATH],
    ),
    ("TRACE", &[(b":method", b"TRACE"), SCHEME, AUTHORITY, PATH]),
    ("CONNECT", &[CONNECT, (b":authority", b"b.test:443")]),
    ("CONNECT with a path", &[CONNECT, SCHEME, AUTHORITY, PATH]),
    (
        "CONNECT of a WebSocket",
        &[CONNECT, WEBSOCKET, SCHEME, AUTHORITY, PATH],
    ),
];

/// All heads that are malformed: what each has.
fn malformed() -> Vec<(&'static str, Vec<Field>)> {
    let whole = [METHOD, SCHEME, AUTHORITY, PATH];
    let paths = PATHS.iter().map(|(what, path)| {
        let head = vec![METHOD, SCHEME, AUTHORITY, (b":path", *path)];
        (*what, head)
    });
    let authorities = AUTHORITIES.iter().map(|(what, authority)| {
        let head = vec![METHOD, SCHEME, (b":authority", *authority), PATH];
        (*what, head)
    });
    let fields = FIELDS.iter();
    let fields = fields.map(|(what, more)| (*what, [&whole, *more].concat()));
    let others = OTHERS.iter().map(|(what, head)| (*what, head.to_vec()));
    let all = paths.chain(authorities).chain(fields).chain(others);
    all.collect()
}

#[test]
fn a_head_that_is_malformed_reaches_no_application_and_the_connection_goes_on() {
    let origin = Origin::answering(OK);
    let front = front(vec![route("blog", &[&origin])]);
    for (what, head) in malformed() {
        let mut client = Raw::connect(front.address, &[]);
        client.send(HEADERS, END_HEADERS | END_STREAM, 1, &block(&head));
        let answer = client.next_of(&[HEADERS, RST_STREAM, GOAWAY]).expect(what);
        match answer.kind {
            // h2 counts some as errors of the connection, which RFC 9113 §5.4.2 allows.
            GOAWAY => {
                assert!(origin.received_nothing(), "{what}");
                continue;
            }
            RST_STREAM => assert_eq!(answer.code(), PROTOCOL_ERROR, "{what}"),
            _ => assert_ne!(answer.payload[0], STATUS_200, "{what} is answered with 200"),
        }
        assert!(origin.received_nothing(), "{what}");
        client.ask(3);
        let answer = loop {
            let next = client.next_of(&[HEADERS]).expect(what);
            if next.stream == 3 {
                break next;
            }
        };
        assert_eq!(answer.payload[0], STATUS_200, "200 behind {what}");
        assert!(
            origin
                .received()
                .starts_with("GET / HTTP/1.1\r\nhost: a.test\r\n"),
            "{what}"
        );
    }
}

#[test]
fn a_body_of_another_length_than_was_said_never_looks_whole_to_the_app() {
    let lengths: &[(&[u8], &[&[u8]])] = &[
        (b"5", &[b"four"]),
        (b"3", &[b"four"]),
        (b"3", &[b"abc", b"d"]),
    ];
    for (length, pieces) in lengths {
        let origin = Origin::start(|conn| {
            conn.record_rest();
        });
        let front = front(vec![crate::front::fixture::passing("blog", &[&origin])]);
        let mut client = Raw::connect(front.address, &[]);
        let head = [
            (&b":method"[..], &b"POST"[..]),
            SCHEME,
            AUTHORITY,
            PATH,
            (b"content-length", length),
        ];
        client.send(HEADERS, END_HEADERS, 1, &block(&head));
        let (last, first) = pieces.split_last().unwrap();
        for piece in first {
            client.send(DATA, 0, 1, piece);
        }
        client.send(DATA, END_STREAM, 1, last);
        let answer = client.next_of(&[HEADERS, RST_STREAM]).unwrap();
        assert_eq!((answer.kind, answer.code()), (RST_STREAM, PROTOCOL_ERROR));
        drop(client);
        if let Some(got) = origin.next_received() {
            let body = got.split_once("\r\n\r\n").map_or("", |(_, body)| body);
            assert!(body.len() < 3 || *length == b"5", "{got}");
        }
    }
}

#[test]
fn the_crumbs_of_a_cookie_are_one_line_and_the_rest_is_as_it_came() {
    let origin = Origin::answering(OK);
    let front = front(vec![route("blog", &[&origin])]);
    run(async {
        let mut client = Client::connect(front.address).await;
        let request = Request::builder()
            .uri("https://a.test/")
            .header("cookie", "a=b")
            .header("x-list", "1")
            .header("cookie", "c=d; e=f")
            .header("x-list", "2")
            .header("te", "trailers")
            .header("cookie", "g=h")
            .header("x-forwarded-proto", "http")
            .header("x-utf8", "\u{e9}");
        assert_eq!(client.ask(request.body(()).unwrap()).await.status, 200);
        let got = received(&origin).await;
        assert!(got.contains("\r\ncookie: a=b; c=d; e=f; g=h\r\n"), "{got}");
        assert!(got.contains("\r\nx-list: 1\r\nx-list: 2\r\n"), "{got}");
        assert!(got.contains("\r\nTE: trailers\r\n"), "{got}");
        assert!(got.contains("\r\nx-utf8: \u{e9}\r\n"), "{got}");
        assert!(got.contains("\r\nX-Forwarded-Proto: https\r\n"), "{got}");
        assert_eq!(
            got.to_ascii_lowercase()
                .matches("x-forwarded-proto")
                .count(),
            1,
            "{got}"
        );
        let mut same = self::request("GET", "/");
        same.headers_mut().insert("host", "A.test".parse().unwrap());
        assert_eq!(client.ask(same).await.status, 200, "Host says the same");
        assert_eq!(
            received(&origin).await.matches("a.test").count(),
            2,
            "Host, X-Forwarded-Host"
        );
    });
}

#[test]
fn a_head_that_is_too_large_is_refused_and_bounded() {
    let origin = Origin::answering(OK);
    let front = front(vec![route("blog", &[&origin])]);
    run(async {
        let mut client = Client::connect(front.address).await;
        let mut many = request("GET", "/");
        for at in 0..101 {
            let name = http::HeaderName::try_from(format!("x-{at}")).unwrap();
            many.headers_mut().insert(name, 1.into());
        }
        assert_eq!(client.ask(many).await.status, 431);
        let mut long = request("GET", "/");
        let value = "x".repeat(33 * 1024);
        long.headers_mut().insert("x", value.parse().unwrap());
        assert_eq!(client.ask(long).await.status, 431);
        assert_eq!(
            client
                .get(&format!("/{}", "x".repeat(17 * 1024)))
                .await
                .status,
            414
        );
        assert_eq!(client.get("/").await.status, 200);
    });
}

#[test]
fn a_head_in_many_frames_is_one_head() {
    let origin = Origin::answering(OK);
    let front = front(vec![route("blog", &[&origin])]);
    let mut client = Raw::connect(front.address, &[]);
    let head = super::frames::get();
    let (first, rest) = head.split_at(5);
    client.send(HEADERS, END_STREAM, 1, first);
    for byte in &rest[..2] {
        client.send(CONTINUATION, 0, 1, &[*byte]);
    }
    client.send(CONTINUATION, END_HEADERS, 1, &rest[2..]);
    client.is_answered();
}
