//! A request head: found, parsed, rewritten, parsed again.

use procserver::front::access::entry::Notes;
use procserver::front::http::field::Field;
use procserver::front::http::forwarded;
use procserver::front::http::forwarded::Context;
use procserver::front::http::framing::Framing;
use procserver::front::http::head;
use procserver::front::http::head::{Refusal, Request};
use procserver::front::http::head_end;
use procserver::front::http::local_reply;
use procserver::front::http::local_reply::{LocalReply, Page};
use procserver::front::http::parse;
use procserver::front::http::token;
use procserver::router::path::first_segment;

use super::heads::{
    FROM_PROXY, assert_one_head, assert_plain, end, ends_here, folded, only, values,
};

/// Fields that a head may have, unless the settings say otherwise.
const MAX_FIELDS: usize = 100;

/// Bytes 0 and 1: where the input is split. Byte 2: 1 for a trusted peer, 2 for the first segment stripped. Then what a
/// client sends.
pub fn request_head(data: &[u8]) {
    let Some(([high, low, flags], sent)) = data.split_first_chunk() else {
        return;
    };
    let split = usize::from(u16::from_be_bytes([*high, *low]));
    let Ok(Some(end)) = end(sent, split) else {
        return;
    };
    match parse::request(&sent[..end], MAX_FIELDS) {
        Ok(parsed) => {
            assert_sound(&parsed);
            let strip = first_segment(parsed.target).filter(|_| flags & 2 != 0);
            check_forwarded(&parsed, flags & 1 != 0, strip.map_or(0, |(_, raw)| raw));
            let _ = Notes::of(
                Vec::new(),
                ([127, 0, 0, 1].into(), None),
                Default::default(),
                &parsed,
            );
        }
        Err(refusal) => check_refusal(refusal),
    }
}

fn assert_sound(request: &Request<'_>) {
    assert_plain(&request.fields);
    assert!(request.fields.len() <= MAX_FIELDS);
    assert!(!request.method.is_empty() && request.method.bytes().all(token::is_token));
    let visible = |b: u8| b.is_ascii_graphic() && b != b'#';
    assert!(request.target.starts_with(['/', '?', '*']));
    assert!(request.target.bytes().all(visible), "{}", request.target);
    assert!(request.target != "*" || request.method == "OPTIONS");
    assert_eq!(request.authority.is_none(), {
        request.minor == 0 && !request.absolute && values(&request.fields, "host").is_empty()
    });
    let lengths = values(&request.fields, "content-length");
    match request.framing {
        Framing::UntilClose => panic!("a request has an end"),
        Framing::Chunked => assert!(lengths.is_empty() && request.minor == 1),
        Framing::Length(bytes) => assert!(bytes > 0 && !lengths.is_empty()),
        Framing::Empty => assert!(values(&request.fields, "transfer-encoding").is_empty()),
    }
}

/// What a backend reads is what the client said, and only the front end speaks of the connection.
fn check_forwarded(request: &Request<'_>, trusted: bool, strip: usize) {
    let context = Context {
        peer: [192, 0, 2, 1].into(),
        local: ([192, 0, 2, 2], 8080).into(),
        secure: false,
        http2: false,
        trusted,
        networks: &[],
        request_id: b"own-id",
        arrived: 1_700_000_000_123,
        strip,
        withheld: None,
        user: None,
        cookie: None,
        trace: None,
    };
    let mut written = Vec::new();
    forwarded::request(&mut written, request, &context);
    assert_one_head(&written);
    let again = parse::request(&written, head::MAX_FIELDS).expect("what is forwarded is valid");
    assert_eq!((again.method, again.minor), (request.method, 1));
    let rest = &request.target[strip..];
    let root = if rest.starts_with(['/', '*']) {
        ""
    } else {
        "/"
    };
    assert_eq!(again.target, format!("{root}{rest}"));
    assert_eq!(again.framing, request.framing);
    assert_eq!(again.upgrade, request.upgrade);
    assert!(again.keep_alive && !again.absolute);
    assert_eq!(again.expects_continue, request.expects_continue);
    let authority = |r: &Request<'_>| r.authority.map_or(String::new(), |a| a.text.to_owned());
    assert_eq!(authority(&again), authority(request));
    assert_eq!(fields_of(&again), fields_of(request));
    check_connection(&again);
    assert_eq!(only(&again.fields, "x-request-id"), b"own-id");
    assert!(values(&again.fields, "x-app").is_empty());
    let via = format!("1.{} procserver", request.minor);
    assert_eq!(values(&again.fields, "via").pop(), Some(via.as_bytes()));
}

