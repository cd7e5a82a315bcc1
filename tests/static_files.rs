//! Static content: files of a release that are answered before the app is asked, and never anything else.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;

use serde_json::json;

use crate::support::fixture::{document, web_files, with};
use crate::support::http::{Request, Response};
use crate::support::repo::Repo;
use crate::support::server::Server;
use crate::support::wait::SOON;

const FILES: [(&str, &str); 9] = [
    ("public/index.html", "<h1>home</h1>"),
    ("public/style.css", "body {}"),
    ("public/style.css.br", "not really brotli"),
    ("public/style.css.gz", "not really gzip"),
    ("public/docs/index.html", "<h1>docs</h1>"),
    ("public/a b.txt", "blank"),
    ("public/empty.txt", ""),
    ("public/.hidden", "TOP SECRET"),
    ("private.txt", "TOP SECRET"),
];

/// A site without a Procfile, whose repository also has all kinds of links out of it.
fn site() -> Repo {
    let repo = Repo::new(&FILES);
    for (target, name) in [
        ("../private.txt", "public/link.txt"),
        ("/etc", "public/etc"),
        ("style.css", "public/inside.css"),
        ("public", "linked"),
    ] {
        symlink(target, repo.path().join(name)).unwrap();
    }
    repo.commit(&[]);
    repo
}

fn deploy_site(server: &Server, repo: &Repo) {
    let site = json!({ "static": { "dir": "public" }, "domain": ["^site\\.test$"] });
    server.deploy(&with(document("site", repo), site));
}

fn get(server: &Server, target: &str, fields: &[(&str, &str)]) -> Response {
    let mut request = Request::get(target).header("Host", "site.test");
    for (name, value) in fields {
        request = request.header(name, value);
    }
    request.send(&server.public())
}

/// Sends these bytes and reads all that comes; no client of ours tidies them up.
fn raw(server: &Server, bytes: &str) -> String {
    let mut stream = TcpStream::connect(server.url().replace("http://", "")).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(bytes.as_bytes()).unwrap();
    let mut answer = String::new();
    // A refusal may be followed by a reset.
    let _ = stream.read_to_string(&mut answer);
    answer
}

#[test]
fn a_repository_of_files_is_an_app() {
    let (server, repo) = (Server::start(), site());
    deploy_site(&server, &repo);
    assert_eq!(server.status("site")["state"], "running");
    let home = get(&server, "/", &[]).expect(200);
    assert_eq!(home.text(), "<h1>home</h1>");
    assert_eq!(
        home.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert!(home.header("date").is_some() && home.header("x-request-id").is_some());
    assert_eq!(
        get(&server, "/a%20b.txt?x=/../y", &[]).expect(200).text(),
        "blank"
    );
    let moved = get(&server, "/docs?x", &[]).expect(301);
    assert_eq!(moved.header("location"), Some("/docs/?x"));
    // By its path the site begins behind its name.
    assert_eq!(
        server.visit("/site/docs/").expect(200).text(),
        "<h1>docs</h1>"
    );
    let moved = server.visit("/site").expect(308);
    assert_eq!(moved.header("location"), Some("/site/"));
    get(&server, "/none", &[]).expect(404);
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let write = Request::new(method, "/style.css").header("Host", "site.test");
        let refused = write.send(&server.public()).expect(405);
        assert_eq!(refused.header("allow"), Some("GET, HEAD"), "{method}");
    }
    let outside = Request::new("POST", "/../x").header("Host", "site.test");
    outside.send(&server.public()).expect(404);

    repo.commit(&[("public/index.html", "<h1>new</h1>")]);
    server.act("site", "redeploy").expect(200);
    assert_eq!(get(&server, "/", &[]).expect(200).text(), "<h1>new</h1>");
    server.act("site", "stop").expect(200);
    get(&server, "/", &[]).expect(503);
    server.act("site", "start").expect(200);
    get(&server, "/", &[]).expect(200);
}

