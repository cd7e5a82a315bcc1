//! What rewriting promises.

use proptest::prelude::*;

use super::*;
use crate::front::http::parse;

fn context(trusted: bool, strip: usize) -> Context<'static> {
    Context {
        peer: "10.0.0.9".parse().unwrap(),
        local: "192.168.0.1:80".parse().unwrap(),
        secure: false,
        http2: false,
        trusted,
        networks: &[],
        request_id: b"id1",
        arrived: 1_700_000_000_123,
        strip,
        withheld: None,
        user: None,
        cookie: None,
        trace: None,
    }
}

fn forwarded(text: &str, context: &Context<'_>) -> String {
    let parsed = parse::request(text.as_bytes(), 100).unwrap();
    let mut out = Vec::new();
    request(&mut out, &parsed, context);
    parse::request(&out, 100).expect("what is sent parses");
    String::from_utf8(out).unwrap()
}

const OWN: &str = "Via: 1.1 procserver\r\nX-Forwarded-For: 10.0.0.9\r\nX-Forwarded-Proto: http\r\n\
                   X-Forwarded-Host: a:81\r\nX-Forwarded-Port: 81\r\nX-Real-IP: 10.0.0.9\r\n\
                   X-Request-Start: t=1700000000123\r\n";

#[test]
fn fields_keep_order_case_and_lines() {
    let came = "GET /x HTTP/1.1\r\nb: 1\r\nHOST: a:81\r\nA: 2\r\nb: 3\r\n\r\n";
    let expected = format!(
        "GET /x HTTP/1.1\r\nb: 1\r\nHOST: a:81\r\nA: 2\r\nb: 3\r\n{OWN}X-Request-ID: id1\r\n\r\n"
    );
    assert_eq!(forwarded(came, &context(false, 0)), expected);
}

#[test]
fn hop_by_hop_fields_and_those_listed_go_but_not_the_protected() {
    let came = "GET /x HTTP/1.1\r\nHost: a:81\r\nConnection: close, Secret\r\nConnection: host, content-length\r\n\
                Secret: 1\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\nTE: gzip\r\nUpgrade: h2c\r\nProxy-Authorization: x\r\n\
                X-App: blog\r\nX_Forwarded_For: evil\r\nTransfer_Encoding: chunked\r\nX-Forwarded-For: evil\r\n\
                X-Forwarded-Prefix: /evil\r\nContent-Length: 0\r\n\r\n";
    let expected = format!(
        "GET /x HTTP/1.1\r\nHost: a:81\r\nContent-Length: 0\r\n{OWN}X-Request-ID: id1\r\n\r\n"
    );
    assert_eq!(forwarded(came, &context(false, 0)), expected);
}

#[test]
fn a_trusted_peer_is_believed_and_appended_to() {
    let came = "GET /blog/x HTTP/1.1\r\nHost: a:81\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\n\r\n";
    let out = forwarded(came, &context(true, 5));
    assert!(out.starts_with("GET /x HTTP/1.1\r\n"), "{out}");
    assert!(
        out.contains("X-Forwarded-For: 1.2.3.4, 10.0.0.9\r\n"),
        "{out}"
    );
    assert!(
        out.contains("X-Forwarded-Proto: https\r\n") && !out.contains("Proto: http\r\n"),
        "{out}"
    );
    assert!(out.contains("X-Forwarded-Prefix: /blog\r\n"), "{out}");
}

#[test]
fn the_port_is_that_of_the_protocol_that_a_trusted_peer_names() {
    let port = |host: &str, fields: &str, trusted: bool| {
        let context = Context {
            local: "192.168.0.1:8080".parse().unwrap(),
            ..context(trusted, 0)
        };
        let came = format!("GET / HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n");
        let out = forwarded(&came, &context);
        let (_, port) = out.split_once("X-Forwarded-Port: ").unwrap();
        port.lines().next().unwrap().to_owned()
    };
    let https = "X-Forwarded-Proto: HTTPS\r\n";
    assert_eq!(port("a", https, true), "443");
    assert_eq!(port("a", "X-Forwarded-Proto: http, https\r\n", true), "80");
    assert_eq!(port("a", "X-Forwarded-Proto: x\r\n", true), "8080");
    assert_eq!(port("a:81", https, true), "81");
    let named = format!("{https}X-Forwarded-Port: 82\r\n");
    assert_eq!(port("a", &named, true), "82");
    assert_eq!(port("a", "", true), "8080");
    assert_eq!(port("a", https, false), "8080");
    // A proxy that asks for itself says which host was asked for.
    let asked = format!("{https}X-Forwarded-Host: shop.example\r\n");
    assert_eq!(port("127.0.0.1:8080", &asked, true), "443");
    let asked = format!("{https}X-Forwarded-Host: shop.example:8443, other\r\n");
    assert_eq!(port("127.0.0.1:8080", &asked, true), "8443");
    assert_eq!(
        port("a:81", "X-Forwarded-Host: shop.example\r\n", true),
        "80"
    );
    assert_eq!(
        port("a:81", "X-Forwarded-Host: shop.example\r\n", false),
        "81"
    );
}

