use serde_json::{Value, json};

use super::*;
use crate::document::config::{AppConfig, FieldError, Rules};
use crate::document::merge_patch::merge_patch;

const HASH: &str = "$2y$04$RXgmkBVYsk8WQ8oLXcBgJuyuz0IbZuBrVqlQco1qHdOMDxxLGsOqC";

fn read(fields: Value) -> Result<Policies, Vec<FieldError>> {
    let base = json!({"name": "shop", "repo": {"url": "https://h/a.git"}});
    let document = merge_patch(base, fields);
    AppConfig::from_document(document, &Rules::default()).map(|config| config.policies)
}

#[test]
fn nothing_is_set_unless_the_document_says_so() {
    assert!(read(json!({})).unwrap().is_empty());
    let off = json!({"maintenance": false, "sticky": false, "redirects": [], "headers": {"response": {}}, "timeouts": {}});
    assert!(read(off).unwrap().is_empty());
}

#[test]
fn each_field_is_taken_as_it_is_written() {
    let read = read(json!({
        "maintenance": {"page": "pages/maintenance.html", "retry_after": "10m"},
        "allow": ["10.1.2.3/8", "192.0.2.7", "2001:db8::/32", "::ffff:198.51.100.0/120", "::ffff:203.0.113.9"],
        "rate": {"requests": "10/s", "burst": 50},
        "auth": {"basic": {"ann": HASH}},
        "redirects": [{"from": "/old/*", "to": "/new/*"}, {"from": "/a", "to": "https://h/", "status": 307}],
        "headers": {"response": {"X-Frame-Options": "DENY", "X-Powered-By": false}},
        "timeouts": {"response": "5m", "connect": "500ms"},
        "body": "5G",
        "upstream_keep_alive": "0s",
        "sticky": {"cookie": "node"},
    }))
    .unwrap();
    let maintenance = read.maintenance.unwrap();
    assert_eq!(maintenance.page.as_deref(), Some("pages/maintenance.html"));
    assert_eq!(maintenance.retry_after, Duration::from_mins(10));
    let networks: Vec<_> = read
        .allow
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        networks,
        [
            "10.0.0.0/8",
            "192.0.2.7/32",
            "2001:db8::/32",
            "198.51.100.0/24",
            "203.0.113.9/32"
        ]
    );
    let rate = read.rate.unwrap();
    assert_eq!((rate.requests, rate.burst), (10, 50));
    let auth = read.auth.unwrap();
    assert_eq!(auth.realm, "shop");
    assert!(auth.users["ann"].is_of(b"sesame"));
    assert_eq!(read.redirects.len(), 2);
    assert_eq!(
        read.response_headers["x-powered-by"],
        ResponseHeader::Removed
    );
    assert_eq!(read.timeouts.response, Some(Duration::from_mins(5)));
    assert_eq!(read.timeouts.idle, None);
    assert_eq!(read.body, Some(5 << 30));
    assert_eq!(read.upstream_keep_alive, Some(Duration::ZERO));
    assert_eq!(read.sticky.unwrap().cookie, "node");
}

