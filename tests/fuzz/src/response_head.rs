//! A response head: found, parsed, rewritten, parsed again.

use procserver::front::http::field::Field;
use procserver::front::http::forwarded;
use procserver::front::http::forwarded::Downstream;
use procserver::front::http::framing::Framing;
use procserver::front::http::head;
use procserver::front::http::head::Response;
use procserver::front::http::head_end;
use procserver::front::http::parse;

use super::heads::{assert_one_head, assert_plain, end_by, ends_here, only, values};

/// Fields that the front end adds at most.
const OWN_FIELDS: usize = 4;

/// Bytes 0 and 1: where the input is split. Byte 2: 1 for HEAD, 2 for a client with HTTP/1.0, 4 for one that keeps the
/// connection, 8 for one that asked for another protocol. Then what an app sends.
pub fn response_head(data: &[u8]) {
    let Some(([high, low, flags], sent)) = data.split_first_chunk() else {
        return;
    };
    let split = usize::from(u16::from_be_bytes([*high, *low]));
    let Ok(Some(end)) = end_by(head_end::find_response_end, sent, split) else {
        return;
    };
    let is_head = flags & 1 != 0;
    let Ok(parsed) = parse::response(&sent[..end], is_head) else {
        return;
    };
    assert_sound(&parsed, is_head);
    let minor = if flags & 2 != 0 { 0 } else { 1 };
    let upgrade = (flags & 8 != 0 && matches!(parsed.status, 101 | 426)).then_some(&b"echo/1"[..]);
    let (framing, keep_alive) = downstream(&parsed, minor, flags & 4 != 0);
    let down = Downstream {
        by_path: None,
        is_own: true,
        hsts: 0,
        cookie: None,
        fields: None,
        framing,
        minor,
        keep_alive,
        request_id: b"own-id",
        date: None,
        upgrade,
    };
    check_passed_on(&parsed, &down, is_head);
}

/// How the front end sends a response on: what it cannot count it sends in chunks, or closes behind.
fn downstream(response: &Response<'_>, minor: u8, keep_alive: bool) -> (Framing, bool) {
    match response.framing {
        Framing::Chunked | Framing::UntilClose if minor == 0 => (Framing::UntilClose, false),
        Framing::Chunked | Framing::UntilClose => (Framing::Chunked, keep_alive),
        other => (other, keep_alive),
    }
}

fn assert_sound(response: &Response<'_>, is_head: bool) {
    assert_plain(&response.fields);
    assert!((100..1000).contains(&response.status));
    let without = is_head || response.status < 200 || matches!(response.status, 204 | 304);
    assert!(!without || response.framing == Framing::Empty);
    let lengths = values(&response.fields, "content-length");
    assert_eq!(response.length.is_some(), !lengths.is_empty());
    match response.framing {
        Framing::Length(bytes) => assert_eq!(response.length, Some(bytes)),
        Framing::Chunked | Framing::UntilClose => assert_eq!(response.length, None),
        Framing::Empty => assert!(without || response.length == Some(0)),
    }
}

/// What a client reads is what the app said, as the front end delimits it.
fn check_passed_on(response: &Response<'_>, down: &Downstream<'_>, is_head: bool) {
    let mut written = Vec::new();
    forwarded::response(&mut written, response, down);
    assert_one_head(&written);
    if response.fields.len() > head::MAX_FIELDS - OWN_FIELDS {
        // With those of the front end there are more than are read here; a client may read more.
        return;
    }
    let again = parse::response(&written, is_head).expect("what is passed on is valid");
    assert_eq!(
        (again.status, again.reason),
        (response.status, response.reason)
    );
    assert_eq!(fields_of(&again), fields_of(response));
    let chunked = values(&again.fields, "transfer-encoding");
    if response.status < 200 {
        assert!(chunked.is_empty() && again.length.is_none());
        return;
    }
    assert_eq!(only(&again.fields, "x-request-id"), b"own-id");
    if is_head {
        assert_eq!(again.framing, Framing::Empty);
    } else {
        assert_eq!(again.framing, down.framing);
    }
    assert!(down.minor == 1 || chunked.is_empty());
    let length = response.length.filter(|_| response.status != 204);
    assert_eq!(again.length, length);
    // A connection on which a body is announced that may not be there is not used again.
    let announced = !chunked.is_empty() || length.is_some_and(|length| length > 0);
    let is_misleading = again.framing == Framing::Empty && announced;
    assert_eq!(again.keep_alive, down.keep_alive && !is_misleading);
    let upgrades = values(&again.fields, "upgrade");
    assert_eq!(upgrades, Vec::from_iter(down.upgrade));
    assert!(values(&again.fields, "connection").len() <= 1);
}

/// What passes from end to end, in order.
fn fields_of<'b>(response: &Response<'b>) -> Vec<(&'b str, &'b [u8])> {
    let made_anew = |f: &Field<'_>| f.is_named("x-request-id");
    let passed = response.fields.iter();
    let passed = passed.filter(|f| !made_anew(f) && !ends_here(&response.fields, f));
    passed.map(|f| (f.name, f.value)).collect()
}