#[test]
fn what_a_trusted_peer_says_in_forwarded_alone_the_other_fields_say_too() {
    let networks = ["10.0.0.0/8".parse().unwrap()];
    let context = Context {
        networks: &networks,
        ..context(true, 0)
    };
    let said = |forwarded: &str, others: &str| {
        let came =
            format!("GET / HTTP/1.1\r\nHost: a:81\r\nForwarded: {forwarded}\r\n{others}\r\n");
        let out = self::forwarded(&came, &context);
        let value = |name: &str| {
            let mut lines = out.lines().filter_map(|l| l.strip_prefix(name));
            lines.next().unwrap_or_default().to_owned()
        };
        let names = ["For", "Proto", "Host", "Port"];
        let [hops, protocol, host, port] = names.map(|n| value(&format!("X-Forwarded-{n}: ")));
        format!("{hops} {protocol} {host} {port} {}", value("X-Real-IP: "))
    };
    let ours = "10.0.0.9";
    assert_eq!(
        said("for=1.2.3.4;proto=https;host=shop.example", ""),
        format!("1.2.3.4, {ours} https shop.example 443 1.2.3.4")
    );
    assert_eq!(
        said(
            "for=\"[2001:db8::1]:99\";Proto=HTTP;Host=\"shop.example:8000\"",
            ""
        ),
        format!("2001:db8::1, {ours} http shop.example:8000 8000 2001:db8::1")
    );
    // The first element is the client's own invention, the last one that of a proxy within.
    assert_eq!(
        said(
            "for=6.6.6.6;host=evil;proto=http, for=1.2.3.4;proto=https;host=shop.example",
            "Forwarded: for=10.1.1.1;host=inner;proto=http\r\n"
        ),
        format!("6.6.6.6, 1.2.3.4, 10.1.1.1, {ours} https shop.example 443 1.2.3.4")
    );
    assert_eq!(
        said("for=_hidden;proto=gopher;host=\"<>\"", ""),
        format!("unknown, {ours} http a:81 81 {ours}")
    );
    // Each field that came beside it stays.
    assert_eq!(
        said(
            "for=1.2.3.4;proto=https;host=shop.example",
            "X-Forwarded-Proto: http\r\nX-Forwarded-Host: b\r\n"
        ),
        format!("1.2.3.4, {ours} http b 80 1.2.3.4")
    );
}

/// Fields by which some framework or other believes to know who asks, and for what.
const FROM_PROXIES: [&str; 18] = [
    "Client-IP",
    "True-Client-IP",
    "CF-Connecting-IP",
    "X-Client-IP",
    "X-Cluster-Client-IP",
    "X-Original-URL",
    "X-Rewrite-URL",
    "X-Original-Host",
    "Front-End-Https",
    "X-Forwarded-Ssl",
    "X-Forwarded-Scheme",
    "X-Scheme",
    "Script-Name",
    "SCRIPT_NAME",
    "X_Real_IP",
    "X.Client.IP",
    "X_App",
    "X_Forwarded_For",
];

