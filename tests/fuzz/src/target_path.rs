//! A target and a host: which app they are for, and which file.

use std::path::{Component, Path};
use std::sync::{Arc, LazyLock};

use procserver::front::http::authority::Authority;
use procserver::front::http::field::Field;
use procserver::front::http::parse;
use procserver::front::static_files::path;
use procserver::front::static_files::path::{Asked, Named};
use procserver::router::path::first_segment;
use procserver::router::patterns::Patterns;
use procserver::router::table::{API_SEGMENTS, Availability, Decision, Route, Rule, Table, View};

/// Of `one`, `two` and `kept`, by path; `hosted` has a pattern, `own` a port.
static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut routes = ["one", "two", "kept", "hosted", "own"].map(route);
    routes[2].strip_path = false;
    (routes[3].path, routes[3].domain) = (false, vec!["^hosted\\.local$".into()]);
    (routes[4].path, routes[4].port) = (false, Some(9000));
    Table::new(routes.into_iter().map(Arc::new).collect())
});

/// One automaton of all patterns, and the same patterns asked in turn.
static PATTERNS: LazyLock<[Patterns; 2]> = LazyLock::new(|| {
    let domains = [
        vec!["^a\\.(local|test)$".to_owned(), "b+".to_owned()],
        vec!["^[^.]+\\.example\\.org$".to_owned()],
        vec![
            "\\.local$".to_owned(),
            "^\\[[0-9a-f:]+\\]$".to_owned(),
            "xn--\\w{3}".to_owned(),
        ],
        vec!["".to_owned()],
    ];
    let compile = || Patterns::compile(domains.iter().map(Vec::as_slice), None);
    let joined = compile();
    joined.join();
    [joined, compile()]
});

/// Where files of an app appear.
const PREFIXES: [&str; 4] = ["/", "/assets", "/a/b/", "/.well-known"];

fn route(app: &str) -> Route {
    Route {
        app: app.into(),
        created: 1,
        hosts: Vec::new(),
        domain: Vec::new(),
        path: true,
        strip_path: true,
        port: None,
        static_files: None,
        buffer: Default::default(),
        policies: None,
        tls: Default::default(),
        has_deployed: true,
        availability: Availability::Starting,
        backends: Vec::new(),
        others: Vec::new(),
    }
}

/// Byte 0: the prefix of files (2 bits); 4 for a request by the port of `own`. Then the target, and in further lines
/// the host and the value of Accept-Encoding.
pub fn target_path(data: &[u8]) {
    let Some((flags, text)) = data.split_first() else {
        return;
    };
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let mut lines = text.split('\n');
    let mut line = || lines.next().unwrap_or_default();
    let (target, host, encodings) = (line(), line(), line());
    check_codings(encodings);
    check_patterns(host);
    let prefix = PREFIXES[usize::from(flags & 3)];
    // What no request has: it must be withstood, and no more.
    let _ = path::asked(target, 1, prefix);
    check_file(target, 0, prefix);
    // No app has a name with a semicolon.
    if let Some((segment, raw)) = first_segment(target).filter(|(s, _)| !s.contains(';')) {
        check_first(target, &segment, raw);
    }
    let port = (flags & 4 != 0).then_some(9000);
    let sent = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    if let Ok(request) = parse::request(sent.as_bytes(), 100) {
        let host = request.authority.expect("HTTP/1.1 has one");
        check_decision(request.target, host, port, prefix);
    }
}

/// An app is found by one rule, and by its path only if whoever resolves that finds the same app.
fn check_decision(target: &str, authority: Authority<'_>, port: Option<u16>, prefix: &str) {
    let host = authority.routed();
    assert_eq!(
        Authority::parse(&host).map(|a| a.routed().len() + 1 >= host.len()),
        Some(true)
    );
    let is_hosted = &*host == "hosted.local";
    let view = View {
        host: &host,
        path: target,
        port,
        ..View::default()
    };
    let all = TABLE.matches(&view);
    match TABLE.decide(&view) {
        Decision::App(found) => {
            assert_eq!(all.first().map(|m| &m.route.app), Some(&found.route.app));
            match found.rule {
                Rule::Port => assert!(port.is_some() && &*found.route.app == "own"),
                Rule::Host => assert!(is_hosted && &*found.route.app == "hosted"),
                Rule::Path => {
                    assert!(["one", "two", "kept"].contains(&&*found.route.app));
                    let (_, raw) = first_segment(target).expect("a path was found");
                    check_first(target, &found.route.app, raw);
                    let strip = if found.route.strip_path { raw } else { 0 };
                    assert_eq!(found.strip, strip);
                }
                Rule::XApp => panic!("there is no X-App"),
            }
            check_file(target, found.strip, prefix);
        }
        Decision::Api => {
            assert!(port.is_none() && !is_hosted);
            let (segment, raw) = first_segment(target).expect("a path was found");
            assert!(API_SEGMENTS.contains(&&*segment));
            check_first(target, &segment, raw);
        }
        Decision::NotFound => assert!(port.is_none() && !is_hosted),
    }
}

