//! How the description is served.

use std::io::Read;

use flate2::read::GzDecoder;
use serde_json::{Value, json};

use crate::support::server::Server;

#[test]
fn who_has_a_token_of_any_scope_reads_it_once_as_long_as_it_stays() {
    let server = Server::start();
    let wish = json!({"name": "reader", "scope": "read", "apps": ["a"]});
    let token = server.send("POST", "/tokens", &wish).expect(201).json();
    let bearer = format!("Bearer {}", token["token"].as_str().unwrap());
    let read = |fields: &[(&str, &str)]| {
        let request = crate::support::http::Request::get("/openapi.json");
        let request = request.header("Authorization", &bearer);
        let request = fields.iter().fold(request, |request, (name, value)| {
            request.header(name, value)
        });
        request.send(&server.public())
    };
    let plain = read(&[]).expect(200);
    assert_eq!(plain.header("content-type"), Some("application/json"));
    assert_eq!(plain.header("content-encoding"), None);
    let whole = plain.json();
    assert_eq!(whole["openapi"], "3.1.0");
    assert_eq!(whole["info"]["version"], env!("CARGO_PKG_VERSION"));

    let tag = plain.header("etag").unwrap();
    assert!(tag.starts_with('"'), "{tag} is no strong tag");
    let same = read(&[("If-None-Match", &format!("\"other\", W/{tag}"))]).expect(304);
    assert_eq!((same.header("etag"), same.bytes().len()), (Some(tag), 0));
    read(&[("If-None-Match", "*")]).expect(304);
    read(&[("If-None-Match", "\"other\"")]).expect(200);
    read(&[("If-None-Match", "no tag")]).expect(200);

    let packed = read(&[("Accept-Encoding", "br, gzip")]).expect(200);
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    assert_ne!(packed.header("etag"), Some(tag));
    assert_eq!(packed.header("vary"), Some("Accept-Encoding"));
    let mut text = String::new();
    GzDecoder::new(packed.bytes())
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), whole);
    let refused = read(&[("Accept-Encoding", "gzip;q=0")]).expect(200);
    assert_eq!(refused.header("content-encoding"), None);

    let stranger = crate::support::http::Request::get("/openapi.json");
    stranger.send(&server.public()).expect(401);
}