/// What passes from end to end, in order.
fn fields_of<'b>(request: &Request<'b>) -> Vec<(&'b str, &'b [u8])> {
    let made_anew = |f: &Field<'_>| {
        let name = folded(f.name);
        let ours = [
            "x-app",
            "x-request-id",
            "x-request-start",
            "forwarded",
            "via",
            "host",
        ];
        let connection = [
            "connection",
            "te",
            "upgrade",
            "transfer-encoding",
            "content-length",
        ];
        // Expectations came with HTTP/1.1; in HTTP/1.0 the field means nothing.
        let meaningless = request.minor == 0 && f.is_named("expect");
        // Counted down.
        let hops = request.method == "OPTIONS" && f.is_named("max-forwards");
        meaningless
            || hops
            || ours.contains(&&*name)
            || connection.contains(&&*name)
            || name.starts_with("x-forwarded-")
            || FROM_PROXY.contains(&&*name)
    };
    let passed = request.fields.iter();
    let passed = passed.filter(|f| !made_anew(f) && !ends_here(&request.fields, f));
    passed.map(|f| (f.name, f.value)).collect()
}

/// Connection says what its only options need.
fn check_connection(again: &Request<'_>) {
    let te = values(&again.fields, "te");
    match values(&again.fields, "connection")[..] {
        [] => assert!(te.is_empty() && values(&again.fields, "upgrade").is_empty()),
        [b"TE"] => assert_eq!(te, [b"trailers"]),
        [b"Upgrade"] => {
            let protocols = only(&again.fields, "upgrade");
            assert!(!protocols.to_ascii_lowercase().starts_with(b"h2") || again.upgrade.is_some());
        }
        ref others => panic!("Connection: {others:?}"),
    }
    for field in &again.fields {
        let dashed = folded(field.name);
        let named = [
            "connection",
            "te",
            "upgrade",
            "transfer-encoding",
            "content-length",
        ];
        let ours = named.contains(&&*dashed) && !field.name.contains(['_', '.']);
        assert!(ours || !ends_here(&again.fields, field), "{field:?}");
    }
    let chunked = values(&again.fields, "transfer-encoding");
    let lengths = values(&again.fields, "content-length").len();
    match again.framing {
        Framing::Chunked => assert_eq!((chunked, lengths), (vec![b"chunked".as_slice()], 0)),
        Framing::Length(_) => assert_eq!((chunked.len(), lengths), (0, 1)),
        _ => assert!(chunked.is_empty() && lengths <= 1),
    }
}

/// The answer to what is refused is a whole response that closes.
fn check_refusal(refusal: Refusal) {
    let page = Page {
        html: false,
        head_only: false,
        keep_alive: false,
        minor: 1,
        request_id: "own-id",
        now: "1994-11-06T08:49:37Z".parse().expect("a time"),
        fields: None,
    };
    let mut written = Vec::new();
    local_reply::write(&mut written, &LocalReply::from(refusal), &page);
    let end = head_end::find_end(&written, 0)
        .expect("a head")
        .expect("whole");
    let answer = parse::response(&written[..end], false).expect("a response");
    assert!((400..600).contains(&answer.status) && !answer.keep_alive);
    assert_eq!(
        answer.framing,
        Framing::length((written.len() - end) as u64)
    );
}
