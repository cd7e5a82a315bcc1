//! procserver itself: `procserver serve`, and the apps that are deployed on it.

use std::path::Path;

use serde_json::json;

use crate::origin::Style;
use crate::product::repository::Repository;
use crate::product::server::{Server, open_to_all};

/// Starts the server and deploys the origins; with `sites`, so many other applications have patterns, too.
pub(crate) fn start(directory: &Path, style: Style, access_log: bool, sites: usize) -> Server {
    std::fs::create_dir(directory).expect("a new directory");
    open_to_all(directory);
    let program = directory.join("origin");
    let this = std::env::current_exe().expect("this program");
    std::fs::copy(this, &program).expect("a copy of this program");
    let log = if access_log { "true" } else { "false" };
    let arguments = [
        "--workers",
        "1",
        "--ports",
        "17100-17199",
        "--access-log",
        log,
    ];
    let server = Server::start(&directory.join("data"), &arguments);
    let origin = |name: &str, at: &str| {
        let (program, word) = (program.display(), style.word());
        let procfile = format!("web: exec {program} serve-origin {word} {at}\n");
        Repository::new(&directory.join(name), &procfile, 0)
    };
    let (tcp, unix) = (
        origin("tcp", "127.0.0.1:$PORT"),
        origin("unix", "unix:$SOCKET"),
    );
    server.deploy(&json!({ "name": "tcp", "repo": { "url": tcp.url() },
        "domain": [r"^(tcp|buffered)\.example\.org$", r"^www[0-9]+\.tcp\.example\.org$"] }));
    if sites == 0 {
        server.deploy(&json!({ "name": "unix", "repo": { "url": unix.url() },
            "domain": [r"^unix\.example\.org$"] }));
        server.deploy(&json!({ "name": "streamed", "repo": { "url": tcp.url() },
            "domain": [r"^streamed\.example\.org$"], "buffer": { "requests": false } }));
    }
    for n in 1..sites {
        server.deploy(&json!({ "name": format!("site{n}"), "repo": { "url": tcp.url() },
            "static": { "dir": "." }, "scale": { "web": 0 },
            "domain": [format!(r"^app{n}\.example\.org$"), format!(r"^www[0-9]*\.app{n}\.(com|net)$")] }));
    }
    server
}
