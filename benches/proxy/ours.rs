//! procserver itself: `procserver serve`, and the apps that are deployed on it.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::product::repository::Repository;
use crate::product::server::{Server, open_to_all};
use crate::subject::Setup;

/// Starts the server and deploys the origins by the API; with `sites`, so many other applications have patterns, too.
/// `tls` is the address for HTTPS, and the settings that name the certificates.
pub(crate) fn start(
    directory: &Path,
    setup: &Setup,
    tls: (SocketAddr, &Path),
    sites: usize,
) -> Server {
    let style = setup.style;
    std::fs::create_dir(directory).expect("a new directory");
    open_to_all(directory);
    let program = directory.join("origin");
    let this = std::env::current_exe().expect("this program");
    std::fs::copy(this, &program).expect("a copy of this program");
    let log = if setup.access_log { "true" } else { "false" };
    let (address, settings) = (tls.0.to_string(), tls.1.display().to_string());
    let arguments = [
        "--workers",
        "1",
        "--ports",
        "17100-17199",
        "--access-log",
        log,
        "--tls-listen",
        &address,
        "--config",
        &settings,
    ];
    let data = directory.join("data");
    let server = Server::start(&data, &arguments);
    let origin = |name: &str, at: &str| {
        let (program, word) = (program.display(), style.word());
        let procfile = format!("web: exec {program} serve-origin {word} {at}\n");
        Repository::new(&directory.join(name), &procfile, 0)
    };
    let tcp = origin("tcp", "127.0.0.1:$PORT");
    server.deploy(&json!({ "name": "tcp", "repo": { "url": tcp.url() },
        "domain": [r"^(tcp|buffered)\.example\.org$", r"^www[0-9]+\.tcp\.example\.org$"] }));
    if sites > 0 {
        server.deploy(&json!({ "name": "site-0", "repo": { "url": tcp.url() },
            "static": { "dir": "." }, "scale": { "web": 0 },
            "domain": [r"^site-0\.example\.org$", r"^www[0-9]*\.site-0\.(com|net)$"] }));
        drop(server);
        crate::sites::copy(&data, sites);
        let server = Server::launch(&data, &arguments);
        wait_for_routes(&server, sites + 1);
        return server;
    }
    let unix = origin("unix", "unix:$SOCKET");
    server.deploy(&json!({ "name": "unix", "repo": { "url": unix.url() },
        "domain": [r"^unix\.example\.org$"] }));
    server.deploy(&json!({ "name": "streamed", "repo": { "url": tcp.url() },
        "domain": [r"^streamed\.example\.org$"], "buffer": { "requests": false } }));
    // None of them answers: what is measured is that each request is looked at.
    let redirects: Vec<Value> = (0..20)
        .map(|n| json!({ "from": format!("/old-{n}/*"), "to": format!("/new-{n}/*") }))
        .collect();
    server.deploy(&json!({ "name": "policies", "repo": { "url": tcp.url() },
        "domain": [r"^policies\.example\.org$"],
        "allow": ["127.0.0.0/8", "10.0.0.0/8", "::1"],
        "rate": { "requests": "1000000/s" },
        "redirects": redirects,
        "headers": { "response": { "X-Frame-Options": "DENY", "Server": false } },
        "timeouts": { "response": "20s" }, "body": "10M", "sticky": true }));
    server
}

/// Waits until so many applications are routed, and the patterns of their hosts are joined.
fn wait_for_routes(server: &Server, count: usize) {
    let until = Instant::now() + Duration::from_secs(120);
    let routed = || {
        let routes: Value = serde_json::from_str(&server.ask("GET", "/routes", None, None))
            .expect("the API answers in JSON");
        routes.as_array().map_or(0, Vec::len)
    };
    while routed() < count {
        assert!(Instant::now() < until, "not all of {count} are routed");
        std::thread::sleep(Duration::from_millis(100));
    }
    std::thread::sleep(Duration::from_secs(1));
}