#[test]
fn clients_that_have_a_file_or_want_a_part_of_it_get_no_more() {
    let (server, repo) = (Server::start(), site());
    deploy_site(&server, &repo);
    let whole = get(&server, "/style.css", &[]).expect(200);
    let tag = whole.header("etag").unwrap();
    let date = whole.header("last-modified").unwrap();
    for condition in [("If-None-Match", tag), ("If-Modified-Since", date)] {
        let answer = get(&server, "/style.css", &[condition]).expect(304);
        assert_eq!(
            (answer.text().as_str(), answer.header("etag")),
            ("", Some(tag))
        );
    }
    get(&server, "/style.css", &[("If-None-Match", "\"other\"")]).expect(200);
    get(&server, "/style.css", &[("If-Match", "\"other\"")]).expect(412);

    let range = |value: &str, condition: (&str, &str)| {
        get(&server, "/style.css", &[("Range", value), condition])
    };
    let part = range("bytes=0-3", ("If-Range", tag)).expect(206);
    assert_eq!(part.text(), "body");
    assert_eq!(part.header("content-range"), Some("bytes 0-3/7"));
    assert_eq!(range("bytes=-2", ("X", "y")).expect(206).text(), "{}");
    range("bytes=0-3", ("If-Range", "\"other\"")).expect(200);
    range("bytes=0-1,3-4", ("X", "y")).expect(200);
    assert_eq!(
        range("bytes=7-", ("X", "y"))
            .expect(416)
            .header("content-range"),
        Some("bytes */7")
    );

    // RFC 9110 §14.1.2: of a file that is shorter, the end is all of it.
    for (whole, shown) in [
        ("bytes=-100", "0-6"),
        ("bytes=0-100", "0-6"),
        ("BYTES=6-", "6-6"),
    ] {
        let part = range(whole, ("X", "y")).expect(206);
        let shown = format!("bytes {shown}/7");
        assert_eq!(part.header("content-range"), Some(&*shown), "{whole}");
    }
    for none in ["bytes=-0", "bytes=7-9", "bytes=99999999999999999999-"] {
        let answer = range(none, ("X", "y")).expect(416);
        assert_eq!(answer.header("content-range"), Some("bytes */7"), "{none}");
    }
    range("items=0-1", ("X", "y")).expect(200);
    // §13.1.5: the date is one, another date is none, and neither is a weak validator.
    range("bytes=0-3", ("If-Range", date)).expect(206);
    let weak = format!("W/{tag}");
    for other in ["Thu, 01 Jan 1970 00:00:01 GMT", &*weak, "x"] {
        let answer = range("bytes=0-3", ("If-Range", other)).expect(200);
        assert_eq!(answer.text(), "body {}", "{other}");
    }
    let beyond = range("bytes=7-", ("If-Range", "\"other\"")).expect(200);
    assert_eq!(beyond.header("content-range"), None);
    for part in ["bytes=0-", "bytes=-5", "bytes=0-0"] {
        let empty = get(&server, "/empty.txt", &[("Range", part)]).expect(200);
        assert_eq!(empty.header("content-length"), Some("0"), "{part}");
    }

    let head = Request::new("HEAD", "/style.css").header("Host", "site.test");
    let head = head.send(&server.public()).expect(200);
    assert_eq!(head.header("content-length"), Some("7"));
    let head = Request::new("HEAD", "/style.css").header("Range", "bytes=0-3");
    let head = head.header("Host", "site.test");
    let head = head.send(&server.public()).expect(200);
    assert_eq!(
        head.header("content-length"),
        Some("7"),
        "ranges are of GET"
    );
}

