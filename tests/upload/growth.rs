//! What is uploaded to a server does not grow for ever.

use serde_json::json;

use super::{add, file, tar, upload};
use crate::push::growth::{bytes, is_whole, noise};
use crate::support::http::Response;
use crate::support::server::Server;
use crate::support::wait::{SOON, eventually};

const NOISE: usize = 3 << 20;

/// Uploads noise in text, as a site or as an application that does not start.
fn uploaded(server: &Server, seed: u64, procfile: Option<&str>) -> Response {
    let text: String = noise(seed, NOISE).into_iter().map(char::from).collect();
    let mut entries = vec![
        file("./public/index.html", "a page"),
        file("./noise", &text),
    ];
    entries.extend(procfile.map(|text| file("./Procfile", text)));
    upload(server, "blog", tar(&entries))
}

#[test]
fn what_uploads_that_were_not_deployed_have_left_goes() {
    let server = Server::start();
    add(&server, "blog");
    server
        .send_and_wait("PATCH", "/applications/blog", &json!({"keep_releases": 2}))
        .expect(200);
    uploaded(&server, 1, None).expect(200);
    for seed in 2..=9 {
        let failed = uploaded(&server, seed, Some("web: exit 3\n"));
        assert_ne!(failed.status, 200);
    }
    eventually("the rest is gone", 6 * SOON, || {
        (bytes(&server, "blog") < 8 * NOISE as u64).then_some(())
    });
    is_whole(&server, "blog");
    server.act("blog", "redeploy").expect(200);
    uploaded(&server, 10, None).expect(200);
    is_whole(&server, "blog");
    server.act("blog", "rollback").expect(200);
    assert_eq!(server.visit("/blog/").expect(200).text(), "a page");
}
