//! Applications as Rails, Laravel and Django make them deploy as they are: they write to directories of their code, collect
//! static files, know their hosts and force TLS.

use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};

use crate::support::repo::Repo;
use crate::support::server::Server;
use crate::support::setup::Setup;
use crate::tls::{certificate, connect_at, exchange, pair, trusting};

const APP: &str = include_str!("app.py");

/// A server with a certificate for shop.test.
fn start() -> (Server, CertificateDer<'static>) {
    let mut setup = Setup::new();
    let directory = setup.directory().to_owned();
    let trusted = certificate(&directory, "shop", "shop.test");
    let listen = format!("127.0.0.1:{}", setup.spare_port());
    setup.set_flag("--tls-listen", &listen);
    setup.set_flag("--tls-certificate", &pair(&directory, "shop"));
    (setup.start(), trusted)
}

/// What a browser is answered.
#[track_caller]
fn get(server: &Server, trusted: &CertificateDer<'static>, path: &str) -> String {
    let trusting = trusting(std::slice::from_ref(trusted));
    let mut stream = connect_at(server.spare_port(), &trusting, "shop.test").unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n");
    exchange(&mut stream, &request).unwrap()
}

/// Deploys an application, uses it, deploys it again, and looks whether what was uploaded is there.
#[track_caller]
fn lives(name: &str, files: &[(&str, &str)], framework: &Value, document: Value, asset: &str) {
    let (server, trusted) = start();
    let framework = framework.to_string();
    let own = [("app.py", APP), ("framework.json", framework.as_str())];
    let repo = Repo::new(&[files, &own].concat());
    let mut whole = json!({ "name": name, "repo": { "url": repo.url() }, "hosts": ["shop.test"] });
    let members = whole.as_object_mut().unwrap();
    members.extend(document.as_object().unwrap().clone());
    server.deploy(&whole);
    let page = get(&server, &trusted, "/orders");
    assert!(
        page.starts_with("HTTP/1.1 200") && page.ends_with("/orders"),
        "{page}"
    );
    let collected = get(&server, &trusted, asset);
    assert!(collected.ends_with("\r\n\r\ncollected\n"), "{collected}");
    get(&server, &trusted, "/upload");
    repo.commit(&[("app.py", APP), ("new", "")]);
    server.act(name, "redeploy").expect(200);
    let page = get(&server, &trusted, "/orders");
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    let storage = server.directory().join("apps").join(name).join("storage");
    let uploads: Value = serde_json::from_str(&framework).unwrap();
    let upload = storage
        .join(uploads["uploads"].as_str().unwrap())
        .join("upload");
    assert_eq!(std::fs::read_to_string(upload).unwrap(), "kept");
}

#[test]
fn an_application_as_rails_makes_it() {
    let procfile = "web: exec python3 app.py\n\
                    release: mkdir -p public/assets && echo collected > public/assets/app.css\n";
    lives(
        "rails",
        &[
            ("Procfile", procfile),
            ("log/.keep", ""),
            ("tmp/pids/.keep", ""),
            ("storage/.keep", ""),
        ],
        &json!({ "name": "rails", "hosts": ["shop.test"], "uploads": "storage",
            "writes": ["log/production.log", "tmp/pids/server.pid"] }),
        json!({
            "shared": ["log", "tmp", "storage"],
            "static": { "dir": "public" },
            "health_check": { "path": "/up", "host": "shop.test", "interval": "100ms" },
        }),
        "/assets/app.css",
    );
}

#[test]
fn an_application_as_laravel_makes_it() {
    let skeleton = "*\n!.gitignore\n";
    lives(
        "laravel",
        &[
            ("Procfile", "web: exec python3 app.py\n"),
            ("storage/framework/views/.gitignore", skeleton),
            ("storage/logs/.gitignore", skeleton),
            ("storage/app/.gitignore", skeleton),
            ("bootstrap/cache/.gitignore", skeleton),
        ],
        &json!({ "name": "laravel", "hosts": ["shop.test"], "uploads": "storage/app",
            "writes": ["storage/framework/views/a.php", "storage/logs/laravel.log"] }),
        json!({
            "install": [
                "echo config > bootstrap/cache/config.php",
                "mkdir -p public/build && echo collected > public/build/app.js",
                "echo compiled > storage/framework/views/b.php",
            ],
            "shared": ["storage"],
            "static": { "dir": "public" },
            "health_check": { "path": "/", "host": "shop.test", "status": [200, "302-303"], "interval": "100ms" },
        }),
        "/build/app.js",
    );
}

#[test]
fn an_application_as_django_makes_it() {
    let procfile = "web: exec python3 app.py\n\
                    release: mkdir staticfiles && echo collected > staticfiles/a.css\n";
    let checks = json!({ "healthchecks": { "web": [
        { "type": "startup", "path": "/healthz", "httpHeaders": [{ "name": "Host", "value": "shop.test" }] },
    ] } });
    lives(
        "django",
        &[
            ("Procfile", procfile),
            ("app.json", &checks.to_string()),
            ("media/.keep", ""),
        ],
        &json!({ "name": "django", "hosts": ["shop.test"], "uploads": "media", "writes": ["media/cache"] }),
        json!({ "shared": ["media"], "static": { "dir": "staticfiles", "prefix": "/static" } }),
        "/static/a.css",
    );
}