/// Whoever resolves the path, in whatever way, must find the same first segment.
fn check_first(target: &str, segment: &str, raw: usize) {
    assert!(raw >= 2 && matches!(target.as_bytes().get(raw), None | Some(b'/' | b'?' | b'#')));
    let path = target.split(['?', '#']).next().unwrap_or(target);
    for way in 0..16 {
        let [backslash, cut, merge, only] = [1, 2, 4, 8].map(|bit| way & bit != 0);
        let mut decoded = path.as_bytes().to_vec();
        for times in 0..4 {
            let first = decode(first_resolved(&decoded, backslash, cut, merge), false);
            assert_eq!(
                String::from_utf8_lossy(&first),
                segment,
                "{path:?} decoded {times} times (only unreserved: {only}); \\ separates: {backslash}, ; cuts: {cut}, \
                 // is /: {merge}"
            );
            decoded = decode(&decoded, only);
        }
    }
}

/// `%XX` decoded, or, as RFC 3986 §6.2.2.2 has it, only where that stands for a byte that need not be encoded.
fn decode(text: &[u8], only_unreserved: bool) -> Vec<u8> {
    let digit = |at: usize| text.get(at).and_then(|b| char::from(*b).to_digit(16));
    let (mut decoded, mut at) = (Vec::new(), 0);
    while let Some(byte) = text.get(at) {
        let digits = digit(at + 1).zip(digit(at + 2)).filter(|_| *byte == b'%');
        let value = digits.and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
        let unreserved = |b: &u8| b.is_ascii_alphanumeric() || b"-._~".contains(b);
        let value = value.filter(|b| !only_unreserved || unreserved(b));
        decoded.push(value.unwrap_or(*byte));
        at += if value.is_some() { 3 } else { 1 };
    }
    decoded
}

/// RFC 3986 §5.2.4, with what servers do beyond it.
fn first_resolved(path: &[u8], backslash: bool, cut: bool, merge: bool) -> &[u8] {
    let mut segments: Vec<&[u8]> = Vec::new();
    let path = path.strip_prefix(b"/").unwrap_or(path);
    for segment in path.split(|b| *b == b'/' || backslash && *b == b'\\') {
        let end = segment.iter().position(|b| cut && *b == b';');
        match &segment[..end.unwrap_or(segment.len())] {
            b"." => {}
            b".." => drop(segments.pop()),
            b"" if merge => {}
            other => segments.push(other),
        }
    }
    segments.first().copied().unwrap_or_default()
}

/// A file is below its directory, and named in one way.
fn check_file(target: &str, strip: usize, prefix: &str) {
    let Asked::File(named) = path::asked(target, strip, prefix) else {
        return;
    };
    let Named {
        path,
        directory,
        hidden,
    } = &named;
    let text = path.as_os_str().as_encoded_bytes();
    assert!(!text.contains(&0) && !text.contains(&b'\\'), "{path:?}");
    let parts = path.components();
    let names: Vec<&[u8]> = parts
        .map(|part| match part {
            Component::Normal(name) => name.as_encoded_bytes(),
            other => panic!("{target:?}: {other:?} in {path:?}"),
        })
        .collect();
    assert_eq!(names.join(&b'/'), text, "one way of writing it");
    assert!(Path::new("public").join(path).starts_with("public"));
    assert_eq!(*hidden, names.iter().any(|name| name.starts_with(b".")));
    let shown = target[strip..].split(['?', '#']).next().unwrap_or_default();
    assert_eq!(
        *directory,
        shown.ends_with('/') || shown.is_empty() && strip == 0
    );
    // A directory's address is that of the request with a slash behind it, which must not lead to another host.
    let moved = shown.starts_with('/') && strip == 0;
    assert!(!moved || !target.starts_with("//") && !target.starts_with("/\\"));
    if names.is_empty() && !directory {
        return;
    }
    let escape = |name: &[u8]| -> String { name.iter().map(|b| format!("%{b:02X}")).collect() };
    let again: String = names
        .iter()
        .map(|name| format!("/{}", escape(name)))
        .collect();
    let slash = if *directory { "/" } else { "" };
    let again = format!("{}{again}{slash}", prefix.trim_end_matches('/'));
    assert_eq!(
        path::asked(&again, 0, prefix),
        Asked::File(named.clone()),
        "{again}"
    );
}

/// Joined or not, the patterns give the same answers.
fn check_patterns(host: &str) {
    let [joined, apart] = &*PATTERNS;
    assert!(joined.are_joined() && !apart.are_joined());
    let all = apart.all(host);
    assert_eq!(joined.all(host), all);
    assert_eq!(apart.first(host), all.first().copied());
    assert_eq!(joined.first(host), all.first().copied());
    let named = matches!(host, "a.local" | "a.test") || host.contains('b');
    assert_eq!((all.contains(&0), all.contains(&3)), (named, true));
}

/// A coding is used only if the client named it.
fn check_codings(value: &str) {
    let field = Field::new("Accept-Encoding", value.as_bytes()).expect("a name");
    let lower = value.to_ascii_lowercase();
    let codings = path::accepted(&[field]);
    assert!(codings.len() < 2 || codings[0] != codings[1]);
    for coding in codings {
        let name = coding
            .suffix()
            .trim_start_matches('.')
            .replace("gz", "gzip");
        assert!(lower.contains(&name) || lower.contains('*'), "{value:?}");
    }
}
