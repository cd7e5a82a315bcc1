//! The pure parts of the request path: `cargo bench --bench parts`.

#![allow(missing_docs)]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use procserver::document::host_name::HostName;
use procserver::front::http::forwarded;
use procserver::front::http::forwarded::Context;
use procserver::front::http::framing::{Decoder, Framing, Piece};
use procserver::front::http::head_end;
use procserver::front::http::parse;
use procserver::router::table::{Availability, Route, Table, View};

/// What a browser sends.
const REQUEST: &[u8] = b"GET /articles/2026/11?page=2 HTTP/1.1\r\n\
Host: blog.example.org\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0\r\n\
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
Accept-Language: en-GB,en;q=0.5\r\n\
Accept-Encoding: gzip, deflate, br, zstd\r\n\
Referer: https://blog.example.org/articles\r\n\
Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n\
Connection: keep-alive\r\n\
Cache-Control: max-age=0\r\n\r\n";

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\n\
Server: puma\r\n\
Content-Type: text/html; charset=utf-8\r\n\
Cache-Control: max-age=0, private, must-revalidate\r\n\
ETag: W/\"0123456789abcdef\"\r\n\
Content-Length: 12345\r\n\r\n";

fn heads(c: &mut Criterion) {
    let mut group = c.benchmark_group("head");
    group.throughput(Throughput::Bytes(REQUEST.len() as u64));
    group.bench_function("find its end", |b| {
        b.iter(|| head_end::find_end(black_box(REQUEST), 0));
    });
    group.bench_function("parse a request", |b| {
        b.iter(|| parse::request(black_box(REQUEST), 100));
    });
    group.bench_function("parse a response", |b| {
        b.iter(|| parse::response(black_box(RESPONSE), false));
    });
    group.finish();
}

fn rewriting(c: &mut Criterion) {
    let request = parse::request(REQUEST, 100).expect("it is valid");
    let context = Context {
        peer: [192, 0, 2, 1].into(),
        local: ([192, 0, 2, 2], 80).into(),
        secure: false,
        http2: false,
        trusted: false,
        networks: &[],
        request_id: b"0123456789abcdef0123456789abcdef",
        arrived: 1_700_000_000_123,
        strip: 0,
        withheld: None,
        user: None,
        cookie: None,
        trace: None,
    };
    let mut out = Vec::with_capacity(2048);
    c.bench_function("rewrite a request head", |b| {
        b.iter(|| {
            out.clear();
            forwarded::request(&mut out, black_box(&request), &context);
        });
    });
}

fn framing(c: &mut Criterion) {
    let mut body = Vec::new();
    for _ in 0..64 {
        body.extend_from_slice(b"400\r\n");
        body.extend_from_slice(&[b'x'; 0x400]);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"0\r\n\r\n");
    let mut group = c.benchmark_group("framing");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("64 chunks", |b| b.iter(|| decode(black_box(&body))));
    group.finish();
}

/// Payload bytes of a chunked body.
fn decode(body: &[u8]) -> usize {
    let mut decoder = Decoder::new(Framing::Chunked);
    let (mut at, mut payload) = (0, 0);
    loop {
        match decoder.next(&body[at..]) {
            Ok(Piece::Framing(count)) => at += count,
            Ok(Piece::Data(count)) => {
                at += count;
                payload += count;
            }
            Ok(Piece::More | Piece::End) | Err(_) => return payload,
        }
    }
}

fn routing(c: &mut Criterion) {
    let mut group = c.benchmark_group("routing table");
    for apps in [1, 100, 1000] {
        let table = Table::new((0..apps).map(|n| Arc::new(route(n))).collect());
        let host = format!("app{}.example.org", apps - 1);
        let by_host = View {
            host: &host,
            path: "/articles",
            ..View::default()
        };
        let path = format!("/app{}/articles", apps - 1);
        let by_path = View {
            host: "other.example.org",
            path: &path,
            ..View::default()
        };
        group.bench_function(BenchmarkId::new("by host, not remembered", apps), |b| {
            b.iter(|| table.decide(black_box(&by_host)));
        });
        let by_name = Table::new((0..apps).map(|n| Arc::new(named(n))).collect());
        group.bench_function(BenchmarkId::new("by name, not remembered", apps), |b| {
            b.iter(|| by_name.decide(black_box(&by_host)));
        });
        group.bench_function(BenchmarkId::new("by path, host remembered", apps), |b| {
            b.iter(|| table.decide_with(black_box(&by_path), |_| None));
        });
        group.bench_function(BenchmarkId::new("change backends", apps), |b| {
            let changed = route(apps / 2);
            b.iter(|| table.with(black_box(changed.clone())));
        });
        group.bench_function(BenchmarkId::new("change a domain", apps), |b| {
            let mut changed = route(apps / 2);
            changed.domain.push("changed".into());
            b.iter(|| table.with(black_box(changed.clone())));
        });
    }
    group.finish();
}

fn named(n: u64) -> Route {
    let name = format!("app{n}.example.org");
    Route {
        hosts: vec![HostName::parse(&name).expect("a name").into()],
        domain: Vec::new(),
        ..route(n)
    }
}

fn route(n: u64) -> Route {
    Route {
        app: format!("app{n}").into(),
        created: n,
        hosts: Vec::new(),
        domain: vec![
            format!("^app{n}\\.example\\.org$"),
            format!("^www[0-9]*\\.app{n}\\.(com|net)$"),
        ],
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

criterion_group!(parts, heads, rewriting, framing, routing);
criterion_main!(parts);
