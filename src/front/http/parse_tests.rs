//! What the parser of heads promises.

use proptest::prelude::*;

use super::*;
use crate::front::http::head_end::find_end;

fn parse(text: &str) -> Result<Request<'_>, Refusal> {
    request(text.as_bytes(), 100)
}

fn status(text: &str) -> u16 {
    parse(text).map_or_else(Refusal::status, |_| 200)
}

#[test]
fn a_plain_request() {
    let head = "GET /a?b=%2F HTTP/1.1\r\nHost: Blog:80\r\nX-y:  1 \r\n\r\n";
    let request = parse(head).unwrap();
    assert_eq!(
        (request.method, request.target, request.minor),
        ("GET", "/a?b=%2F", 1)
    );
    assert_eq!(request.authority.unwrap().host, "Blog");
    assert_eq!(request.fields[1], Field::new("X-y", b"1").unwrap());
    assert!(request.keep_alive && !request.expects_continue && request.upgrade.is_none());
    assert_eq!(request.framing, Framing::Empty);
}

#[test]
fn refused_request_lines() {
    for line in [
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        " GET / HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET /",
        "G@T / HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET / http/1.1",
        "GET / HTTP/1.10",
        "GET / HTTP/11",
        "GET x HTTP/1.1",
        "GET * HTTP/1.1",
        "GET /a#b HTTP/1.1",
        "GET /\u{e4} HTTP/1.1",
        "GET http:///x HTTP/1.1",
        "GET http://a@b/ HTTP/1.1",
        "GET ftp://b/ HTTP/1.1",
        "GET / HTTP/1.1\u{7f}",
        "GET /\u{1} HTTP/1.1",
    ] {
        assert_eq!(
            status(&format!("{line}\r\nHost: a\r\n\r\n")),
            400,
            "{line:?}"
        );
    }
    assert_eq!(status("GET / HTTP/2.0\r\nHost: a\r\n\r\n"), 505);
    assert_eq!(status("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n"), 405);
    assert_eq!(status("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n"), 405);
    let long = format!(
        "GET /{} HTTP/1.1\r\nHost: a\r\n\r\n",
        "a".repeat(MAX_TARGET)
    );
    assert_eq!(status(&long), 414);
}

/// Field values are looked at by `httparse`, in blocks of a size that depends on the processor.
#[test]
fn a_control_byte_is_refused_wherever_it_is_in_a_value() {
    for byte in (0..b' ').chain([0x7f]).filter(|b| *b != b'\t') {
        for at in 0..70 {
            let mut value = [b'v'; 70];
            value[at] = byte;
            let heads = [
                &b"GET / HTTP/1.1\r\nHost: a\r\nX: "[..],
                b"HTTP/1.1 200 OK\r\nX: ",
            ];
            let [asked, answered] = heads.map(|head| [head, &value, b"\r\n\r\n"].concat());
            let refused = request(&asked, 9).is_err() && response(&answered, false).is_err();
            let trailer = [b"X: ", &value[..], b"\r\n\r\n"].concat();
            assert!(refused && trailers(&trailer).is_err(), "{byte} at {at}");
        }
    }
}