#[test]
fn what_is_wrong_is_told_with_its_field_and_what_is_allowed() {
    for (fields, pointer, part) in [
        (
            json!({"maintenance": "on"}),
            "/maintenance",
            "true, false, or an object",
        ),
        (
            json!({"maintenance": {"page": "../x"}}),
            "/maintenance/page",
            "a file below",
        ),
        (
            json!({"maintenance": {"page": "/etc/passwd"}}),
            "/maintenance/page",
            "a file below",
        ),
        (
            json!({"maintenance": {"page": ".env"}}),
            "/maintenance/page",
            "a file below",
        ),
        (
            json!({"maintenance": {"page": "a/"}}),
            "/maintenance/page",
            "a file below",
        ),
        (
            json!({"maintenance": {"retry_after": "100ms"}}),
            "/maintenance/retry_after",
            "must be",
        ),
        (json!({"allow": []}), "/allow", "names no network"),
        (json!({"allow": ["localhost"]}), "/allow/0", "not a network"),
        (
            json!({"allow": ["10.0.0.0/33"]}),
            "/allow/0",
            "not a network",
        ),
        (json!({"allow": "10.0.0.0/8"}), "/allow", "a list"),
        (json!({"rate": "100/s"}), "/rate", "an object"),
        (json!({"rate": {}}), "/rate/requests", "is required"),
        (
            json!({"rate": {"requests": "100"}}),
            "/rate/requests",
            "100/s",
        ),
        (
            json!({"rate": {"requests": 100}}),
            "/rate/requests",
            "write \"100/s\"",
        ),
        (
            json!({"rate": {"requests": "1/s", "burst": 0}}),
            "/rate/burst",
            "from 1",
        ),
        (json!({"auth": {}}), "/auth/basic", "must name a user"),
        (
            json!({"auth": {"basic": {}}}),
            "/auth/basic",
            "must name a user",
        ),
        (
            json!({"auth": {"basic": {"a": "sesame"}}}),
            "/auth/basic/a",
            "procserver hash",
        ),
        (
            json!({"auth": {"basic": {"a:b": HASH}}}),
            "/auth/basic/a:b",
            "name of a user",
        ),
        (
            json!({"auth": {"basic": {"a": HASH}, "realm": "a\"b"}}),
            "/auth/realm",
            "without",
        ),
        (
            json!({"redirects": [{"from": "/a"}]}),
            "/redirects/0/to",
            "is required",
        ),
        (
            json!({"redirects": [{"from": "a", "to": "/b"}]}),
            "/redirects/0/from",
            "a path",
        ),
        (
            json!({"redirects": [{"from": "/a", "to": "//b"}]}),
            "/redirects/0/to",
            "a path",
        ),
        (
            json!({"redirects": [{"from": "/a", "to": "/b", "status": 200}]}),
            "/redirects/0/status",
            "301",
        ),
        (
            json!({"redirects": [{"from": "/b", "to": "/c"}, {"from": "/a", "to": "/a"}]}),
            "/redirects/1",
            "without end",
        ),
        (
            json!({"headers": {"request": {}}}),
            "/headers/request",
            "response",
        ),
        (
            json!({"headers": {"response": {"Connection": "x"}}}),
            "/headers/response/Connection",
            "how a response is sent",
        ),
        (
            json!({"headers": {"response": {"content-length": "1"}}}),
            "/headers/response/content-length",
            "how a response is sent",
        ),
        (
            json!({"headers": {"response": {"Set-Cookie": "a=b"}}}),
            "/headers/response/Set-Cookie",
            "cannot be set",
        ),
        (
            json!({"headers": {"response": {"Strict-Transport-Security": "a"}}}),
            "/headers/response/Strict-Transport-Security",
            "tls.hsts",
        ),
        (
            json!({"headers": {"response": {"A B": "a"}}}),
            "/headers/response/A B",
            "name of a field",
        ),
        (
            json!({"headers": {"response": {"A": "a\r\nB: c"}}}),
            "/headers/response/A",
            "printable",
        ),
        (
            json!({"headers": {"response": {"A": true}}}),
            "/headers/response/A",
            "false",
        ),
        (
            json!({"headers": {"response": {"A": "x", "a": "y"}}}),
            "/headers/response/a",
            "twice",
        ),
        (
            json!({"timeouts": {"head": "5s"}}),
            "/timeouts/head",
            "response",
        ),
        (
            json!({"timeouts": {"response": "0s"}}),
            "/timeouts/response",
            "must be from",
        ),
        (
            json!({"timeouts": {"idle": "2h"}}),
            "/timeouts/idle",
            "must be from",
        ),
        (json!({"body": "65G"}), "/body", "64G"),
        (
            json!({"body": 1_048_576}),
            "/body",
            "write \"1048576\" for bytes",
        ),
        (
            json!({"upstream_keep_alive": "1h"}),
            "/upstream_keep_alive",
            "must be from",
        ),
        (
            json!({"sticky": "yes"}),
            "/sticky",
            "true, false, or an object",
        ),
        (
            json!({"sticky": {"cookie": "a=b"}}),
            "/sticky/cookie",
            "name of a cookie",
        ),
        (
            json!({"sticky": {"cookie": "__Host-a"}}),
            "/sticky/cookie",
            "name of a cookie",
        ),
    ] {
        let errors = read(fields.clone()).expect_err(&fields.to_string());
        let [error] = &errors[..] else {
            panic!("{fields}: {errors:?}");
        };
        assert_eq!(error.pointer, pointer, "{fields}");
        assert!(error.detail.contains(part), "{fields}: {}", error.detail);
        assert!(!error.detail.contains("sesame"));
    }
}