#[test]
fn what_only_a_proxy_may_say_is_not_passed_on_of_others() {
    let fields: String = FROM_PROXIES
        .map(|name| format!("{name}: evil\r\n"))
        .concat();
    let came = format!("GET /x HTTP/1.1\r\nHost: a:81\r\nX-Real-IP: evil\r\n{fields}\r\n");
    let expected = format!("GET /x HTTP/1.1\r\nHost: a:81\r\n{OWN}X-Request-ID: id1\r\n\r\n");
    assert_eq!(forwarded(&came, &context(false, 0)), expected);
    let token = OwnToken::default();
    let believed = Context {
        withheld: Some(&token),
        user: None,
        cookie: None,
        ..context(true, 0)
    };
    let came = "GET / HTTP/1.1\r\nHost: a\r\nX-Real-IP: 1.2.3.4\r\nX_Real_IP: evil\r\nClient-IP: 5\r\nClient_IP: evil\r\n\r\n";
    let out = forwarded(came, &believed);
    assert!(out.contains("\r\nX-Real-IP: 1.2.3.4\r\n"), "{out}");
    assert!(
        out.contains("\r\nClient-IP: 5\r\n") && !out.contains("evil"),
        "{out}"
    );
    // The API believes it, so this server says it.
    let came =
        "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 9.8.7.6\r\nX-Real-IP: 1.2.3.4\r\n\r\n";
    let out = forwarded(came, &context(true, 0));
    assert_eq!(out.matches("X-Real-IP: 9.8.7.6\r\n").count(), 1, "{out}");
    assert!(!out.contains("1.2.3.4"), "{out}");
}

#[test]
fn the_own_token_is_not_sent_to_an_app_and_other_credentials_are() {
    let token = OwnToken::new("0123456789abcdef".into());
    let to_app = Context {
        withheld: Some(&token),
        user: None,
        cookie: None,
        ..context(false, 0)
    };
    let came = "GET /x HTTP/1.1\r\nHost: a:81\r\nauthorization: bearer  0123456789abcdef\r\nAuthorization: Bearer own\r\n\r\n";
    let out = forwarded(came, &to_app);
    assert!(!out.contains("0123456789abcdef"), "{out}");
    assert!(out.contains("Authorization: Bearer own\r\n"), "{out}");
    let out = forwarded(came, &context(false, 0));
    assert!(
        out.contains("bearer  0123456789abcdef"),
        "the API needs it: {out}"
    );
}

#[test]
fn forwarded_is_replaced_if_it_came() {
    let came = "GET / HTTP/1.1\r\nHost: a:81\r\nForwarded: for=evil\r\n\r\n";
    let out = forwarded(came, &context(false, 0));
    assert!(
        out.contains("\r\nForwarded: for=10.0.0.9;proto=http;host=\"a:81\"\r\n"),
        "{out}"
    );
    assert!(!out.contains("evil"), "{out}");
}

#[test]
fn forwarded_quotes_what_is_no_token_and_leaves_out_what_is_not_known() {
    let context = Context {
        peer: "2001:db8::1".parse().unwrap(),
        ..context(false, 0)
    };
    let out = forwarded("GET / HTTP/1.0\r\nForwarded: for=evil\r\n\r\n", &context);
    let expected = "\r\nForwarded: for=\"[2001:db8::1]\";proto=http\r\n";
    assert!(out.contains(expected), "{out}");
}

#[test]
fn each_hop_counts_an_options_down() {
    let out = |method: &str, hops: &str| {
        let came = format!("{method} / HTTP/1.1\r\nHost: a\r\nmax-forwards: {hops}\r\n\r\n");
        let out = forwarded(&came, &context(false, 0));
        let (_, hops) = out.split_once("max-forwards: ").unwrap();
        hops.lines().next().unwrap().to_owned()
    };
    assert_eq!(out("OPTIONS", "10"), "9");
    assert_eq!(out("OPTIONS", "001"), "0");
    assert_eq!(out("OPTIONS", "x"), "x");
    assert_eq!(
        out("OPTIONS", "99999999999999999999"),
        "99999999999999999999"
    );
    assert_eq!(out("GET", "10"), "10", "it means nothing there");
}

#[test]
fn a_stripped_target_begins_with_a_slash() {
    let out = |t: &str| {
        forwarded(
            &format!("GET {t} HTTP/1.1\r\nHost: a\r\n\r\n"),
            &context(false, 5),
        )
    };
    assert!(out("/blog").starts_with("GET / HTTP/1.1\r\n"));
    assert!(out("/blog?q").starts_with("GET /?q HTTP/1.1\r\n"));
    assert!(out("/blog//x").starts_with("GET //x HTTP/1.1\r\n"));
}