#[test]
fn a_request_with_as_many_fields_as_are_taken_is_answered() {
    let server = Server::start();
    let repo = site();
    deploy_site(&server, &repo);
    let line = |n: usize| format!("X-{n}: {n}\r\n");
    let many: String = (0..96).map(line).collect();
    let fields = format!("Host: site.test\r\n{many}Range: bytes=0-1\r\nConnection: close\r\n");
    let answer = raw(&server, &format!("GET /style.css HTTP/1.1\r\n{fields}\r\n"));
    assert!(answer.starts_with("HTTP/1.1 206 "), "{answer}");
    let conditions = "If-None-Match: \"x\"\r\n".repeat(97);
    let fields = format!("Host: site.test\r\n{conditions}Connection: close\r\n");
    let answer = raw(&server, &format!("GET /style.css HTTP/1.1\r\n{fields}\r\n"));
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[test]
fn a_coded_file_is_sent_to_who_accepts_it() {
    let (server, repo) = (Server::start(), site());
    deploy_site(&server, &repo);
    for (accept, coding, text) in [
        ("gzip, deflate, br", Some("br"), "not really brotli"),
        ("gzip", Some("gzip"), "not really gzip"),
        ("br;q=0, gzip;q=0.5", Some("gzip"), "not really gzip"),
        ("identity", None, "body {}"),
        ("zstd", None, "body {}"),
    ] {
        let answer = get(&server, "/style.css", &[("Accept-Encoding", accept)]).expect(200);
        assert_eq!(answer.header("content-encoding"), coding, "{accept}");
        assert_eq!(answer.text(), text, "{accept}");
        assert_eq!(
            answer.header("content-type"),
            Some("text/css; charset=utf-8")
        );
        assert_eq!(answer.header("vary"), Some("Accept-Encoding"));
    }
    let plain = get(&server, "/docs/", &[("Accept-Encoding", "br, gzip")]).expect(200);
    assert_eq!(plain.header("content-encoding"), None);
}

/// What came in gzip.
fn decoded(answer: &Response) -> String {
    let mut text = String::new();
    let read = flate2::read::GzDecoder::new(answer.bytes()).read_to_string(&mut text);
    read.expect("it is gzip");
    text
}

#[test]
fn text_without_a_coded_file_beside_it_is_sent_in_gzip_to_who_accepts_that() {
    let server = Server::start();
    let css = |n: u32| format!("body {{ margin: {n}px }}\n").repeat(1000);
    let files = [
        ("public/a.css", css(1)),
        ("public/tiny.css", "body {}".into()),
        ("public/a.png", css(1)),
        ("public/404.html", css(3)),
    ];
    let repo = Repo::new(&files.each_ref().map(|(name, text)| (*name, text.as_str())));
    deploy_site(&server, &repo);
    let gzip = ("Accept-Encoding", "gzip");
    for (target, accept, coding) in [
        ("/a.css", "gzip, deflate", Some("gzip")),
        ("/a.css", "br, *;q=0.1", Some("gzip")),
        ("/a.css", "br", None),
        ("/a.css", "gzip;q=0", None),
        ("/a.css", "*;q=0", None),
        ("/a.css", "identity;q=0.5, gzip;q=0.1", None),
        ("/tiny.css", "gzip", None),
        ("/a.png", "gzip", None),
    ] {
        let answer = get(&server, target, &[("Accept-Encoding", accept)]).expect(200);
        assert_eq!(
            answer.header("content-encoding"),
            coding,
            "{target} {accept}"
        );
        assert_eq!(
            answer.header("vary"),
            Some("Accept-Encoding"),
            "{target} {accept}"
        );
        if coding.is_some() {
            assert!(decoded(&answer) == css(1) && answer.bytes().len() < 1000);
            assert_eq!(answer.header("accept-ranges"), None);
        }
    }
    let missing = get(&server, "/none", &[gzip]).expect(404);
    assert!(decoded(&missing) == css(3));

    // The same validator serves for both, and no part is ever taken for one of the other.
    let (plain, coded) = (get(&server, "/a.css", &[]), get(&server, "/a.css", &[gzip]));
    let (tag, weak) = (plain.header("etag").unwrap(), coded.header("etag").unwrap());
    assert_eq!(weak, format!("W/{tag}"));
    for (held, fields, told) in [
        (tag, &[][..], tag),
        (weak, &[][..], tag),
        (tag, &[gzip][..], weak),
        (weak, &[gzip][..], weak),
    ] {
        let fields = [fields, &[("If-None-Match", held)]].concat();
        let answer = get(&server, "/a.css", &fields).expect(304);
        assert_eq!(
            (answer.text().as_str(), answer.header("etag")),
            ("", Some(told))
        );
    }
    let head = Request::new("HEAD", "/a.css").header("Host", "site.test");
    let head = head
        .header("Accept-Encoding", "gzip")
        .send(&server.public())
        .expect(200);
    for name in [
        "content-length",
        "content-encoding",
        "etag",
        "content-type",
        "vary",
    ] {
        assert_eq!(head.header(name), coded.header(name), "{name}");
    }
    let date = plain.header("last-modified").unwrap();
    let range = ("Range", "bytes=0-3");
    for (fields, status, is_coded) in [
        (&[gzip, range][..], 206, false),
        (&[gzip, range, ("If-Range", tag)], 206, false),
        (&[gzip, range, ("If-Range", date)], 200, true),
        (&[range, ("If-Range", date)], 206, false),
    ] {
        let answer = get(&server, "/a.css", fields).expect(status);
        assert_eq!(
            answer.header("content-encoding").is_some(),
            is_coded,
            "{fields:?}"
        );
        assert!(status != 206 || answer.text() == "body", "{fields:?}");
    }
    get(&server, "/a.css", &[gzip, range, ("If-Range", weak)]).expect(200);

    repo.commit(&[("public/a.css", &css(2))]);
    server.act("site", "redeploy").expect(200);
    assert!(decoded(&get(&server, "/a.css", &[gzip]).expect(200)) == css(2));
}

#[test]
fn nothing_outside_of_the_directory_can_be_had() {
    let (server, repo) = (Server::start(), site());
    deploy_site(&server, &repo);
    for target in [
        "/link.txt",
        "/etc/passwd",
        "/etc/",
        "/.hidden",
        "/%2ehidden",
        "/%2Ehidden",
        "/../private.txt",
        "/..%2fprivate.txt",
        "/%2e%2e/private.txt",
        "/%2e%2e%2fprivate.txt",
        "/docs/../../private.txt",
        "/docs/..%5c..%5cprivate.txt",
        "/..\\private.txt",
        "/%252e%252e/private.txt",
        "/style.css%00.html",
        "/style.css%00",
        "//etc/passwd",
        "/./style.css",
        "/docs//index.html",
        "/%2fetc%2fpasswd",
        "/..;/private.txt",
        "/%c0%ae%c0%ae/private.txt",
        "/%u002e%u002e/private.txt",
        "/style.css/",
        "/style.css/../style.css",
        "/%",
        "/~root",
        "/.git/config",
        "/private.txt",
        "/../linked/style.css",
    ] {
        for path in [target.to_owned(), format!("/site{target}")] {
            let host = if path == target {
                "site.test"
            } else {
                "other.test"
            };
            let request =
                format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            let answer = raw(&server, &request);
            let status = answer.get(9..12).unwrap_or_default();
            assert!(matches!(status, "404" | "400"), "{path}: {answer}");
            assert!(
                !answer.contains("SECRET") && !answer.contains("root:"),
                "{path}"
            );
        }
    }
}

#[test]
fn a_directory_of_files_that_is_a_link_serves_nothing() {
    let (server, repo) = (Server::start(), site());
    let site = json!({ "static": { "dir": "linked" } });
    server.deploy(&with(document("site", &repo), site));
    server.visit("/site/style.css").expect(404);
}

#[test]
fn what_is_no_file_is_the_apps_to_answer() {
    let server = Server::start();
    let mut files = web_files("1").to_vec();
    files.extend(FILES);
    let repo = Repo::new(&files);
    let assets = json!({ "static": { "dir": "public", "prefix": "/assets" } });
    server.deploy(&with(document("echo", &repo), assets));
    assert_eq!(
        server.visit("/echo/assets/style.css").expect(200).text(),
        "body {}"
    );
    let asked = |method: &str, target: &str| {
        let answer = Request::new(method, target).send(&server.public());
        answer.expect(200).json()["path"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    for (method, target) in [
        ("GET", "/"),
        ("GET", "/style.css"),
        ("GET", "/assets/none"),
        ("GET", "/assets/.well-known/x"),
        ("GET", "/assets/a%2Fb"),
        ("POST", "/assets/style.css"),
    ] {
        assert_eq!(asked(method, &format!("/echo{target}")), target);
    }
    server.visit("/echo/assets/.hidden").expect(404);
    server
        .visit("/echo/assets/..%2f..%2fprivate.txt")
        .expect(404);

    // Files are there also while no process is.
    let none = with(
        document("echo", &repo),
        json!({ "scale": { "web": 0 },
        "static": { "dir": "public", "prefix": "/assets" } }),
    );
    server
        .send_and_wait("PUT", "/applications/echo", &none)
        .expect(200);
    server.visit("/echo/assets/style.css").expect(200);
}

#[test]
fn a_file_of_many_megabytes_arrives_whole_and_connections_are_kept() {
    let server = Server::start();
    let large: String = (0..3_000_000)
        .map(|n| char::from(b'a' + (n % 26) as u8))
        .collect();
    let repo = Repo::new(&[("public/large.txt", &large), ("public/small.txt", "small")]);
    server.deploy(&with(
        document("site", &repo),
        json!({ "static": { "dir": "public" } }),
    ));
    assert!(server.visit("/site/large.txt").expect(200).text() == large);
    let small = "GET /site/small.txt HTTP/1.1\r\nHost: a\r\n\r\n";
    let last = "GET /site/small.txt HTTP/1.0\r\n\r\n";
    let answers = raw(&server, &format!("{small}{small}{last}"));
    assert_eq!(answers.matches("\r\n\r\nsmall").count(), 3, "{answers}");
}

#[test]
fn a_site_has_its_own_page_for_what_is_missing_and_the_world_knows_where_it_is_well_known() {
    let server = Server::start();
    let files = [
        ("public/index.html", "<h1>home</h1>"),
        ("public/404.html", "<h1>nothing here</h1>"),
        ("public/.well-known/security.txt", "Contact: a"),
        ("public/notes.md", "# notes"),
        ("public/feed.ics", "BEGIN:VCALENDAR"),
        ("public/a.css", "body {}"),
    ];
    let repo = Repo::new(&files);
    symlink("a.css", repo.path().join("public/same.css")).unwrap();
    symlink("../secret", repo.path().join("public/outside.css")).unwrap();
    repo.commit(&[("secret", "TOP SECRET")]);
    let site = json!({ "static": { "dir": "public", "cache_control": "public, max-age=3600" },
        "domain": ["^site\\.test$"] });
    server.deploy(&with(document("site", &repo), site));
    let tag = get(&server, "/404.html", &[]).expect(200);
    let conditions = [
        ("If-None-Match", tag.header("etag").unwrap()),
        ("Range", "bytes=0-1"),
    ];
    for fields in [&[][..], &conditions] {
        let missing = get(&server, "/none", fields).expect(404);
        assert_eq!(missing.text(), "<h1>nothing here</h1>");
        assert_eq!(missing.header("content-length"), Some("21"));
    }
    let known = get(&server, "/.well-known/security.txt", &[]).expect(200);
    assert_eq!(known.text(), "Contact: a");
    assert_eq!(get(&server, "/same.css", &[]).expect(200).text(), "body {}");
    assert!(
        !get(&server, "/outside.css", &[])
            .expect(404)
            .text()
            .contains("SECRET")
    );
    for (path, media_type) in [
        ("/notes.md", "text/markdown; charset=utf-8"),
        ("/feed.ics", "text/calendar; charset=utf-8"),
    ] {
        let answer = get(&server, path, &[]).expect(200);
        assert_eq!(answer.header("content-type"), Some(media_type));
        assert_eq!(answer.header("cache-control"), Some("public, max-age=3600"));
    }
    let page = get(&server, "/", &[]).expect(200);
    assert_eq!(page.header("cache-control"), Some("no-cache"));

    let navigation = [("Accept", "text/html")];
    get(&server, "/deep/link", &navigation).expect(404);
    let spa = json!({ "static": { "spa": true } });
    server
        .send_and_wait("PATCH", "/applications/site", &spa)
        .expect(200);
    let page = get(&server, "/deep/link", &navigation).expect(200);
    assert_eq!(page.text(), "<h1>home</h1>");
    get(&server, "/deep/link.js", &[("Accept", "*/*")]).expect(404);
}