#[test]
fn refused_fields() {
    for fields in [
        "",
        "Host: a\r\nHost: a\r\n",
        "Host: a b\r\n",
        "Host: a,b\r\n",
        "Host : a\r\n",
        "Host: a\r\nX : 1\r\n",
        "Host: a\r\n X: 1\r\n",
        "Host: a\r\nX: 1\r\n y\r\n",
        "Host: a\r\nX\r\n",
        "Host: a\r\n: x\r\n",
        "Host: a\r\nX: \u{1}\r\n",
        "Host: a\r\nX: \u{7f}\r\n",
        "Host: a\r\nX(y): 1\r\n",
        "Host: a\r\nContent-Length: +1\r\n",
        "Host: a\r\nContent-Length: \r\n",
        "Host: a\r\nContent-Length: 1, 1\r\n",
        "Host: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n",
        "Host: a\r\nContent-Length: 0x1\r\n",
        "Host: a\r\nContent-Length: 99999999999999999999\r\n",
        "Host: a\r\nContent-Length: 1 1\r\n",
        "Host: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        "Host: a\r\nTransfer-Encoding: chunked, gzip\r\n",
        "Host: a\r\nTransfer-Encoding: gzip\r\nContent-Length: 3\r\n",
        "Host: a\r\nTransfer-Encoding: chunked;a=b\r\n",
        "Host: a\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked, chunked\r\n",
        "Host: a\r\nTransfer-Encoding: chunked, chunked\r\n",
        "Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Host: a\r\nTransfer-Encoding: \r\n",
        "Host: a\r\nTransfer-Encoding: chunked;q=1\r\n",
    ] {
        assert_eq!(
            status(&format!("GET / HTTP/1.1\r\n{fields}\r\n")),
            400,
            "{fields:?}"
        );
    }
    assert_eq!(
        status("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
        400
    );
    assert_eq!(
        status("GET / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n"),
        417
    );
    let many = "X: y\r\n".repeat(101);
    assert_eq!(
        status(&format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n")),
        431
    );
    let more = "X: y\r\n".repeat(1000);
    assert_eq!(
        status(&format!("GET / HTTP/1.1\r\nHost: a\r\n{more}\r\n")),
        431
    );
}

#[test]
fn accepted_forms() {
    let absolute = parse("GET http://b:81/x HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(
        (absolute.authority.unwrap().text, absolute.target),
        ("b:81", "/x")
    );
    assert_eq!(
        parse("GET http://b HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap()
            .target,
        "/"
    );
    assert_eq!(
        parse("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap()
            .target,
        "*"
    );
    assert!(parse("GET / HTTP/1.0\r\n\r\n").unwrap().authority.is_none());
    assert!(!parse("GET / HTTP/1.0\r\n\r\n").unwrap().keep_alive);
    assert!(
        parse("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            .unwrap()
            .keep_alive
    );
    let close = "GET / HTTP/1.1\r\nHost: a\r\nConnection: x\r\nConnection: y, Close\r\n\r\n";
    assert!(!parse(close).unwrap().keep_alive);
    let same = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n";
    assert_eq!(parse(same).unwrap().framing, Framing::Length(3));
    let chunked =
        "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\nExpect: 100-Continue\r\n\r\n";
    let chunked = parse(chunked).unwrap();
    assert!(chunked.framing == Framing::Chunked && chunked.expects_continue);
    let upgrade =
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: x/1\r\n\r\n";
    assert_eq!(parse(upgrade).unwrap().upgrade, Some("x/1"));
    let alone = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\n\r\n";
    assert_eq!(parse(alone).unwrap().upgrade, None);
}

#[test]
fn the_end_of_a_head_is_found_or_its_bytes_refused() {
    assert_eq!(find_end(b"GET / HTTP/1.1\r\n\r\nrest", 0), Ok(Some(18)));
    assert_eq!(find_end(b"GET / HTTP/1.1\r\n\r", 0), Ok(None));
    for bad in ["a\nb", "a\rb", "\n", "a\r\n\n", "a\0"] {
        assert!(find_end(bad.as_bytes(), 0).is_err(), "{bad:?}");
    }
}

#[test]
fn response_bodies_are_delimited_by_status_then_fields() {
    let framing = |text: &str, head| response(text.as_bytes(), head).map(|r| r.framing);
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    assert_eq!(framing(ok, false), Ok(Framing::Length(5)));
    assert_eq!(framing(ok, true), Ok(Framing::Empty));
    assert_eq!(
        framing("HTTP/1.1 200 OK\r\n\r\n", false),
        Ok(Framing::UntilClose)
    );
    assert_eq!(
        framing("HTTP/1.1 204 \r\nContent-Length: 5\r\n\r\n", false),
        Ok(Framing::Empty)
    );
    assert_eq!(
        framing("HTTP/1.1 304\r\nContent-Length: 5\r\n\r\n", false),
        Ok(Framing::Empty)
    );
    assert_eq!(
        framing("HTTP/1.1 103 Early\r\n\r\n", false),
        Ok(Framing::Empty)
    );
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(framing(chunked, false), Ok(Framing::Chunked));
    for bad in [
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 99 No\r\n\r\n",
        "HTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/2 200\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
    ] {
        assert!(framing(bad, false).is_err(), "{bad:?}");
    }
}

proptest! {
    #[test]
    fn any_split_finds_the_same_end(text in "[aG \r\n\u{0}]{0,40}|(a\r\n|\r|\n|\u{0}){0,9}", at in 0usize..40) {
        let bytes = text.as_bytes();
        let at = at.min(bytes.len());
        let split = find_end(&bytes[..at], 0).and_then(|end| match end {
            Some(end) => Ok(Some(end)),
            None => find_end(bytes, at),
        });
        prop_assert_eq!(split, find_end(bytes, 0));
    }

    #[test]
    fn parsing_is_total(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = find_end(&bytes, 0);
        let _ = request(&bytes, 100);
        let _ = response(&bytes, false);
        let _ = trailers(&bytes);
    }

    #[test]
    fn no_field_holds_a_line_end(name in "[A-Za-z -]{1,9}", value in "[a\r\n\t\u{0}: ]{0,12}") {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{name}: {value}\r\n\r\n");
        if let Ok(request) = parse(&text) {
            for field in &request.fields {
                prop_assert!(!field.value.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)));
                prop_assert!(field.name.bytes().all(is_token));
            }
        }
    }
}

#[test]
fn an_unknown_transfer_coding_is_not_implemented() {
    for coding in [
        "identity",
        "xchunked",
        "gzip",
        "gzip, chunked",
        "x;q=1",
        "br\r\nTransfer-Encoding: chunked",
    ] {
        let text = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {coding}\r\n\r\n");
        assert_eq!(
            request(text.as_bytes(), 100).unwrap_err(),
            Refusal::Coding,
            "{coding}"
        );
    }
    assert_eq!(Refusal::Coding.status(), 501);
    let old = b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n";
    assert_eq!(request(old, 100).unwrap_err().status(), 400);
}

#[test]
fn later_versions_of_http_1_are_read_as_1_1() {
    let of = |version: &str| {
        let fields = "Host: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\nB: \t c \r\n";
        let text = format!("PUT /x?y HTTP/{version}\r\n{fields}\r\n");
        let text = &*Box::leak(text.into_boxed_str());
        format!("{:?}", request(text.as_bytes(), 100).unwrap())
    };
    assert_eq!(of("1.2"), of("1.1"));
    assert_eq!(of("1.9"), of("1.1"));
    for (refused, status) in [
        ("GET / HTTP/1.2\r\n\r\n", 400),
        ("GET / HTTP/1.2\r\nHost: a\r\nA : b\r\n\r\n", 400),
        ("GET / HTTP/1.2\r\nHost: a\r\n b\r\n\r\n", 400),
        ("GET /\u{e4} HTTP/1.2\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400),
        ("TRACE / HTTP/1.3\r\nHost: a\r\n\r\n", 405),
    ] {
        assert_eq!(
            request(refused.as_bytes(), 100).unwrap_err().status(),
            status,
            "{refused}"
        );
    }
    let many = format!(
        "GET / HTTP/1.2\r\nHost: a\r\n{}\r\n",
        "A: b\r\n".repeat(100)
    );
    assert_eq!(
        request(many.as_bytes(), 100).unwrap_err(),
        Refusal::TooLarge
    );
    let more = format!(
        "GET / HTTP/1.2\r\nHost: a\r\n{}\r\n",
        "A: b\r\n".repeat(300)
    );
    assert_eq!(
        request(more.as_bytes(), 1000).unwrap_err(),
        Refusal::TooLarge
    );
}