#[test]
fn an_absolute_target_replaces_host() {
    let out = forwarded(
        "GET http://b:82/x HTTP/1.1\r\nHost: a\r\n\r\n",
        &context(false, 0),
    );
    assert!(
        out.starts_with("GET /x HTTP/1.1\r\nHost: b:82\r\n"),
        "{out}"
    );
    assert!(
        out.contains("X-Forwarded-Host: b:82\r\n") && !out.contains("Host: a"),
        "{out}"
    );
}

#[test]
fn bodies_are_framed_anew() {
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n";
    assert_eq!(
        forwarded(chunked, &context(false, 0))
            .matches("Transfer-Encoding: chunked\r\n")
            .count(),
        1
    );
    let twice = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 007\r\nContent-Length: 7\r\n\r\n";
    let out = forwarded(twice, &context(false, 0));
    assert_eq!(out.matches("Content-Length: 7\r\n").count(), 1, "{out}");
}

#[test]
fn what_http_1_0_says_of_expectations_means_nothing_and_is_not_sent_on() {
    for expect in ["x", "100-continue"] {
        let came = format!("POST / HTTP/1.0\r\nExpect: {expect}\r\nContent-Length: 3\r\n\r\n");
        let out = forwarded(&came, &context(false, 0));
        assert!(!out.contains("Expect"), "{out}");
    }
}

#[test]
fn an_upgrade_is_offered_again() {
    let came = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert!(
        forwarded(came, &context(false, 0))
            .contains("Connection: Upgrade\r\nUpgrade: websocket\r\n")
    );
}

#[test]
fn responses_lose_their_hop_by_hop_fields_and_are_framed_anew() {
    let came = "HTTP/1.1 200 Fine\r\nServer: x\r\nconnection: keep-alive, Y\r\nY: 1\r\nSet-Cookie: a\r\nset-cookie: b\r\n\
                Transfer-Encoding: chunked\r\nX-Request-ID: other\r\n\r\n";
    let parsed = parse::response(came.as_bytes(), false).unwrap();
    let down = |framing, minor, keep_alive| Downstream {
        framing,
        minor,
        keep_alive,
        request_id: b"id1",
        date: None,
        upgrade: None,
        by_path: None,
        is_own: false,
        hsts: 0,
        cookie: None,
        fields: None,
    };
    let out = |d: Downstream<'_>| {
        let mut out = Vec::new();
        response(&mut out, &parsed, &d);
        String::from_utf8(out).unwrap()
    };
    let start =
        "HTTP/1.1 200 Fine\r\nServer: x\r\nSet-Cookie: a\r\nset-cookie: b\r\nX-Request-ID: id1\r\n";
    assert_eq!(
        out(down(Framing::Chunked, 1, true)),
        format!("{start}Transfer-Encoding: chunked\r\n\r\n")
    );
    assert_eq!(
        out(down(Framing::UntilClose, 0, false)),
        format!("{start}Connection: close\r\n\r\n")
    );
}

#[test]
fn fields_of_an_app_by_path_stay_in_its_path_and_those_of_others_stay_as_they_are() {
    let came = "HTTP/1.1 200 Fine\r\nSet-Cookie: a=b; Path=/\r\nSET-COOKIE: c=d\r\nClear-Site-Data: \"*\"\r\n\
                STRICT-Transport-Security: max-age=99\r\nService-Worker-Allowed: /\r\nContent-Length: 0\r\n\r\n";
    let parsed = parse::response(came.as_bytes(), false).unwrap();
    let out = |by_path| {
        let down = Downstream {
            framing: Framing::Empty,
            minor: 1,
            keep_alive: true,
            request_id: b"id1",
            date: None,
            upgrade: None,
            by_path,
            is_own: false,
            hsts: 0,
            cookie: None,
            fields: None,
        };
        let mut out = Vec::new();
        response(&mut out, &parsed, &down);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(
        out(Some("blog")),
        "HTTP/1.1 200 Fine\r\nSet-Cookie: a=b; Path=/blog\r\nSET-COOKIE: c=d; Path=/blog\r\n\
         Service-Worker-Allowed: /blog/\r\nContent-Length: 0\r\nX-Request-ID: id1\r\n\r\n"
    );
    let all = came.replace("\r\n\r\n", "\r\nX-Request-ID: id1\r\n\r\n");
    assert_eq!(out(None), all);
}

#[test]
fn an_app_sets_none_of_the_servers_own_cookies() {
    let came = "HTTP/1.1 200 Fine\r\nSet-Cookie: procserver_ui=x; Path=/\r\nset-cookie: __Host-procserver_ui=x; Secure; Path=/\r\n\
                Set-Cookie: =procserver_ui=x\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n";
    let parsed = parse::response(came.as_bytes(), false).unwrap();
    let out = |is_own, by_path| {
        let down = Downstream {
            framing: Framing::Empty,
            minor: 1,
            keep_alive: true,
            request_id: b"id1",
            date: None,
            upgrade: None,
            by_path,
            is_own,
            hsts: 0,
            cookie: None,
            fields: None,
        };
        let mut out = Vec::new();
        response(&mut out, &parsed, &down);
        String::from_utf8(out).unwrap()
    };
    let left = |cookie| {
        format!(
            "HTTP/1.1 200 Fine\r\nSet-Cookie: {cookie}\r\nContent-Length: 0\r\nX-Request-ID: id1\r\n\r\n"
        )
    };
    assert_eq!(out(false, None), left("a=b"));
    assert_eq!(out(false, Some("blog")), left("a=b; Path=/blog"));
    let all = came.replace("\r\n\r\n", "\r\nX-Request-ID: id1\r\n\r\n");
    assert_eq!(out(true, None), all);
}

#[test]
fn a_request_id_is_kept_if_it_is_sane() {
    let id = |value: &'static str| {
        let field = Field::new("X-Request-Id", value.as_bytes());
        sane_request_id(&Fields::from_iter(field))
    };
    assert_eq!(id("abc-1"), Some("abc-1"));
    assert_eq!(id("a b"), None);
    assert_eq!(id(""), None);
    assert_eq!(id("\"><script>"), None);
}

proptest! {
    #[test]
    fn what_is_sent_parses_back_to_what_came(
        names in proptest::collection::vec("[A-Za-z][A-Za-z0-9-]{0,8}", 0..8),
        value in "[!-~]([ -~]{0,8}[!-~])?",
        target in "/([!-\"$&->@-~]|%[0-9a-fA-F]{2}){0,20}(\\?[!-\"$-~]{0,9})?",
        length in 0u64..1000,
    ) {
        let fields: String = names.iter().map(|n| format!("X-{n}: {value}\r\n")).collect();
        let came = format!("PUT {target} HTTP/1.1\r\nhOsT: a:1\r\n{fields}Content-Length: {length}\r\n\r\n");
        let parsed = parse::request(came.as_bytes(), 100).unwrap();
        let mut out = Vec::new();
        request(&mut out, &parsed, &context(false, 0));
        let again = parse::request(&out, 100).unwrap();
        prop_assert_eq!(again.target, parsed.target);
        prop_assert_eq!(again.framing, parsed.framing);
        let kept = |fields: &[Field<'_>]| -> Vec<(String, Vec<u8>)> {
            let ours = |f: &&Field<'_>| !f.like().is_forwarding() && !f.is_named("via");
            fields.iter().filter(ours).map(|f| (f.name.to_owned(), f.value.to_vec())).collect()
        };
        prop_assert_eq!(kept(&again.fields), kept(&parsed.fields));
    }
}

#[test]
fn no_app_is_sent_the_cookies_that_are_this_servers() {
    let token = OwnToken::default();
    let sticky = Context {
        withheld: Some(&token),
        cookie: Some("node"),
        ..context(false, 0)
    };
    let cookies = |came: &str| {
        let came = format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: {came}\r\n\r\n");
        let out = forwarded(&came, &sticky);
        out.lines()
            .find_map(|line| line.strip_prefix("Cookie: ").map(str::to_owned))
    };
    assert_eq!(
        cookies("node=1; a=b; procserver_ui=2").as_deref(),
        Some("a=b")
    );
    assert_eq!(cookies("a=b; node=1").as_deref(), Some("a=b"));
    assert_eq!(cookies("node=1; procserver_ui=2"), None);
    assert_eq!(cookies("nodes=1").as_deref(), Some("nodes=1"));
}
